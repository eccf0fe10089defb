//! `shutdown`: every running task is ended, all at once.

use std::collections::BTreeSet;

use super::Registry;
use super::keeper::{Job, Keeper, Request};
use super::ledger::Entry;
use super::snapshot::DEFAULT_PREVIEW_BYTES;
use super::wait::{Gathering, Until, Waiter};
use crate::error::{Error, Result};
use crate::platform::errno;
use crate::task::TaskId;

impl Registry {
    /// Ends every running task and takes no new ones; the answer is the tasks' snapshots.
    pub fn shutdown(&self, request: Request, grace_ms: Option<u64>) -> Result<()> {
        self.open_ledger()?.closing = true;
        self.send(Job::Shutdown { request, grace_ms })
    }
}

impl Keeper {
    pub(super) fn shutdown(&mut self, request: Request, grace_ms: Option<u64>) {
        self.is_shutting_down = true;
        // What waits to be told comes before the answer.
        self.shared.sessions(None).iter().for_each(|session| self.news.tell(session));
        self.news.begin_shutdowns();
        self.gather(request, grace_ms);
    }

    pub(super) fn gather(&mut self, request: Request, grace_ms: Option<u64>) {
        self.gatherings.push(Gathering { request, grace_ms, is_begun: false, done: Vec::new() });
    }

    /// Ends what runs now; the answers wait for the last of it.
    pub(super) fn begin_shutdowns(&mut self) {
        let running: Vec<TaskId> = self.shared.lock().running().iter().cloned().collect();
        while let Some(gathering) = self.gatherings.iter_mut().find(|gathering| !gathering.is_begun) {
            gathering.is_begun = true;
            let (request, grace_ms) = (gathering.request, gathering.grace_ms);
            let waiter = |task: &TaskId| Waiter { request, task: task.clone(), until: Until::Empty, patience: None };
            self.waiters.extend(running.iter().map(waiter));
            for id in &running {
                let Some(entry) = self.shared.lock().find(id, None) else { continue };
                if let Err(error) = self.order_kill(&entry, errno::TERMINATE, grace_ms) {
                    self.give_up_on(request, &entry, &error);
                }
            }
        }
        self.answer_shutdowns();
    }

    /// Answers those that wait for nobody any more, each with all its tasks at once.
    pub(super) fn answer_shutdowns(&mut self) {
        let Keeper { gatherings, waiters, shared, .. } = self;
        let is_waited_for = |gathering: &Gathering| waiters.iter().any(|waiter| waiter.request == gathering.request);
        let is_over = |gathering: &mut Gathering| gathering.is_begun && !is_waited_for(gathering);
        for Gathering { request, done, .. } in gatherings.extract_if(.., is_over) {
            shared.outbox.answer(request, Ok(done));
        }
    }

    /// The task is out of reach, and `why`. A `kill` has failed; to a `shutdown` its snapshot says how it stands. Others whose order was
    /// heard wait on. Where nobody can even say how the task stands, a shutdown has failed too, and may be asked for again.
    pub(super) fn give_up_on(&mut self, request: Request, entry: &Entry, why: &Error) {
        let id = &entry.asked.id;
        let is_it = |waiter: &Waiter| waiter.request == request && waiter.task == *id;
        let Some(place) = self.waiters.iter().position(is_it) else { return };
        if !self.gatherings.iter().any(|gathering| gathering.request == request) {
            return self.fail_for_good(request, why);
        }
        match self.shared.snapshot(entry, DEFAULT_PREVIEW_BYTES) {
            Ok(snapshot) => {
                self.waiters.swap_remove(place);
                self.settle(request, Some(snapshot), id);
            }
            Err(error) => self.fail_for_good(request, &error),
        }
    }

    /// Everybody who waits for anything.
    pub(super) fn fail_all(&mut self, why: &Error) {
        let waiting = self.waiters.iter().map(|waiter| waiter.request);
        let requests: BTreeSet<Request> = waiting.chain(self.gatherings.iter().map(|gathering| gathering.request)).collect();
        requests.iter().for_each(|request| self.fail_for_good(*request, why));
    }

    /// The request is over, whatever it still waits for.
    pub(super) fn fail_for_good(&mut self, request: Request, why: &Error) {
        self.waiters.retain(|waiter| waiter.request != request);
        self.gatherings.retain(|gathering| gathering.request != request);
        self.shared.outbox.fail(request, why);
    }
}
