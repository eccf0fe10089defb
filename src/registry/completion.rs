//! The news of one end, as its receiver gets it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Shared;
use super::ledger::Entry;
use super::output::preview;
use super::snapshot::descendants;
use crate::error::Result;
use crate::platform::errno;
use crate::task::{Cause, Ending, SessionId, Status, TaskId};

const PREVIEW_BYTES_COMPLETED: u64 = 300;
const PREVIEW_BYTES: u64 = 2048;

/// The news of one end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Completion {
    /// The frame's kind: `bash_completed`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The task's name.
    pub task_id: TaskId,
    /// Whose it is.
    pub session_id: SessionId,
    /// How it ended.
    pub status: Status,
    /// What ended it.
    pub cause: Cause,
    /// 124 for the deadline, `None` when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// What went wrong, when there is no outcome.
    pub error: Option<String>,
    /// The command's text.
    pub command: Arc<str>,
    /// The caller's words.
    pub description: Option<String>,
    /// The caller's JSON.
    pub metadata: Box<RawValue>,
    /// The tails of both streams.
    pub output_preview: String,
    /// There is more than the preview shows.
    pub output_truncated: bool,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Unix milliseconds.
    pub finished_at: u64,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Live processes of the task, now.
    pub descendants: u32,
    /// 1, more when told again.
    pub attempt: u32,
}

impl Completion {
    /// About how many bytes it takes on its way to a callback.
    pub(super) fn size(&self) -> u32 {
        const REST: usize = 500;
        let described = self.description.as_ref().map_or(0, String::len);
        let size = self.command.len() + described + self.metadata.get().len() + self.output_preview.len() + REST;
        u32::try_from(size).unwrap_or(u32::MAX)
    }
}

impl Shared {
    /// The news of an ended task, or `None` for one that has not ended. An error when descriptors or memory are wanting to read its
    /// output or its command: told without, it would be told for good.
    pub(super) fn completion(&self, entry: &Entry, attempt: u32) -> Result<Option<Completion>> {
        let Some(ending): Option<&Ending> = entry.task.ending() else { return Ok(None) };
        let status = ending.status();
        let budget = if status == Status::Completed { PREVIEW_BYTES_COMPLETED } else { PREVIEW_BYTES };
        let captured = preview(entry, budget)?;
        Ok(Some(Completion {
            kind: "bash_completed",
            task_id: entry.asked.id.clone(),
            session_id: entry.asked.session.clone(),
            status,
            cause: ending.cause,
            exit_code: ending.reported_exit_code(),
            signal: ending.signal.map(errno::signal_name),
            error: ending.error.clone(),
            command: self.command(entry)?,
            description: entry.asked.description.clone(),
            metadata: entry.asked.metadata.clone(),
            output_preview: captured.preview,
            output_truncated: captured.truncated,
            started_at: ending.started_at,
            finished_at: ending.finished_at,
            duration_ms: ending.duration_ms,
            descendants: descendants(entry),
            attempt,
        }))
    }
}
