//! The records that a supervisor writes: one JSON object and a newline each, so that a person can read them and a
//! reader can tell a torn one. The host parses them with its own library; these are the writers.

use crate::VERSION;
use crate::text::Line;

/// A buffer of this size holds any record.
pub const MAX_RECORD: usize = 512;

/// The bytes that the host reserves for `ended.json`, so that it can be written on a full disk.
pub const ENDED_RESERVED: u64 = 4096;

/// `started.json`: the command is about to run.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// The leader's process id.
    pub pid: u64,
    /// The supervisor's process id.
    pub supervisor_pid: u64,
    /// Unix milliseconds.
    pub started_at: u64,
    /// The kernel's boot id.
    pub boot_id: &'a [u8],
}

/// Why the leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It exited by itself.
    Exit,
    /// A signal that no supervisor sent.
    Signal,
    /// An order of a host.
    Kill,
    /// Its deadline.
    Timeout,
    /// Its output limit, on a file system where the middle cannot be dropped.
    OutputLimit,
    /// It never ran.
    SpawnError,
}

impl Cause {
    /// The word in the record and in the JavaScript API.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Exit => "exit",
            Cause::Signal => "signal",
            Cause::Kill => "kill",
            Cause::Timeout => "timeout",
            Cause::OutputLimit => "output_limit",
            Cause::SpawnError => "spawn_error",
        }
    }
}

/// `ended.json`: how the leader ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// The code that the leader exited with, if it did.
    pub exit_code: Option<u64>,
    /// The number of the signal that ended the leader, if one did.
    pub signal: Option<u64>,
    /// The system's error number, when the cause is [`Cause::SpawnError`].
    pub errno: Option<u64>,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Unix milliseconds.
    pub finished_at: u64,
    /// Milliseconds by the monotonic clock.
    pub duration_ms: u64,
    /// The monotonic clock at the end in nanoseconds: the order of ends within one boot.
    pub ended_monotonic_ns: u64,
    /// The largest resident set of the leader or a child it waited for, in bytes.
    pub max_rss_bytes: u64,
    /// Milliseconds of CPU time, user and system, of the leader and the children it waited for.
    pub cpu_ms: u64,
    /// Live processes of the task besides the leader. When 0 there will be no `closed.json`.
    pub descendants: u64,
}

impl Ended {
    /// The end of a command that never ran, by the two clocks; `errno`: the system's reason.
    pub fn spawn_error(errno: Option<u64>, now: u64, monotonic_ns: u64) -> Ended {
        Ended {
            cause: Cause::SpawnError,
            exit_code: None,
            signal: None,
            errno,
            started_at: now,
            finished_at: now,
            duration_ms: 0,
            ended_monotonic_ns: monotonic_ns,
            max_rss_bytes: 0,
            cpu_ms: 0,
            descendants: 0,
        }
    }
}

/// `closed.json`: the last descendant is gone.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// Unix milliseconds.
    pub closed_at: u64,
}

/// A range of bytes, from the first up to before the second; empty when equal.
pub type Range = (u64, u64);

/// `dropped.json`: what the output limit removed of each capture file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Of `stdout`, or of `output` when merged.
    pub stdout: Range,
    /// Of `stderr`.
    pub stderr: Range,
}

impl Started<'_> {
    /// The record's bytes.
    pub fn write<'b>(&self, buffer: &'b mut [u8; MAX_RECORD]) -> &'b [u8] {
        let mut line = open(buffer);
        line.text(b",\"pid\":").number(self.pid).text(b",\"supervisorPid\":").number(self.supervisor_pid);
        line.text(b",\"startedAt\":").number(self.started_at);
        line.text(b",\"bootId\":\"").text(self.boot_id).text(b"\"");
        line.sealed()
    }
}

impl Ended {
    /// The record's bytes.
    pub fn write<'b>(&self, buffer: &'b mut [u8; MAX_RECORD]) -> &'b [u8] {
        let mut line = open(buffer);
        line.text(b",\"cause\":\"").text(self.cause.word().as_bytes());
        line.text(b"\",\"exitCode\":").optional(self.exit_code).text(b",\"signal\":").optional(self.signal);
        line.text(b",\"errno\":").optional(self.errno);
        line.text(b",\"startedAt\":").number(self.started_at).text(b",\"finishedAt\":").number(self.finished_at);
        line.text(b",\"durationMs\":").number(self.duration_ms);
        line.text(b",\"endedMonotonicNs\":").number(self.ended_monotonic_ns);
        line.text(b",\"maxRssBytes\":").number(self.max_rss_bytes).text(b",\"cpuMs\":").number(self.cpu_ms);
        line.text(b",\"descendants\":").number(self.descendants);
        line.sealed()
    }
}

impl Closed {
    /// The record's bytes.
    pub fn write<'b>(&self, buffer: &'b mut [u8; MAX_RECORD]) -> &'b [u8] {
        let mut line = open(buffer);
        line.text(b",\"closedAt\":").number(self.closed_at);
        line.sealed()
    }
}

impl Dropped {
    /// The record's bytes: always as many, so that a later record covers an earlier one.
    pub fn write<'b>(&self, buffer: &'b mut [u8; MAX_RECORD]) -> &'b [u8] {
        let mut line = open(buffer);
        for (key, range) in [(&b",\"stdout\":["[..], self.stdout), (&b",\"stderr\":["[..], self.stderr)] {
            line.text(key).padded(range.0, 20).text(b",").padded(range.1, 20).text(b"]");
        }
        line.sealed()
    }
}

fn open(buffer: &mut [u8]) -> Line<'_> {
    let mut line = Line::new(buffer);
    line.text(b"{\"version\":").number(VERSION);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_record_fits_its_buffer() {
        let ended = Ended {
            cause: Cause::OutputLimit,
            exit_code: Some(u64::MAX),
            signal: Some(u64::MAX),
            errno: Some(u64::MAX),
            started_at: u64::MAX,
            finished_at: u64::MAX,
            duration_ms: u64::MAX,
            ended_monotonic_ns: u64::MAX,
            max_rss_bytes: u64::MAX,
            cpu_ms: u64::MAX,
            descendants: u64::MAX,
        };
        assert!(ended.write(&mut [0; MAX_RECORD]).ends_with(b"}\n"));
        let started = Started { pid: 1, supervisor_pid: 2, started_at: 3, boot_id: &[b'a'; 64] };
        assert!(started.write(&mut [0; MAX_RECORD]).ends_with(b"}\n"));
    }

    #[test]
    fn every_dropped_record_has_the_same_length() {
        let small = Dropped::default().write(&mut [0; MAX_RECORD]).len();
        let large = Dropped { stdout: (u64::MAX, u64::MAX), stderr: (u64::MAX, u64::MAX) };
        assert_eq!(large.write(&mut [0; MAX_RECORD]).len(), small);
    }
}
