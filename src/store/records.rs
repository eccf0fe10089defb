//! The records as JSON. A record is complete when it ends in a newline and parses; anything else is torn.

#[cfg(test)]
mod properties;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use outlive_protocol::{VERSION, check};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::unread::Unread;
use crate::error::{self, Error};
use crate::platform::{errno, files, identity};
use crate::task::{Asked, Cause, EndOrder, Ending, Run, SessionId, StderrMode, TaskId};

/// More than the largest record: metadata of 64 KiB, a long path, a long description.
const MAX_RECORD_BYTES: usize = 4 << 20;

const SPOILT: &str = "it is not what was written: its checksum does not fit";

/// The machine and the boot that this host lives in.
#[derive(Debug)]
pub struct Here {
    /// The kernel's boot id.
    pub boot_id: String,
    /// The machine id.
    pub machine: String,
    /// No other machine can have the store.
    pub alone: bool,
}

impl Here {
    pub(super) fn at(root: &Path) -> error::Result<Here> {
        let is_local = errno::unless_exhausted(files::is_local(root));
        // One that does not say what it is may be shared.
        let alone = is_local.map_err(Error::storage("look at the file system of", root))?.unwrap_or(false);
        let boot_id = identity::boot_id().map_err(Error::storage("read this boot's id from", identity::BOOT_ID))?;
        let machine = identity::machine_id().map_err(Error::storage("read this machine's id from", identity::MACHINE_ID))?;
        Ok(Here { boot_id, machine, alone })
    }
}

/// What a record's path holds.
#[derive(Debug)]
pub(super) enum Record<T> {
    /// Nothing.
    Absent,
    /// A beginning, or nothing in a file that waits for its content.
    Torn,
    /// Something that cannot be read, and why.
    Unreadable(Unread),
    /// The record.
    Complete(T),
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// Reads a record of this version.
pub(super) fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Record<T> {
    let content = match files::read_bounded(path, MAX_RECORD_BYTES) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Record::Absent,
        Err(error) => return Record::Unreadable(error.into()),
    };
    parse(&content)
}

/// What a record's bytes say.
pub(super) fn parse<T: for<'a> Deserialize<'a>>(content: &[u8]) -> Record<T> {
    if content.last() != Some(&b'\n') {
        return Record::Torn;
    }
    match serde_json::from_slice::<Versioned>(content) {
        Ok(record) if record.version > VERSION => return Record::Unreadable(Unread::Newer),
        Ok(_) if check::is_spoilt(content) => return Record::Unreadable(Unread::spoilt(SPOILT)),
        Ok(_) => {}
        Err(error) => return Record::Unreadable(io::Error::from(error).into()),
    }
    match serde_json::from_slice(content) {
        Ok(record) => Record::Complete(record),
        Err(error) => Record::Unreadable(io::Error::from(error).into()),
    }
}

/// A field that may be null and must be there: left out it would read as null, and a spoilt record as another one.
fn stated<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(value)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskRecord {
    version: u64,
    task_id: String,
    session_id: String,
    cwd: PathBuf,
    /// For people: a path need not be text, and the supervisor gets its bytes.
    shell: String,
    timeout_ms: u64,
    grace_ms: u64,
    max_output_bytes: u64,
    stderr: StderrMode,
    cleanup: String,
    notify: bool,
    #[serde(deserialize_with = "stated")]
    description: Option<String>,
    metadata: Box<RawValue>,
    created_at: u64,
    created_monotonic_ns: u64,
    boot_id: String,
    machine: String,
}

impl TaskRecord {
    pub(super) fn new(asked: &Asked, launch: &super::Launch, here: &Here) -> TaskRecord {
        TaskRecord {
            version: VERSION,
            task_id: asked.id.as_str().to_owned(),
            session_id: asked.session.as_str().to_owned(),
            cwd: asked.cwd.clone(),
            shell: launch.shell.to_string_lossy().into_owned(),
            timeout_ms: asked.timeout_ms,
            grace_ms: asked.grace_ms,
            max_output_bytes: launch.max_output_bytes,
            stderr: asked.stderr,
            cleanup: launch.cleanup.word().to_owned(),
            notify: asked.notify,
            description: asked.description.clone(),
            metadata: asked.metadata.clone(),
            created_at: asked.created_at,
            created_monotonic_ns: asked.created_monotonic_ns,
            boot_id: here.boot_id.clone(),
            machine: here.machine.clone(),
        }
    }

