//! What a task's directory says now.

use std::fs;
use std::io;
use std::io::Write;
use std::time::SystemTime;

use outlive_protocol::names::{self, Name};
use outlive_protocol::orders;

use super::TaskDir;
use super::records::{ClosedRecord, EndedRecord, Record, StartedRecord, read};
use crate::error::{Error, Result};
use crate::platform::{clock, errno, failpoint, fifo, files, lock};
use crate::task::{Asked, Cause, EndOrder, Ending, Event, Run};

/// The longest command that the API takes.
const MAX_COMMAND_BYTES: usize = 8 << 20;

/// The supervisor's records.
#[derive(Debug)]
pub struct Look {
    /// Its command runs, or ran; not told of a task that is over.
    pub started: Option<Run>,
    /// Its leader has ended.
    pub ended: Option<Ending>,
    /// No process of it is left.
    pub empty: bool,
}

/// Reads the supervisor's records, as far as they are complete. An error when one of them is of a newer release, is no record, or is out
/// of reach.
pub fn look(dir: &TaskDir, this_boot: bool) -> io::Result<Look> {
    let record: Option<EndedRecord> = complete(read(&dir.file(names::ENDED)))?;
    let ended = record.map(|record| record.into_ending(this_boot)).transpose()?;
    let empty = match &ended {
        None => false,
        Some(ending) => ending.descendants == 0 || complete(read::<ClosedRecord>(&dir.file(names::CLOSED)))?.is_some(),
    };
    // Once all is over, who it was does not matter: the end's news is one record.
    let started = if empty { None } else { complete(read::<StartedRecord>(&dir.file(names::STARTED)))?.map(Run::from) };
    Ok(Look { started, ended, empty })
}

