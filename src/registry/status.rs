//! `status`: one task as it stands.

use super::{Registry, TaskSnapshot};
use crate::error::Result;
use crate::task::SessionId;

impl Registry {
    /// The task as it stands, or `None` for an unknown id or another session's. It changes no task.
    pub fn status(&self, task: &str, session: Option<&SessionId>, preview_bytes: u64) -> Result<Option<TaskSnapshot>> {
        let entry = self.find(task, session)?;
        entry.and_then(|entry| entry.unless_removed(self.shared.snapshot(&entry, preview_bytes))).transpose()
    }
}
