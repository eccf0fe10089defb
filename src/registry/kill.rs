//! `kill`: the supervisor is ordered to end the tree. A host never signals a pid; only what a vanished supervisor left behind
//! is swept by its mark.

use std::time::Duration;

use outlive_protocol::orders::Order;

use super::keeper::{Job, Keeper, Request, Timer};
use super::ledger::Entry;
use super::wait::{Until, Waiter};
use super::{Registry, TaskRef};
use crate::error::Result;
use crate::store;
use crate::task::{Event, TaskId};

/// When an order is sent again whose task is still there.
const ORDER_AGAIN_AFTER: Duration = Duration::from_secs(1);

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
        let known = (id.clone(), order);
        if !is_sent {
            self.refresh(id, true);
        } else if !self.orders.contains(&known) {
            self.orders.push(known);
            self.ear.after(ORDER_AGAIN_AFTER, Timer::OrderAgain { task: id.clone(), order });
        }
        Ok(())
    }

    /// Root reads whatever it likes, and an order that somebody else has read was not heard. One that was heard is the same again: it can
    /// only become faster.
    pub(super) fn order_again(&mut self, id: &TaskId, order: Order) {
        let entry = self.shared.lock().find(id, None).filter(|entry| !entry.task.is_gone());
        // Where there is nobody any more the hang-up says so.
        let is_there = entry.is_some_and(|entry| !matches!(store::send_order(&entry.dir, order), Ok(false)));
        if is_there {
            self.ear.after(ORDER_AGAIN_AFTER, Timer::OrderAgain { task: id.clone(), order });
        } else {
            self.orders.retain(|(task, of)| (task, of) != (id, &order));
        }
    }
}
