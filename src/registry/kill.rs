//! `kill`: the supervisor is ordered to end the tree. A host never signals a pid; only what a vanished supervisor left behind
//! is swept by its mark.

use outlive_protocol::orders::Order;

use super::keeper::{Job, Keeper, Request};
use super::ledger::Entry;
use super::wait::{Until, Waiter};
use super::{Registry, TaskRef};
use crate::error::Result;
use crate::store;
use crate::task::Event;

impl Registry {
    /// Ends a task's whole tree; the answer is its snapshot when the tree is empty.
    pub fn kill(&self, request: Request, named: TaskRef, signal: u8, grace_ms: Option<u64>) -> Result<()> {
        drop(self.open_ledger()?);
        self.send(Job::Kill { request, named, signal, grace_ms })
    }
}

impl Keeper {
    /// `found`: the task that the caller names.
    pub(super) fn kill(&mut self, request: Request, found: Result<Entry>, signal: u8, grace_ms: Option<u64>) {
        let entry = match found {
            Ok(entry) => entry,
            Err(error) => return self.shared.outbox.fail(request, &error),
        };
        if entry.task.is_gone() {
            return self.answer(request, &entry);
        }
        self.waiters.push(Waiter { request, task: entry.asked.id.clone(), until: Until::Empty, patience: None });
        if let Err(error) = self.order_kill(&entry, signal, grace_ms) {
            self.give_up_on(request, &entry, &error);
        }
    }

    /// The order goes out, and the tree's end comes as news of its own. Without a supervisor it is found out here.
    pub(super) fn order_kill(&mut self, entry: &Entry, signal: u8, grace_ms: Option<u64>) -> Result<()> {
        let id = &entry.asked.id;
        let order = Order::Kill { signal, grace_ms: grace_ms.unwrap_or(entry.asked.grace_ms) };
        let is_sent = store::send_order(&entry.dir, order)?;
        // Behind the order: a task that nobody could ask to end goes on as before.
        self.apply(id, Event::KillAsked);
        if !is_sent {
            self.refresh(id, true);
        }
        Ok(())
    }
}
