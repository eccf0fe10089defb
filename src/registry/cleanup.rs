//! `cleanup`: finished tasks go with their files. One that runs, has live processes, or has news that nobody has accepted and that
//! is not very old, stays.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Registry;
use super::keeper::{Job, Keeper, Request, SLICE, Timer};
use super::ledger::Entry;
use crate::error::{Error, Result};
use crate::platform::clock;
use crate::store::{self, TaskDir};
use crate::task::{Delivery, EndOrder, Ending, SessionId, Task, TaskId};

/// How old the end of a task must be.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) older_than_ms: u64,
    /// Where nobody has accepted the news of it.
    pub(super) undelivered_older_than_ms: u64,
}

/// A cleanup on its way: first through the tasks that were known when it was asked for, then through all sessions on disk.
pub(super) struct Cleaning {
    pub(super) request: Request,
    asked_at: u64,
    limits: Limits,
    tasks: Vec<TaskId>,
    /// What can be the directory of a session.
    dirs: Vec<PathBuf>,
    /// Tasks of a session that is not attached.
    pub(super) strangers: Vec<(SessionId, TaskId)>,
    removed: usize,
    /// What the first was that could not be removed, or looked at.
    failed: Option<Error>,
}

impl Cleaning {
    /// Whether a task that ended so is old enough to go; `told`: nobody needs to hear of its end any more.
    pub(super) fn takes(&self, dir: &TaskDir, ending: &Ending, told: bool, at_least_ms: u64) -> bool {
        let Limits { older_than_ms, undelivered_older_than_ms } = self.limits;
        let limit = if told { older_than_ms } else { undelivered_older_than_ms.max(older_than_ms) };
        // Of an end that has no record nobody can have heard before a host knew of it.
        let known_since = if told || ending.is_recorded { 0 } else { store::known_since(dir, self.asked_at) };
        is_older(ending, known_since, self.asked_at, limit.max(at_least_ms))
    }

    /// Removes a task's files; true when they are gone.
    pub(super) fn remove(&mut self, dir: &TaskDir) -> bool {
        let removed = store::remove(dir).map_err(Error::storage("remove", dir.path()));
        self.removed += usize::from(removed.is_ok());
        removed.map_err(|error| self.go_on_past(error)).is_ok()
    }

    /// The others need not stay for the sake of one.
    fn go_on_past(&mut self, error: Error) {
        self.failed.get_or_insert(error);
    }

    /// How many went; an error when something could not be removed, or looked at, and nothing went.
    fn outcome(self) -> Result<usize> {
        match self.failed {
            Some(error) if self.removed == 0 => Err(error),
            _ => Ok(self.removed),
        }
    }
}

impl Registry {
    /// Removes finished tasks; the answer is how many.
    pub fn cleanup(&self, request: Request, older_than_ms: u64, undelivered_older_than_ms: u64) -> Result<()> {
        drop(self.open_ledger()?);
        self.send(Job::Cleanup { request, limits: Limits { older_than_ms, undelivered_older_than_ms } })
    }
}

impl Keeper {
    pub(super) fn cleanup(&mut self, request: Request, limits: Limits) {
        let (sessions, failed) = match self.attach_all(None) {
            Ok(sessions) => (sessions, None),
            Err(error) if error.is_exhaustion() => return self.shared.outbox.fail(request, &error),
            // One that is spoilt keeps nobody from the others.
            Err(error) => (Vec::new(), Some(error)),
        };
        let dirs = match store::session_dirs(&self.shared.store) {
            Ok(dirs) => dirs,
            Err(error) => return self.shared.outbox.fail(request, &error),
        };
        let tasks = {
            let ledger = self.shared.lock();
            sessions.iter().flat_map(|session| ledger.of_session(session)).map(|entry| entry.asked.id.clone()).collect()
        };
        store::remove_old_executables(&self.shared.store);
        let asked_at = clock::unix_ms();
        self.clean_further(Cleaning { request, asked_at, limits, tasks, dirs, strangers: Vec::new(), removed: 0, failed });
    }

    pub(super) fn clean_further(&mut self, mut cleaning: Cleaning) {
        let began = Instant::now();
        while began.elapsed() < SLICE {
            if let Some(task) = cleaning.tasks.pop() {
                self.remove_if_over(&task, &mut cleaning);
            } else if let Some((session, task)) = cleaning.strangers.pop() {
                self.remove_if_forgotten(&session, &task, &mut cleaning);
            } else if let Some(dir) = cleaning.dirs.pop() {
                self.clean_session(&dir, &mut cleaning).unwrap_or_else(|error| cleaning.go_on_past(error));
            } else {
                return self.shared.outbox.answer(cleaning.request, cleaning.outcome());
            }
        }
        self.ear.after(Duration::ZERO, Timer::CleanFurther(cleaning));
    }

    pub(super) fn remove_if_over(&self, task: &TaskId, cleaning: &mut Cleaning) {
        let Some(entry) = self.shared.lock().find(task, None) else { return };
        let Some(ending) = entry.task.ending().filter(|_| entry.is_over()) else { return };
        let told = is_told(&entry.task, &entry.dir);
        // Somebody is about to hear of it.
        if (!told && self.is_about_to_be_told(&entry)) || self.waiters.iter().any(|waiter| waiter.task == *task) {
            return;
        }
        if cleaning.takes(&entry.dir, ending, told, 0) && cleaning.remove(&entry.dir) {
            self.shared.lock().remove(task);
        }
    }

    fn is_about_to_be_told(&self, entry: &Entry) -> bool {
        let session = &entry.asked.session;
        entry.task.can_be_told() && self.news.concerns(session) && self.shared.lock().subscription_of(session).is_some()
    }

    pub(super) fn remove_debris(&self, session: &SessionId) -> Result<()> {
        let on_disk = store::session_tasks(&self.shared.store, session)?;
        let is_known = |id: &TaskId| self.shared.lock().knows(id);
        let unknown = on_disk.iter().filter(|id| !is_known(id));
        unknown.for_each(|id| store::remove_debris(&self.shared.store, session, id));
        Ok(())
    }
}

/// Whether nobody needs to hear of its end any more.
pub(super) fn is_told(task: &Task, dir: &TaskDir) -> bool {
    matches!(task.delivery, Delivery::Silent | Delivery::Delivered) || store::is_delivered(dir)
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