/// The command's text, as far as it is text.
pub fn read_command(dir: &TaskDir) -> io::Result<String> {
    let bytes = files::read_bounded(&dir.file(names::COMMAND), MAX_COMMAND_BYTES)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a supervisor lives, or a host that is about to start one. An error when the system has no room left to find out.
pub(super) fn is_inhabited(dir: &TaskDir) -> io::Result<bool> {
    let writer = errno::unless_exhausted(fifo::open_writer(&dir.file(names::CONTROL)))?;
    // Where there is no such FIFO, no supervisor has it open by this name.
    Ok(writer.flatten().is_some())
}

/// Whether a task whose supervisor is gone and whose command never ran is for the host to answer for that wanted to start it. It
/// lives, and its caller is not told yet, or it has told its caller and taken the task away. An error when the system has no room left
/// to find out.
pub fn is_answered_for(dir: &TaskDir) -> io::Result<bool> {
    let Some((task, _)) = errno::unless_exhausted(files::open_to_read(&dir.task()))? else { return Ok(true) };
    // Looked at after the lock: a host takes its task away before it lets go.
    Ok(!lock::is_free(&task).unwrap_or(true) || !dir.task().exists())
}

/// Whether the command may have run. A torn `started.json` says so too: a power cut can take what stood in it.
pub(super) fn has_trace(dir: &TaskDir) -> bool {
    fs::symlink_metadata(dir.file(names::STARTED)).is_ok()
}

/// Hands an order to the supervisor; false when there is none any more.
pub fn send_order(dir: &TaskDir, order: orders::Order) -> Result<bool> {
    let path = dir.file(names::CONTROL);
    let line = order.write(&mut [0; orders::MAX_ORDER]).to_owned();
    let opened = failpoint::pass("host.before_order").and_then(|()| fifo::open_writer(&path));
    let sent = match opened {
        Ok(Some(mut control)) => control.write_all(&line).map(|()| true),
        Ok(None) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    drop(failpoint::pass("host.after_order"));
    match sent {
        // It ended between the open and the write.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map_err(Error::storage("write an order into", path)),
    }
}

/// How a task ended whose supervisor is gone and has left no record of it, or one that cannot be read, and why. Nothing is made
/// up: there is no code and no signal, and the last sign of life stands for the end, so that every host says the same.
pub(super) fn ending_without_record(
    dir: &TaskDir,
    asked: &Asked,
    started: Option<Run>,
    this_boot: bool,
    unread: Option<&io::Error>,
) -> Ending {
    let started_at = started.map_or(asked.created_at, |run| run.started_at);
    let last_output = [names::STDOUT, names::STDERR, names::OUTPUT].map(|name| modified(dir, name));
    let finished_at = last_output.into_iter().flatten().fold(started_at, u64::max);
    // Dates are of the clock that people set; no task has lasted longer than it has been there.
    let longest_ms =
        if this_boot { clock::monotonic_ns().saturating_sub(asked.created_monotonic_ns) / 1_000_000 } else { u64::MAX };
    let ran = started.is_some() || has_trace(dir);
    let (cause, error) = match unread {
        Some(why) => (Cause::SupervisorLost, format!("its record cannot be read ({why}); how the command ended is unknown")),
        None => {
            let (cause, error) = why_unknown(dir, ran, this_boot);
            (cause, error.to_owned())
        }
    };
    Ending {
        cause,
        exit_code: None,
        signal: None,
        error: Some(error),
        started_at,
        finished_at,
        duration_ms: (finished_at - started_at).min(longest_ms),
        order: EndOrder { this_boot, at: if this_boot { clock::monotonic_ns() } else { finished_at } },
        is_recorded: false,
        descendants: 0,
        max_rss_bytes: None,
        cpu_ms: None,
    }
}

/// Why a task has no record of its end.
fn why_unknown(dir: &TaskDir, ran: bool, this_boot: bool) -> (Cause, &'static str) {
    match (this_boot, ran) {
        (true, false) => (Cause::SpawnError, "its host ended before the command was started; it never ran"),
        (true, true) if files::is_missing(&dir.task()) => {
            (Cause::SupervisorLost, "its files were removed; how the command ended is unknown")
        }
        (true, true) => (
            Cause::SupervisorLost,
            "its supervisor is gone and has left no record; how the command ended is unknown, and what carries its mark is killed, as far as this host sees it and may signal it",
        ),
        // A power cut takes what was not yet on the disk, and `started.json` is not waited for.
        (false, false) => (Cause::Reboot, "the machine went down about when it was started; whether the command ran is unknown"),
        (false, true) => (Cause::Reboot, "the machine went down while it ran; how the command ended is unknown"),
    }
}

/// What the disk says now of a task that this host knows, as events. That it `ran` is not forgotten when its files are gone. An
/// error as [`look`] says.
pub fn news(dir: &TaskDir, asked: &Asked, this_boot: bool, ran: Option<Run>, hung_up: bool) -> io::Result<Vec<Event>> {
    let seen = look(dir, this_boot)?;
    let mut news = Vec::new();
    news.extend(seen.started.map(Event::Started));
    news.extend(seen.ended.map(Event::Ended));
    if seen.empty {
        news.push(Event::TreeEmpty);
    } else if hung_up {
        let started = seen.started.or(ran);
        news.push(Event::SupervisorGone(ending_without_record(dir, asked, started, this_boot, None)));
    }
    Ok(news)
}

/// The supervisor is gone, and `why` its record cannot be read.
pub fn gone_unread(dir: &TaskDir, asked: &Asked, this_boot: bool, ran: Option<Run>, why: &io::Error) -> Event {
    Event::SupervisorGone(ending_without_record(dir, asked, ran, this_boot, Some(why)))
}

/// A later release wrote it, and that one can read it.
pub fn is_newer(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported && !errno::is_the_systems(error)
}

fn modified(dir: &TaskDir, name: Name) -> Option<u64> {
    let moment: SystemTime = fs::symlink_metadata(dir.file(name)).ok()?.modified().ok()?;
    Some(clock::to_unix_ms(moment))
}

/// An absent or torn record is one that is not there yet.
fn complete<T>(record: Record<T>) -> io::Result<Option<T>> {
    match record {
        Record::Absent | Record::Torn => Ok(None),
        Record::Complete(record) => Ok(Some(record)),
        Record::Newer => Err(newer()),
        Record::Unreadable(error) => Err(error),
    }
}

pub(super) fn newer() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a newer release wrote it")
}
