//! `wait`: an answer at the end, or when the caller's patience is.

use std::io;
use std::time::Duration;

use super::keeper::{Job, Keeper, Request, Timer};
use super::ledger::Entry;
use super::look::TRY_AGAIN_AFTER;
use super::snapshot::{DEFAULT_PREVIEW_BYTES, TaskSnapshot};
use super::{Registry, TaskRef};
use crate::error::{Error, Result};
use crate::reactor::TimerKey;
use crate::task::TaskId;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The leader's end.
    Ended,
    /// The end of the last process of its tree.
    Empty,
}

/// Somebody who wants to know of one task. A `shutdown` is one for each that it ends.
pub(super) struct Waiter {
    pub(super) request: Request,
    pub(super) task: TaskId,
    pub(super) until: Until,
    pub(super) patience: Option<TimerKey>,
}

/// The answers of a `shutdown`, until none of its waiters is left: it has them all at once.
pub(super) struct Gathering {
    pub(super) request: Request,
    pub(super) grace_ms: Option<u64>,
    /// What runs has been ordered to end.
    pub(super) is_begun: bool,
    pub(super) done: Vec<TaskSnapshot>,
}

impl Waiter {
    fn waits_for(&self, id: &TaskId, reached: Until) -> bool {
        self.task == *id && self.until == reached
    }
}

impl Registry {
    /// Waits for a task's end, or until `timeout` has passed; the answer is its snapshot.
    pub fn wait(&self, request: Request, named: TaskRef, timeout: Option<Duration>) -> Result<()> {
        drop(self.open_ledger()?);
        self.send(Job::Wait { request, named, timeout })
    }

    /// Takes a wait back; it is never answered.
    pub fn cancel(&self, request: Request) -> Result<()> {
        self.send(Job::Cancel { request })
    }
}

impl Keeper {
    pub(super) fn wait(&mut self, request: Request, named: &TaskRef, timeout: Option<Duration>) {
        let entry = match self.find(named) {
            Ok(entry) => entry,
            Err(error) => return self.shared.outbox.fail(request, &error),
        };
        if entry.task.ending().is_some() || timeout == Some(Duration::ZERO) {
            return self.answer(request, &entry);
        }
        let patience = timeout.and_then(|pause| self.ear.after(pause, Timer::WaitIsOver { request }));
        self.waiters.push(Waiter { request, task: entry.asked.id.clone(), until: Until::Ended, patience });
    }

    /// The caller does not wait any more.
    pub(super) fn cancel(&mut self, request: Request) {
        let gone = self.waiters.extract_if(.., |waiter| waiter.request == request);
        gone.filter_map(|waiter| waiter.patience).for_each(|timer| self.ear.cancel(timer));
    }

    /// Patience has run out: the answer is the task as it stands, as soon as there are descriptors to say so.
    pub(super) fn answer_as_it_stands(&mut self, request: Request) {
        let Some(id) = self.waiters.iter().find(|waiter| waiter.request == request).map(|waiter| waiter.task.clone()) else {
            return;
        };
        // Where this host was stopped or busy, the end may have come in time and not have been heard.
        self.refresh(&id, false);
        let entry = self.shared.lock().find(&id, None);
        if entry.as_ref().is_some_and(|entry| entry.task.ending().is_some()) {
            // Behind its completion, as ever.
            return self.news.reach(&id, Until::Ended);
        }
        let Some(place) = self.waiters.iter().position(|waiter| waiter.request == request) else { return };
        let mut waiter = self.waiters.swap_remove(place);
        match entry.map(|entry| self.shared.snapshot(&entry, DEFAULT_PREVIEW_BYTES)) {
            Some(Ok(snapshot)) => self.settle(request, Some(snapshot), &waiter.task),
            Some(Err(_)) => {
                waiter.patience = self.ear.after(TRY_AGAIN_AFTER, Timer::WaitIsOver { request });
                self.waiters.push(waiter);
            }
            // Another host has removed it since.
            None => self.settle(request, None, &waiter.task),
        }
    }

    /// Answers with what became of a task; `None`: nothing will ever be heard of it. A `shutdown` is answered with the last of its tasks.
    pub(super) fn settle(&mut self, request: Request, snapshot: Option<TaskSnapshot>, id: &TaskId) {
        let Some(place) = self.gatherings.iter().position(|gathering| gathering.request == request) else {
            let named = TaskRef { task: id.to_string(), session: None };
            return self.shared.outbox.answer(request, snapshot.ok_or_else(|| named.not_found()));
        };
        self.gatherings[place].done.extend(snapshot);
        self.answer_shutdowns();
    }

    /// Answers whom `are_told` says, and takes their timers away.
    fn settle_all(&mut self, id: &TaskId, snapshot: Option<&TaskSnapshot>, are_told: impl Fn(&Waiter) -> bool) {
        let told: Vec<Waiter> = self.waiters.extract_if(.., |waiter| are_told(waiter)).collect();
        for Waiter { request, patience, .. } in told {
            patience.into_iter().for_each(|timer| self.ear.cancel(timer));
            self.settle(request, snapshot.cloned(), id);
        }
    }

    /// Nothing will ever be heard of this task.
    pub(super) fn turn_away_waiters(&mut self, id: &TaskId) {
        self.settle_all(id, None, |waiter| waiter.task == *id);
    }

    /// The tree of a task lives on, and none of our signals reaches it.
    pub(super) fn refuse_waiters(&mut self, id: &TaskId, why: io::Error) {
        let Some(entry) = self.shared.lock().find(id, None) else { return };
        let error = Error::KillRefused { task: id.clone(), source: why };
        let waiting = self.waiters.iter().filter(|waiter| waiter.waits_for(id, Until::Empty));
        let waiting: Vec<Request> = waiting.map(|waiter| waiter.request).collect();
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
        self.settle_all(id, Some(&snapshot), |waiter| waiter.waits_for(id, reached));
    }

    /// Who asks now is told now, also that it cannot be said for want of descriptors.
    pub(super) fn answer(&self, request: Request, entry: &Entry) {
        self.shared.outbox.answer(request, self.shared.snapshot(entry, DEFAULT_PREVIEW_BYTES));
    }
}
