//! `wait`: an answer at the end, or when the caller's patience is.

use std::io;
use std::time::Duration;

use super::Registry;
use super::keeper::{Job, Keeper, Request, TRY_AGAIN_AFTER, Timer};
use super::ledger::Entry;
use super::snapshot::{DEFAULT_PREVIEW_BYTES, TaskSnapshot};
use crate::error::{Error, Result};
use crate::reactor::TimerKey;
use crate::store;
use crate::task::{SessionId, TaskId};

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The leader's end.
    Ended,
    /// The end of the last process of its tree.
    Empty,
}

/// Somebody who wants to know.
pub(super) enum Waiter {
    /// Of one task.
    Task { request: Request, task: TaskId, until: Until, patience: Option<TimerKey> },
    /// Of many, who wants all the answers at once.
    Tasks { request: Request, open: Vec<TaskId>, done: Vec<TaskSnapshot> },
}

impl Waiter {
    pub(super) fn request(&self) -> Request {
        match self {
            Waiter::Task { request, .. } | Waiter::Tasks { request, .. } => *request,
        }
    }

    pub(super) fn is_for(&self, number: Request) -> bool {
        self.request() == number
    }

    fn waits_for(&self, id: &TaskId, reached: Until) -> bool {
        match self {
            Waiter::Task { task, until, .. } => task == id && *until == reached,
            Waiter::Tasks { open, .. } => reached == Until::Empty && open.contains(id),
        }
    }
}

impl Registry {
    /// Waits for a task's end, or until `timeout` has passed; the answer is its snapshot.
    pub fn wait(&self, request: Request, task: &str, session: Option<SessionId>, timeout: Option<Duration>) -> Result<()> {
        drop(self.open_ledger()?);
        self.send(Job::Wait { request, task: task.to_owned(), session, timeout })
    }

    /// Takes a wait back; it is never answered.
    pub fn cancel(&self, request: Request) -> Result<()> {
        self.send(Job::Cancel { request })
    }
}

impl Keeper {
    pub(super) fn wait(&mut self, request: Request, task: &str, session: Option<SessionId>, timeout: Option<Duration>) {
        let entry = match self.find(task, session) {
            Ok(entry) => entry,
            Err(error) => return self.shared.outbox.fail(request, &error),
        };
        if entry.task.ending().is_some() || timeout == Some(Duration::ZERO) {
            return self.answer(request, &entry);
        }
        let patience = timeout.and_then(|pause| self.ear.after(pause, Timer::WaitIsOver { request }));
        self.waiters.push(Waiter::Task { request, task: entry.asked.task.clone(), until: Until::Ended, patience });
    }

    /// The caller does not wait any more.
    pub(super) fn cancel(&mut self, request: Request) {
        let Some(place) = self.waiters.iter().position(|waiter| waiter.is_for(request)) else { return };
        if let Waiter::Task { patience: Some(timer), .. } = self.waiters.swap_remove(place) {
            self.ear.cancel(timer);
        }
    }

    /// The task that a caller names, from the ledger or from disk.
    pub(super) fn find(&mut self, task: &str, session: Option<SessionId>) -> Result<Entry> {
        if let Some(session) = &session
            && self.shared.is_to_be_attached(session)?
        {
            self.attach(session)?;
        }
        if let Ok(id) = task.parse() {
            for of in self.shared.sessions(session.as_ref()) {
                self.adopt(&of, &id)?;
            }
        }
        self.known(task, session)
    }

    /// The same without its session's other tasks: to read those may take long.
    pub(super) fn find_alone(&mut self, task: &str, session: Option<SessionId>) -> Result<Entry> {
        if let Ok(id) = task.parse()
            && !self.shared.lock().knows(&id)
        {
            for of in self.shared.sessions(session.as_ref()) {
                // One that is spoilt keeps nobody from the others.
                if store::open_session(&self.shared.store, &of).unwrap_or(false) {
                    self.adopt_alone(&of, &id, 1)?;
                }
            }
        }
        self.known(task, session)
    }

    fn known(&self, task: &str, session: Option<SessionId>) -> Result<Entry> {
        let entry = task.parse().ok().and_then(|id| self.shared.lock().find(&id, session.as_ref()));
        let is_there = entry.filter(|entry| !entry.is_removed());
        is_there.ok_or_else(|| Error::TaskNotFound { task: task.to_owned(), session })
    }

