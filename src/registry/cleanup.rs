//! `cleanup`: finished tasks go with their files. One that runs, has live processes, or has news that nobody has accepted and that
//! is not very old, stays.

use super::Registry;
use super::keeper::{Ear, Job, Keeper, Request};
use super::ledger::Entry;
use crate::error::Result;
use crate::platform::clock;
use crate::store;
use crate::task::{Delivery, SessionId, TaskId};

/// One call removes no more than this, so that it ends; the next call goes on.
const MAX_REMOVED: usize = 10_000;

impl Registry {
    /// Removes finished tasks of all attached sessions; the answer is how many.
    pub fn cleanup(&self, request: Request, older_than_ms: u64, undelivered_older_than_ms: u64) -> Result<()> {
        drop(self.open_ledger()?);
        self.send(Job::Cleanup { request, older_than_ms, undelivered_older_than_ms })
    }
}

impl Keeper {
    pub(super) fn cleanup(&mut self, ear: &mut Ear, older_than_ms: u64, undelivered_older_than_ms: u64) -> Result<usize> {
        let now = clock::unix_ms();
        let mut removed = 0;
        for session in self.attach_all(ear, None)? {
            let entries: Vec<Entry> = self.shared.lock().of_session(&session).cloned().collect();
            for entry in entries {
                let told =
                    matches!(entry.task.delivery, Delivery::Silent | Delivery::Delivered) || store::is_delivered(&entry.dir);
                let limit = if told { older_than_ms } else { undelivered_older_than_ms.max(older_than_ms) };
                if removed < MAX_REMOVED && is_removable(&entry, now, limit) && store::remove(&entry.dir).is_ok() {
                    self.shared.lock().remove(&entry.asked.task);
                    removed += 1;
                }
            }
            self.remove_debris(&session)?;
        }
        Ok(removed)
    }

    fn remove_debris(&self, session: &SessionId) -> Result<()> {
        let on_disk = store::session_tasks(&self.shared.store, session)?;
        let is_known = |id: &TaskId| self.shared.lock().knows(id);
        let unknown = on_disk.iter().filter(|id| !is_known(id));
        unknown.for_each(|id| store::remove_debris(&self.shared.store, session, id));
        store::remove_drafts(&self.shared.store, session);
        Ok(())
    }
}

fn is_removable(entry: &Entry, now: u64, older_than_ms: u64) -> bool {
    let Some(ending) = entry.task.ending() else { return false };
    // A clock that stands before the end says nothing about its age.
    let is_old = now.checked_sub(ending.finished_at).is_some_and(|age| age >= older_than_ms);
    // A supervisor that is still there when all is gone only syncs, and does not miss its directory.
    is_old && entry.task.is_gone() && entry.task.delivery != Delivery::Leased
}