    /// The record's line.
    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("strings, numbers and checked JSON always serialise");
        // Its closing brace comes with the seal.
        line.pop();
        line.extend(check::seal(&line));
        line
    }

    /// The session that it names.
    pub(super) fn session(&self) -> SessionId {
        SessionId::new(&self.session_id)
    }

    /// Whether the record stands where its names say it should.
    pub(super) fn is_of(&self, session: &SessionId, task: &TaskId) -> bool {
        self.task_id == task.as_str() && self.session_id == session.as_str()
    }

    /// Containers and workspaces in a cloud have another name each time that they are made, and keep their disk.
    pub(super) fn is_of_this_machine(&self, here: &Here) -> bool {
        here.alone || self.machine == here.machine || self.boot_id == here.boot_id
    }

    pub(super) fn is_of_this_boot(&self, here: &Here) -> bool {
        self.boot_id == here.boot_id
    }

    pub(super) fn into_asked(self, session: SessionId, id: TaskId) -> Asked {
        Asked {
            id,
            session,
            cwd: self.cwd,
            timeout_ms: self.timeout_ms,
            grace_ms: self.grace_ms,
            stderr: self.stderr,
            notify: self.notify,
            description: self.description,
            metadata: self.metadata,
            created_at: self.created_at,
            created_monotonic_ns: self.created_monotonic_ns,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartedRecord {
    pid: u32,
    supervisor_pid: u32,
    started_at: u64,
    /// Unused: the boot is that of `task.json`. A record without it was not written by a supervisor.
    #[serde(rename = "bootId")]
    _boot_id: String,
}

impl From<StartedRecord> for Run {
    fn from(record: StartedRecord) -> Run {
        Run { pid: record.pid, supervisor_pid: record.supervisor_pid, started_at: record.started_at }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndedRecord {
    cause: Cause,
    #[serde(deserialize_with = "stated")]
    exit_code: Option<i32>,
    #[serde(deserialize_with = "stated")]
    signal: Option<i32>,
    #[serde(deserialize_with = "stated")]
    errno: Option<i32>,
    started_at: u64,
    finished_at: u64,
    duration_ms: u64,
    ended_monotonic_ns: u64,
    max_rss_bytes: u64,
    cpu_ms: u64,
    descendants: u32,
}

impl EndedRecord {
    /// The ending, or an error for one that no supervisor writes.
    pub(super) fn into_ending(self, this_boot: bool) -> Result<Ending, Unread> {
        let is_whole = match self.cause {
            Cause::Exit => self.exit_code.is_some(),
            Cause::Signal => self.signal.is_some(),
            Cause::Kill | Cause::Timeout | Cause::OutputLimit | Cause::SpawnError => true,
            // Nobody was left to write these.
            Cause::SupervisorLost | Cause::Reboot => false,
        };
        if !is_whole {
            return Err(Unread::spoilt("its record of the end contradicts itself"));
        }
        let ran = self.cause != Cause::SpawnError;
        Ok(Ending {
            cause: self.cause,
            exit_code: self.exit_code,
            signal: self.signal,
            error: (!ran).then(|| spawn_error(self.errno)),
            started_at: self.started_at,
            finished_at: self.finished_at,
            duration_ms: self.duration_ms,
            order: EndOrder { this_boot, at: if this_boot { self.ended_monotonic_ns } else { self.finished_at } },
            is_recorded: true,
            descendants: self.descendants,
            max_rss_bytes: ran.then_some(self.max_rss_bytes),
            cpu_ms: ran.then_some(self.cpu_ms),
        })
    }
}

fn spawn_error(number: Option<i32>) -> String {
    let Some(number) = number else { return "the command was never started".to_owned() };
    format!("the shell could not be executed: {}: {}", errno::error_name(number), errno::error(number))
}

#[derive(Debug, Deserialize)]
pub(super) struct ClosedRecord {
    /// Nobody asks when, only whether.
    #[serde(rename = "closedAt")]
    _closed_at: u64,
}

/// What the output limit removed of each file.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct DroppedRecord {
    pub(super) stdout: (u64, u64),
    pub(super) stderr: (u64, u64),
}
