//! `wait`: an answer at the end, or when the caller's patience is.

use std::time::Duration;

use super::Registry;
use super::keeper::{Ear, Job, Keeper, Request, Timer};
use super::ledger::Entry;
use super::snapshot::{DEFAULT_PREVIEW_BYTES, TaskSnapshot};
use crate::error::{Error, Result};
use crate::reactor::TimerKey;
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
    pub(super) fn is_for(&self, number: Request) -> bool {
        match self {
            Waiter::Task { request, .. } | Waiter::Tasks { request, .. } => *request == number,
        }
    }

    pub(super) fn into_requests(self) -> Option<Request> {
        match self {
            Waiter::Task { request, .. } | Waiter::Tasks { request, .. } => Some(request),
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
    pub(super) fn wait(
        &mut self,
        ear: &mut Ear,
        request: Request,
        task: &str,
        session: Option<SessionId>,
        timeout: Option<Duration>,
    ) {
        let entry = match self.find(ear, task, session) {
            Ok(entry) => entry,
            Err(error) => return self.shared.outbox.fail(request, &error),
        };
        if entry.task.ending().is_some() || timeout == Some(Duration::ZERO) {
            return self.answer(request, &entry);
        }
        let patience = timeout.and_then(|pause| ear.after(pause, Timer::WaitIsOver { request }));
        self.waiters.push(Waiter::Task { request, task: entry.asked.task.clone(), until: Until::Ended, patience });
    }

    /// The caller does not wait any more.
    pub(super) fn cancel(&mut self, ear: &mut Ear, request: Request) {
        let Some(place) = self.waiters.iter().position(|waiter| waiter.is_for(request)) else { return };
        if let Waiter::Task { patience: Some(timer), .. } = self.waiters.swap_remove(place) {
            ear.cancel(timer);
        }
    }

    /// The task that a caller names, from the ledger or from disk.
    pub(super) fn find(&mut self, ear: &mut Ear, task: &str, session: Option<SessionId>) -> Result<Entry> {
        let unknown = || Error::TaskNotFound { task: task.to_owned(), session: session.clone() };
        if let Some(session) = &session
            && self.shared.is_to_be_attached(session)?
        {
            self.attach(ear, session)?;
        }
        let id: TaskId = task.parse().map_err(|()| unknown())?;
        for of in self.shared.sessions(session.as_ref()) {
            self.adopt(ear, &of, &id)?;
        }
        let entry = self.shared.lock().find(&id, session.as_ref());
        entry.filter(|entry| !entry.is_removed()).ok_or_else(unknown)
    }

    /// Patience has run out: the answer is the task as it stands.
    pub(super) fn answer_as_it_stands(&mut self, request: Request) {
        let Some(place) = self.waiters.iter().position(|waiter| waiter.is_for(request)) else { return };
        if let Waiter::Task { task, .. } = self.waiters.swap_remove(place) {
            let entry = self.shared.lock().find(&task, None);
            match entry {
                Some(entry) => self.answer(request, &entry),
                // Another host has removed it since.
                None => self.turn_away(request, &task),
            }
        }
    }

    fn turn_away(&self, request: Request, id: &TaskId) {
        self.shared.outbox.fail(request, &Error::TaskNotFound { task: id.to_string(), session: None });
    }

    /// Nothing will ever be heard of this task.
    pub(super) fn turn_away_waiters(&mut self, ear: &mut Ear, id: &TaskId) {
        for waiter in std::mem::take(&mut self.waiters) {
            match waiter {
                Waiter::Task { request, task, patience, .. } if task == *id => {
                    patience.into_iter().for_each(|timer| ear.cancel(timer));
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

    pub(super) fn answer_waiters(&mut self, ear: &mut Ear, id: &TaskId, reached: Until) {
        if self.waiters.is_empty() {
            return;
        }
        // Another host may have removed it since.
        let Some(entry) = self.shared.lock().find(id, None) else { return self.turn_away_waiters(ear, id) };
        let mut waiting = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            match waiter {
                Waiter::Task { request, task, until, patience } if task == *id && until == reached => {
                    patience.into_iter().for_each(|timer| ear.cancel(timer));
                    self.answer(request, &entry);
                }
                Waiter::Tasks { request, mut open, mut done } if reached == Until::Empty && open.contains(id) => {
                    open.retain(|task| task != id);
                    done.push(self.shared.snapshot(&entry, DEFAULT_PREVIEW_BYTES));
                    if open.is_empty() {
                        self.shared.outbox.answer(request, Ok(done));
                    } else {
                        waiting.push(Waiter::Tasks { request, open, done });
                    }
                }
                other => waiting.push(other),
            }
        }
        self.waiters = waiting;
    }

    pub(super) fn answer(&self, request: Request, entry: &Entry) {
        self.shared.outbox.answer(request, Ok(self.shared.snapshot(entry, DEFAULT_PREVIEW_BYTES)));
    }
}