    /// Patience has run out: the answer is the task as it stands, as soon as there are descriptors to say so.
    pub(super) fn answer_as_it_stands(&mut self, request: Request) {
        let Some(place) = self.waiters.iter().position(|waiter| waiter.is_for(request)) else { return };
        let Waiter::Task { task, until, .. } = self.waiters.swap_remove(place) else { return };
        let entry = self.shared.lock().find(&task, None);
        match entry.map(|entry| self.shared.snapshot(&entry, DEFAULT_PREVIEW_BYTES)) {
            Some(Ok(snapshot)) => self.shared.outbox.answer(request, Ok(snapshot)),
            Some(Err(_)) => {
                let patience = self.ear.after(TRY_AGAIN_AFTER, Timer::WaitIsOver { request });
                self.waiters.push(Waiter::Task { request, task, until, patience });
            }
            // Another host has removed it since.
            None => self.turn_away(request, &task),
        }
    }

    fn turn_away(&self, request: Request, id: &TaskId) {
        self.shared.outbox.fail(request, &Error::TaskNotFound { task: id.to_string(), session: None });
    }

    /// Nothing will ever be heard of this task.
    pub(super) fn turn_away_waiters(&mut self, id: &TaskId) {
        for waiter in std::mem::take(&mut self.waiters) {
            match waiter {
                Waiter::Task { request, task, patience, .. } if task == *id => {
                    patience.into_iter().for_each(|timer| self.ear.cancel(timer));
                    self.turn_away(request, id);
                }
                Waiter::Tasks { request, mut open, done } => {
                    open.retain(|task| task != id);
                    if open.is_empty() {
                        self.shared.outbox.answer(request, Ok(done));
                    } else {
                        self.waiters.push(Waiter::Tasks { request, open, done });
                    }
                }
                other => self.waiters.push(other),
            }
        }
    }

    /// The tree of a task lives on, and none of our signals reaches it.
    pub(super) fn refuse_waiters(&mut self, id: &TaskId, why: io::Error) {
        let Some(entry) = self.shared.lock().find(id, None) else { return };
        let error = Error::KillRefused { task: id.clone(), source: why };
        let waiting: Vec<Request> =
            self.waiters.iter().filter(|waiter| waiter.waits_for(id, Until::Empty)).map(Waiter::request).collect();
        for request in waiting {
            self.give_up_on(request, &entry, &error);
        }
    }

    pub(super) fn answer_waiters(&mut self, id: &TaskId, reached: Until) {
        if !self.waiters.iter().any(|waiter| waiter.waits_for(id, reached)) {
            return;
        }
        // Another host may have removed it since.
        let Some(entry) = self.shared.lock().find(id, None) else { return self.turn_away_waiters(id) };
        let Ok(snapshot) = self.shared.snapshot(&entry, DEFAULT_PREVIEW_BYTES) else {
            // Who has waited so long is not told less than all for want of descriptors.
            self.ear.after(TRY_AGAIN_AFTER, Timer::AnswerAgain { task: id.clone(), reached });
            return;
        };
        let told: Vec<Waiter> = self.waiters.extract_if(.., |waiter| waiter.waits_for(id, reached)).collect();
        for waiter in told {
            match waiter {
                Waiter::Task { request, patience, .. } => {
                    patience.into_iter().for_each(|timer| self.ear.cancel(timer));
                    self.shared.outbox.answer(request, Ok(&snapshot));
                }
                Waiter::Tasks { request, mut open, mut done } => {
                    open.retain(|task| task != id);
                    done.push(snapshot.clone());
                    if open.is_empty() {
                        self.shared.outbox.answer(request, Ok(done));
                    } else {
                        self.waiters.push(Waiter::Tasks { request, open, done });
                    }
                }
            }
        }
    }

    /// Who asks now is told now, also that it cannot be said for want of descriptors.
    pub(super) fn answer(&self, request: Request, entry: &Entry) {
        self.shared.outbox.answer(request, self.shared.snapshot(entry, DEFAULT_PREVIEW_BYTES));
    }
}
