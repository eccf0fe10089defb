//! What was asked of a task. It never changes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{SessionId, TaskId};

/// Whether the two streams have a file each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StderrMode {
    /// `stdout` and `stderr`.
    #[default]
    Separate,
    /// `output`, in the order in which the command wrote.
    Merge,
}

/// What a task was asked to be, as `task.json` keeps it. The command's text and its environment are not here: the one
/// has a file of its own, the other is never on disk.
#[derive(Debug)]
pub struct Asked {
    /// The task's name.
    pub id: TaskId,
    /// Whose it is.
    pub session: SessionId,
    /// The working directory as it was asked for.
    pub cwd: PathBuf,
    /// Milliseconds; 0: no deadline.
    pub timeout_ms: u64,
    /// Milliseconds between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// Whether the streams are merged.
    pub stderr: StderrMode,
    /// Whether the completion is pushed and drained.
    pub notify: bool,
    /// The caller's words.
    pub description: Option<String>,
    /// The caller's JSON, byte for byte.
    pub metadata: Box<RawValue>,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Where among the tasks that were asked for in the same boot: the monotonic clock in nanoseconds.
    pub created_monotonic_ns: u64,
}
