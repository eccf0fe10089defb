//! `list`: the tasks of a session, or of all that are attached.

use super::ledger::Entry;
use super::{Registry, TaskSnapshot};
use crate::error::Result;
use crate::task::{SessionId, Status};

impl Registry {
    /// The tasks as they stand, in the order of their `spawn` calls. It changes no task.
    pub fn list(&self, session: Option<SessionId>, status: Option<Status>, preview_bytes: u64) -> Result<Vec<TaskSnapshot>> {
        let sessions = self.attach(session)?;
        let mut entries: Vec<Entry> = {
            let ledger = self.open_ledger()?;
            let all = sessions.iter().flat_map(|session| ledger.of_session(session));
            all.filter(|entry| status.is_none_or(|status| entry.task.status() == status)).cloned().collect()
        };
        entries.sort_by_key(|entry| {
            let asked = &entry.asked;
            let at = if entry.this_boot { asked.created_monotonic_ns } else { asked.created_at };
            (entry.this_boot, at, asked.id.clone())
        });
        entries.iter().filter_map(|entry| entry.unless_removed(self.shared.snapshot(entry, preview_bytes))).collect()
    }
}
