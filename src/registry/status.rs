//! `status`: one task as it stands.

use super::{Registry, TaskRef, TaskSnapshot};
use crate::error::Result;

impl Registry {
    /// The task as it stands, or `None` for an unknown id or another session's. It changes no task.
    pub fn status(&self, named: &TaskRef, preview_bytes: u64) -> Result<Option<TaskSnapshot>> {
        let entry = self.find(named)?;
        entry.and_then(|entry| entry.unless_removed(self.shared.snapshot(&entry, preview_bytes))).transpose()
    }
}
