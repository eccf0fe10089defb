//! `shutdown`: every running task is ended, all at once.

use super::Registry;
use super::keeper::{Job, Keeper, Request};
use super::ledger::Entry;
use super::snapshot::{DEFAULT_PREVIEW_BYTES, TaskSnapshot};
use super::wait::Waiter;
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
        self.tell_news();
        self.end_running(request, grace_ms);
    }

    /// Ends what runs now; the answer waits for the last of it.
    pub(super) fn end_running(&mut self, request: Request, grace_ms: Option<u64>) {
        let open: Vec<TaskId> = self.shared.lock().running().iter().cloned().collect();
        if open.is_empty() {
            return self.shared.outbox.answer(request, Ok(Vec::<TaskSnapshot>::new()));
        }
        self.waiters.push(Waiter::Tasks { request, open: open.clone(), done: Vec::new() });
        for id in open {
            let Some(entry) = self.shared.lock().find(&id, None) else { continue };
            if let Err(error) = self.order_kill(&entry, errno::TERMINATE, grace_ms) {
                self.give_up_on(request, &entry, &error);
            }
        }
    }

    /// The task is out of reach, and `why`. A `kill` has failed; to a `shutdown` its snapshot says how it stands. Others whose order was
    /// heard wait on. Where nobody can even say how the task stands, a shutdown has failed too, and may be asked for again.
    pub(super) fn give_up_on(&mut self, request: Request, entry: &Entry, why: &Error) {
        let Some(place) = self.waiters.iter().position(|waiter| waiter.is_for(request)) else { return };
        let Waiter::Tasks { open, done, .. } = &mut self.waiters[place] else {
            self.waiters.swap_remove(place);
            return self.shared.outbox.fail(request, why);
        };
        let snapshot = match self.shared.snapshot(entry, DEFAULT_PREVIEW_BYTES) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.waiters.swap_remove(place);
                return self.shared.outbox.fail(request, &error);
            }
        };
        open.retain(|task| *task != entry.asked.task);
        done.push(snapshot);
        if open.is_empty()
            && let Waiter::Tasks { done, .. } = self.waiters.swap_remove(place)
        {
            self.shared.outbox.answer(request, Ok(done));
        }
    }
}
