//! How a task ended.

use serde::{Deserialize, Serialize};

/// Where a task stands, in the words of the JavaScript API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// On disk, its command not yet running.
    Starting,
    /// Its command runs.
    Running,
    /// It was asked to end and has not ended yet.
    Killing,
    /// Exit code 0.
    Completed,
    /// Another exit code, a signal nobody here sent, or no start.
    Failed,
    /// `kill`, `shutdown` or the output limit ended it.
    Killed,
    /// Its deadline ended it.
    TimedOut,
    /// Its supervisor vanished; the outcome is unknown and not made up.
    Lost,
}

/// What ended a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It exited by itself.
    Exit,
    /// A signal that nobody here sent.
    Signal,
    /// `kill` or `shutdown`.
    Kill,
    /// Its deadline.
    Timeout,
    /// Its output limit, where the middle of the output cannot be dropped.
    OutputLimit,
    /// It never ran.
    SpawnError,
    /// Its supervisor is gone, and has left no record.
    SupervisorLost,
    /// The machine went down while it ran.
    Reboot,
}

/// Sorts endings: those of earlier boots first, then by the monotonic clock, which no clock step can turn round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndOrder {
    /// Whether the ending was stamped in this boot.
    pub this_boot: bool,
    /// The monotonic clock in this boot, else the wall's.
    pub at: u64,
}

/// How a task ended. Once it is known it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What ended it.
    pub cause: Cause,
    /// The code that the leader exited with.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended the leader.
    pub signal: Option<i32>,
    /// What went wrong, in words, when there is no outcome.
    pub error: Option<String>,
    /// Unix milliseconds.
    pub started_at: u64,
    /// Unix milliseconds.
    pub finished_at: u64,
    /// Milliseconds by the monotonic clock.
    pub duration_ms: u64,
    /// Its place among other endings.
    pub order: EndOrder,
    /// Whether it was recorded as it came. Else it is what a host made of what was left.
    pub is_recorded: bool,
    /// Live processes besides the leader when it ended.
    pub descendants: u32,
    /// Bytes, of the leader or a child it waited for.
    pub max_rss_bytes: Option<u64>,
    /// Milliseconds, user and system.
    pub cpu_ms: Option<u64>,
}

impl Ending {
    /// The word for it.
    pub fn status(&self) -> Status {
        match self.cause {
            Cause::Exit if self.exit_code == Some(0) => Status::Completed,
            Cause::Exit | Cause::Signal | Cause::SpawnError => Status::Failed,
            Cause::Kill | Cause::OutputLimit => Status::Killed,
            Cause::Timeout => Status::TimedOut,
            Cause::SupervisorLost | Cause::Reboot => Status::Lost,
        }
    }

    /// The exit code that callers see: 124 stands for the deadline, as with `timeout(1)`.
    pub fn reported_exit_code(&self) -> Option<i32> {
        if self.cause == Cause::Timeout { Some(124) } else { self.exit_code }
    }
}
