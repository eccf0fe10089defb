//! `cleanup`: finished tasks go with their files. One that runs, has live processes, or has news that nobody has accepted and that
//! is not very old, stays.

use std::time::{Duration, Instant};

use super::Registry;
use super::keeper::{Job, Keeper, Request, SLICE, Timer};
use super::ledger::Entry;
use crate::error::{Error, Result};
use crate::platform::clock;
use crate::store;
use crate::task::{Delivery, EndOrder, Ending, SessionId, TaskId};

/// A cleanup on its way through the tasks that were known when it was asked for.
pub(super) struct Cleaning {
    pub(super) request: Request,
    asked_at: u64,
    older_than_ms: u64,
    undelivered_older_than_ms: u64,
    tasks: Vec<TaskId>,
    sessions: Vec<SessionId>,
    removed: usize,
    /// Why the first of those that were to go is still there.
    failed: Option<Error>,
}

impl Cleaning {
    /// How many went; an error when there were some to go and not one could.
    fn outcome(self) -> Result<usize> {
        match self.failed {
            Some(error) if self.removed == 0 => Err(error),
            _ => Ok(self.removed),
        }
    }
}

impl Registry {
    /// Removes finished tasks of all attached sessions; the answer is how many.
    pub fn cleanup(&self, request: Request, older_than_ms: u64, undelivered_older_than_ms: u64) -> Result<()> {
        drop(self.open_ledger()?);
        self.send(Job::Cleanup { request, older_than_ms, undelivered_older_than_ms })
    }
}

impl Keeper {
    pub(super) fn cleanup(&mut self, request: Request, older_than_ms: u64, undelivered_older_than_ms: u64) {
        let sessions = match self.attach_all(None) {
            Ok(sessions) => sessions,
            Err(error) => return self.shared.outbox.fail(request, &error),
        };
        let tasks = {
            let ledger = self.shared.lock();
            sessions.iter().flat_map(|session| ledger.of_session(session)).map(|entry| entry.asked.id.clone()).collect()
        };
        store::remove_old_executables(&self.shared.store);
        let asked_at = clock::unix_ms();
        let cleaning =
            Cleaning { request, asked_at, older_than_ms, undelivered_older_than_ms, tasks, sessions, removed: 0, failed: None };
        self.clean_further(cleaning);
    }

    pub(super) fn clean_further(&mut self, mut cleaning: Cleaning) {
        let began = Instant::now();
        while began.elapsed() < SLICE {
            if let Some(task) = cleaning.tasks.pop() {
                self.remove_if_over(&task, &mut cleaning);
            } else if let Some(session) = cleaning.sessions.pop() {
                if let Err(error) = self.remove_debris(&session) {
                    return self.shared.outbox.fail(cleaning.request, &error);
                }
            } else {
                return self.shared.outbox.answer(cleaning.request, cleaning.outcome());
            }
        }
        self.ear.after(Duration::ZERO, Timer::CleanFurther(cleaning));
    }

    fn remove_if_over(&self, task: &TaskId, cleaning: &mut Cleaning) {
        let Some(entry) = self.shared.lock().find(task, None) else { return };
        let Some(ending) = entry.task.ending().filter(|_| is_over(&entry)) else { return };
        let told = matches!(entry.task.delivery, Delivery::Silent | Delivery::Delivered) || store::is_delivered(&entry.dir);
        let Cleaning { asked_at, older_than_ms, undelivered_older_than_ms, .. } = *cleaning;
        // Somebody is about to hear of it.
        if (!told && self.is_about_to_be_told(&entry)) || self.waiters.iter().any(|waiter| waiter.task == *task) {
            return;
        }
        let limit = if told { older_than_ms } else { undelivered_older_than_ms.max(older_than_ms) };
        // Of an end that has no record nobody can have heard before a host knew of it.
        let known_since = if told || ending.is_recorded { 0 } else { store::known_since(&entry.dir, asked_at) };
        if !is_older(ending, known_since, asked_at, limit) {
            return;
        }
        match store::remove(&entry.dir) {
            Ok(()) => {
                self.shared.lock().remove(task);
                cleaning.removed += 1;
            }
            // The others need not stay for its sake.
            Err(source) => {
                cleaning.failed.get_or_insert_with(|| Error::storage("remove", entry.dir.path())(source));
            }
        }
    }

    fn is_about_to_be_told(&self, entry: &Entry) -> bool {
        let session = &entry.asked.session;
        entry.task.can_be_told() && self.news.concerns(session) && self.shared.lock().subscription_of(session).is_some()
    }

    fn remove_debris(&self, session: &SessionId) -> Result<()> {
        let on_disk = store::session_tasks(&self.shared.store, session)?;
        let is_known = |id: &TaskId| self.shared.lock().knows(id);
        let unknown = on_disk.iter().filter(|id| !is_known(id));
        unknown.for_each(|id| store::remove_debris(&self.shared.store, session, id));
        store::remove_session_drafts(&self.shared.store, session);
        Ok(())
    }
}

/// A supervisor that is still there when all is gone only syncs, and does not miss its directory.
fn is_over(entry: &Entry) -> bool {
    entry.task.is_gone() && entry.task.lease().is_none()
}

/// Whether it is at least so old; by a limit of 0 it is, whatever the clocks say.
fn is_older(ending: &Ending, known_since: u64, now: u64, than_ms: u64) -> bool {
    // A wall clock that stands before the end says nothing about its age, and one that was set forward since makes it older than it is.
    let age = match (now.checked_sub(ending.finished_at.max(known_since)), age_within_boot(ending)) {
        (Some(by_wall), Some(within_boot)) => Some(by_wall.min(within_boot)),
        (Some(by_wall), None) => Some(by_wall),
        // Since when the news is known, the wall's clock alone can say.
        (None, within_boot) => within_boot.filter(|_| known_since == 0),
    };
    than_ms == 0 || age.is_some_and(|age| age >= than_ms)
}

/// The time since the end by the clock that nobody sets, and that stands still while the machine is suspended. That of an earlier boot
/// is not known. A task whose supervisor vanished before our eyes ended then, however long it had been silent.
fn age_within_boot(ending: &Ending) -> Option<u64> {
    let EndOrder { this_boot, at } = ending.order;
    this_boot.then(|| clock::monotonic_ns().saturating_sub(at) / 1_000_000)
}
