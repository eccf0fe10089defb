//! Completions: how they are told, accepted and given back. `ended.json` is on disk before anybody hears of it; a completion
//! has one holder at a time; what was accepted is never told again.

use std::time::Instant;

use super::keeper::{Job, Keeper, SLICE};
use super::ledger::Entry;
use super::{Completion, Registry, Shared, TaskRef};
use crate::error::Result;
use crate::platform::failpoint;
use crate::store;
use crate::task::{Delivery, EndOrder, Event, SessionId, TaskId};

/// What becomes of a completion on which a callback has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is tried again later.
    GivenBack,
    /// This host does not try again, and leaves it to `drain`.
    GivenUp,
    /// It was accepted or given back before.
    NotHeld,
}

impl Shared {
    /// The session's completions that nobody holds or has accepted.
    pub(super) fn undelivered(&self, session: &SessionId) -> Vec<Entry> {
        let mut pending: Vec<Entry> = self.lock().pending(session).cloned().collect();
        pending.retain(|entry| !self.strike_off(entry));
        pending
    }

    /// The first of the session's completions that a callback may be handed.
    fn next_to_tell(&self, session: &SessionId) -> Option<Entry> {
        loop {
            let entry = self.lock().next_to_tell(session)?;
            if !self.strike_off(&entry) {
                return Some(entry);
            }
        }
    }

    /// Whether another host has told the completion, or removed its task. Then it is nothing to be told here.
    fn strike_off(&self, entry: &Entry) -> bool {
        let is_settled = store::is_delivered(&entry.dir) || entry.has_lost_its_files();
        if is_settled {
            self.lock().apply(&entry.asked.id, Event::Accepted);
        }
        is_settled
    }

    /// Accepts a completion for good; true when nobody had before.
    pub(super) fn accept(&self, entry: &Entry) -> Result<bool> {
        let is_first = match store::acknowledge(&entry.dir) {
            // Another host has, and has cleaned up since.
            Err(_) if entry.has_lost_its_files() => false,
            first => first?,
        };
        self.lock().apply(&entry.asked.id, Event::Accepted);
        Ok(is_first)
    }
}

