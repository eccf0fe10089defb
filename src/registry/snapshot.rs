//! A task as callers see it. Nothing here changes anything.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Shared;
use super::ledger::Entry;
use super::output::preview;
use crate::error::{Error, Result};
use crate::platform::{clock, errno, marked, tree};
use crate::store::{self, Stream};
use crate::task::{Cause, Delivery, Ending, SessionId, State, Status, TaskId, Tree};
use outlive_protocol::names;

/// How many bytes of output a snapshot shows unless more or fewer are asked for.
pub const DEFAULT_PREVIEW_BYTES: u64 = 5120;

/// A task as it stands.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSnapshot {
    /// The task's name.
    pub task_id: TaskId,
    /// Whose it is.
    pub session_id: SessionId,
    /// Where it stands.
    pub status: Status,
    /// What ended it.
    pub cause: Option<Cause>,
    /// 124 for the deadline, `None` when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// What went wrong, when there is no outcome.
    pub error: Option<String>,
    /// The command's text.
    pub command: Arc<str>,
    /// Where it was started.
    pub cwd: String,
    /// The caller's words.
    pub description: Option<String>,
    /// The caller's JSON.
    pub metadata: Box<RawValue>,
    /// The leader while it runs.
    pub pid: Option<u32>,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Unix milliseconds.
    pub finished_at: Option<u64>,
    /// Milliseconds, so far or in all.
    pub duration_ms: u64,
    /// Milliseconds; `None`: no deadline.
    pub timeout_ms: Option<u64>,
    /// The tails of both streams.
    pub output_preview: String,
    /// There is more than the preview shows.
    pub output_truncated: bool,
    /// The capture file of standard output, or of both streams.
    pub stdout_path: String,
    /// The capture file of standard error.
    pub stderr_path: Option<String>,
    /// Bytes that were written.
    pub stdout_bytes: u64,
    /// Bytes that were written.
    pub stderr_bytes: u64,
    /// Bytes that the output limit removed.
    pub dropped_bytes: u64,
    /// Unix milliseconds.
    pub last_output_at: Option<u64>,
    /// Live processes besides the leader.
    pub descendants: u32,
    /// Bytes.
    pub max_rss_bytes: Option<u64>,
    /// Milliseconds.
    pub cpu_ms: Option<u64>,
    /// Whether the completion was accepted.
    pub completion_delivered: bool,
}

impl Shared {
    /// The task as it stands. An error when descriptors or memory are wanting to read its output or its command.
    pub(super) fn snapshot(&self, entry: &Entry, preview_bytes: u64) -> Result<TaskSnapshot> {
        let Entry { asked, dir, task, .. } = entry;
        let captured = preview(entry, preview_bytes)?;
        let ending = task.ending();
        let started_at = match &task.state {
            State::Starting => asked.created_at,
            State::Running(run) | State::Stopping(run) => run.started_at,
            State::Ended(ending, _) => ending.started_at,
        };
        let path = |stream| dir.capture(stream, asked.stderr).map(|path| path.to_string_lossy().into_owned());
        Ok(TaskSnapshot {
            task_id: asked.id.clone(),
            session_id: asked.session.clone(),
            status: task.status(),
            cause: ending.map(|ending| ending.cause),
            exit_code: ending.and_then(Ending::reported_exit_code),
            signal: ending.and_then(|ending| ending.signal).map(errno::signal_name),
            error: ending.and_then(|ending| ending.error.clone()),
            command: self.command(entry)?,
            cwd: asked.cwd.to_string_lossy().into_owned(),
            description: asked.description.clone(),
            metadata: asked.metadata.clone(),
            pid: task.run().map(|run| run.pid),
            started_at,
            finished_at: ending.map(|ending| ending.finished_at),
            duration_ms: ending.map_or_else(|| elapsed(entry), |ending| ending.duration_ms),
            timeout_ms: Some(asked.timeout_ms).filter(|timeout| *timeout > 0),
            output_preview: captured.preview,
            output_truncated: captured.truncated,
            stdout_path: path(Stream::Stdout).unwrap_or_default(),
            stderr_path: path(Stream::Stderr),
            stdout_bytes: captured.stdout_bytes,
            stderr_bytes: captured.stderr_bytes,
            dropped_bytes: captured.dropped_bytes,
            // The clock of files is some milliseconds behind.
            last_output_at: captured.last_output_at.map(|at| at.max(started_at)),
            descendants: descendants(entry),
            max_rss_bytes: ending.and_then(|ending| ending.max_rss_bytes),
            cpu_ms: ending.and_then(|ending| ending.cpu_ms),
            completion_delivered: task.delivery == Delivery::Delivered || store::is_delivered(dir),
        })
    }

    /// The command's text, read from disk when it is long, or a restarted host first needs it; empty where the disk refuses. An
    /// error when descriptors or memory are wanting to read it.
    pub(super) fn command(&self, entry: &Entry) -> Result<Arc<str>> {
        if let Some(command) = &entry.command {
            return Ok(Arc::clone(command));
        }
        let read = errno::unless_exhausted(store::read_command(&entry.dir));
        let text = read.map_err(Error::storage("read the command of", entry.dir.path()))?;
        // What cannot be read now is not kept.
        let Some(text) = text else { return Ok(Arc::from("")) };
        let text = text.into();
        self.lock().keep_command(&entry.asked.id, &text);
        Ok(text)
    }
}

/// Live processes besides the leader, as the kernel counts them now.
pub(super) fn descendants(entry: &Entry) -> u32 {
    let below = |supervisor, besides| tree::count_below(supervisor, names::SUPERVISOR_COMM, besides);
    match &entry.task.state {
        State::Starting | State::Ended(_, Tree::Empty) => 0,
        State::Running(run) | State::Stopping(run) => below(run.supervisor_pid, Some(run.pid)).unwrap_or(0),
        // In another container nobody sees them, and its supervisor has counted them.
        State::Ended(ending, Tree::Inhabited { supervisor_pid: Some(supervisor) }) => {
            below(*supervisor, None).unwrap_or(ending.descendants)
        }
        State::Ended(_, Tree::Inhabited { supervisor_pid: None }) => marked::count(&entry.asked.id.mark()),
    }
}

/// Milliseconds since the task was asked for, by the clock that does not step.
fn elapsed(entry: &Entry) -> u64 {
    clock::monotonic_ns().saturating_sub(entry.asked.created_monotonic_ns) / 1_000_000
}