impl Registry {
    /// Delivers completions that callbacks hold, or that nobody does; returns how many were not delivered before.
    pub fn ack(&self, tasks: &[TaskId]) -> Result<usize> {
        let (mut count, mut failed) = (0, None);
        for task in tasks {
            match self.accept(task) {
                Ok(is_first) => count += usize::from(is_first),
                // One that cannot be recorded keeps nobody from the others.
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        failed.map_or(Ok(count), Err)
    }

    fn accept(&self, task: &TaskId) -> Result<bool> {
        // One that another host has started is found on disk, as `status` finds it.
        let Some(entry) = self.find(&TaskRef { task: task.to_string(), session: None })? else { return Ok(false) };
        if entry.task.ending().is_none() || entry.task.delivery == Delivery::Silent {
            return Ok(false);
        }
        let is_first = self.shared.accept(&entry)?;
        self.settled(&entry)?;
        Ok(is_first)
    }

    /// Gives back completions that callbacks hold; returns how many that were.
    pub fn release(&self, tasks: &[TaskId]) -> Result<usize> {
        let mut count = 0;
        for task in tasks {
            let held = self.open_ledger()?.find(task, None).and_then(|entry| entry.task.lease());
            let Some(lease) = held else { continue };
            count += 1;
            if lease.in_callback {
                // Told again at once it would be given back at once, for ever.
                self.refuse(task, lease.number)?;
            } else {
                self.give_back(task, lease.number)?;
            }
        }
        Ok(count)
    }

    /// A callback is about to be called with a completion that was handed out, and from now on it counts as told. `false` when
    /// it may not be: it was accepted, by whichever host, or given back on its way. `settles`: the callback will say when it is
    /// done with it.
    pub fn begin(&self, task: &TaskId, lease: u32, settles: bool) -> bool {
        let begun = self.shared.lock().begin(task, lease, settles);
        // If the reactor is gone, so is what it would do.
        drop(self.let_on());
        let Some(entry) = begun else { return false };
        // Before the look: a disk can take its time to note it, and another host can accept it meanwhile.
        store::note_attempt(&entry.dir);
        if self.shared.strike_off(&entry) {
            // It may have lain here for as long as the event loop had other things to do. If the reactor is gone, so is what it would do.
            drop(self.settled(&entry));
            return false;
        }
        true
    }

    /// Gives back a completion that was handed out and not told.
    pub fn give_back(&self, task: &TaskId, lease: u32) -> Result<()> {
        let entry = {
            let mut ledger = self.shared.lock();
            let Some(entry) = ledger.held(task, lease).cloned() else { return Ok(()) };
            ledger.apply(task, Event::Returned);
            entry
        };
        self.settled(&entry)
    }

    /// A callback has taken a completion: it is on disk when this returns. One that was given back meanwhile is whose it is now.
    pub fn take_delivery(&self, task: &TaskId, lease: u32) -> Result<()> {
        let Some(entry) = self.shared.lock().held(task, lease).cloned() else { return Ok(()) };
        let accepted = self.shared.accept(&entry);
        // Also when the disk refuses: this host has told it, and shall not hold it for ever.
        self.shared.lock().apply(task, Event::Accepted);
        let settled = self.settled(&entry);
        // That it could not be recorded is the greater news.
        accepted.and(settled)
    }

    /// A callback has failed on a completion: it is tried again later, by this host or, once this registry is closed, by the
    /// next.
    pub fn refuse(&self, task: &TaskId, lease: u32) -> Result<Refusal> {
        let (entry, effects) = {
            let mut ledger = self.shared.lock();
            let Some(entry) = ledger.held(task, lease).cloned() else { return Ok(Refusal::NotHeld) };
            (entry, ledger.apply(task, Event::Refused))
        };
        let session = entry.asked.session.clone();
        self.shared.let_go_if_done(&session);
        // Nothing follows where it was the last attempt.
        let refusal = if effects.is_empty() { Refusal::GivenUp } else { Refusal::GivenBack };
        self.send(Job::Refused { task: task.clone(), session, effects })?;
        Ok(refusal)
    }

    /// A holder is gone: what was given back can be told, and a session without a subscription can be left to others.
    fn settled(&self, entry: &Entry) -> Result<()> {
        let session = entry.asked.session.clone();
        self.shared.let_go_if_done(&session);
        let needs_reactor = {
            let mut ledger = self.shared.lock();
            let is_idle = ledger.subscription_of(&session).is_some() && !ledger.has_to_tell(&session);
            !is_idle && ledger.ask_for_review(&session)
        };
        if needs_reactor {
            self.send(Job::Review { session })?;
        }
        self.let_on()
    }

    /// There may be room for sessions whose completions had to wait for others to arrive.
    pub(super) fn let_on(&self) -> Result<()> {
        let sessions = self.shared.lock().let_on();
        sessions.into_iter().try_for_each(|session| self.send(Job::Review { session }))
    }
}

impl Keeper {
    /// Hands the session's pending completions up to the `last` to its subscription, if this host is the one that delivers.
    pub(super) fn deliver(&mut self, session: &SessionId, last: Option<EndOrder>) {
        if self.shared.lock().subscription_of(session).is_none() || !self.owns(session) {
            return;
        }
        let began = Instant::now();
        // Each turn takes the first away from what is to be told.
        while let Some(entry) = self.shared.next_to_tell(session) {
            if entry.task.ending().map(|ending| ending.order) > last {
                return self.news.tell(session);
            }
            // Another one may have taken its place since.
            let Some(subscription) = self.shared.lock().subscription_of(session) else { return };
            if !self.is_shutting_down && self.shared.lock().window.holds_up(session) {
                return;
            }
            let attempt = entry.next_attempt();
            // Those that come after it are told after it.
            let Ok(completion) = self.shared.completion(&entry, attempt) else {
                return self.listen_again_later(session);
            };
            // What has changed on another thread since it was looked up is seen in the next turn.
            let size = completion.as_ref().map_or(0, Completion::size);
            let lease = self.shared.lock().lease(&entry.asked.id, subscription, attempt, size);
            if let (Some(lease), Some(completion)) = (lease, completion) {
                self.shared.outbox.complete(lease, &completion);
                // While JavaScript's thread wakes up: to make the file takes longer than what is left for that one to do.
                store::prepare_attempt(&entry.dir);
                drop(failpoint::pass("host.after_told"));
            }
            // At least one each time, however slow the disk is; and all before a shutdown is answered.
            if began.elapsed() > SLICE && !self.is_shutting_down {
                return self.review_further(session);
            }
        }
    }
}
