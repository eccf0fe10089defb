//! What is known, and the indexes over it. Every change of a task goes through [`Ledger::apply`], which keeps them true.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::store::TaskDir;
use crate::task::{Asked, Delivery, Effect, EndOrder, Event, SessionId, Task, TaskId};

/// One task.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) asked: Arc<Asked>,
    pub(super) dir: TaskDir,
    pub(super) task: Task,
    /// Whether it was started in this boot of this machine.
    pub(super) this_boot: bool,
    /// The command's text, once it was needed.
    pub(super) command: Option<Arc<str>>,
}

/// Which sessions a subscription is for; `None`: all that are attached.
pub(super) type Subscriptions = BTreeMap<u32, Option<SessionId>>;

#[derive(Default)]
pub(super) struct Ledger {
    tasks: HashMap<TaskId, Entry>,
    /// Tasks that have not ended.
    running: BTreeSet<TaskId>,
    /// Completions that nobody has accepted, in the order of their ends.
    news: BTreeMap<SessionId, BTreeSet<(EndOrder, TaskId)>>,
    pub(super) attached: BTreeSet<SessionId>,
    pub(super) subscriptions: Subscriptions,
    pub(super) next_subscription: u32,
    /// Places that spawns have taken which are not in `running` yet.
    pub(super) reserved: usize,
    pub(super) closed: bool,
}

impl Ledger {
    pub(super) fn insert(&mut self, entry: Entry) {
        let id = entry.asked.task.clone();
        self.tasks.insert(id.clone(), entry);
        self.index(&id);
    }

    /// Forgets a task that was never one, or whose files are gone.
    pub(super) fn remove(&mut self, id: &TaskId) {
        if let Some(entry) = self.tasks.remove(id) {
            self.running.remove(id);
            if let (Some(news), Some(ending)) = (self.news.get_mut(&entry.asked.session), entry.task.ending()) {
                news.remove(&(ending.order, id.clone()));
            }
        }
    }

    /// Moves one task and returns what the world must now do. The lock is gone by then.
    pub(super) fn apply(&mut self, id: &TaskId, event: Event) -> Vec<Effect> {
        let Some(entry) = self.tasks.get_mut(id) else { return Vec::new() };
        let effects = entry.task.on(event);
        self.index(id);
        effects
    }

    /// The task, if it is there and the session may know of it.
    pub(super) fn find(&self, id: &TaskId, session: Option<&SessionId>) -> Option<Entry> {
        self.tasks.get(id).filter(|entry| session.is_none_or(|session| entry.asked.session == *session)).cloned()
    }

    pub(super) fn knows(&self, id: &TaskId) -> bool {
        self.tasks.contains_key(id)
    }

    pub(super) fn keep_command(&mut self, id: &TaskId, command: &Arc<str>) {
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.command = Some(Arc::clone(command));
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &TaskId> {
        self.running.iter()
    }

    /// The tasks of a session, in no order.
    pub(super) fn of_session<'a>(&'a self, session: &'a SessionId) -> impl Iterator<Item = &'a Entry> {
        self.tasks.values().filter(move |entry| entry.asked.session == *session)
    }

    /// The session's completions that nobody holds or has accepted, in the order of their ends.
    pub(super) fn pending(&self, session: &SessionId) -> Vec<Entry> {
        let news = self.news.get(session).into_iter().flatten();
        let entries = news.filter_map(|(_, id)| self.tasks.get(id));
        entries.filter(|entry| matches!(entry.task.delivery, Delivery::Pending | Delivery::BackingOff)).cloned().collect()
    }

    /// Whether a callback of this process holds a completion of the session.
    pub(super) fn has_leases(&self, session: &SessionId) -> bool {
        let mut news = self.news.get(session).into_iter().flatten();
        news.any(|(_, id)| self.tasks.get(id).is_some_and(|entry| entry.task.delivery == Delivery::Leased))
    }

    /// The subscription that is told of a session's completions.
    pub(super) fn subscription_of(&self, session: &SessionId) -> Option<u32> {
        let covers = |of: &Option<SessionId>| of.as_ref().is_none_or(|of| of == session);
        self.subscriptions.iter().find(|(_, of)| covers(of)).map(|(number, _)| *number)
    }

    fn index(&mut self, id: &TaskId) {
        let Some(entry) = self.tasks.get(id) else { return };
        let Some(ending) = entry.task.ending() else {
            self.running.insert(id.clone());
            return;
        };
        self.running.remove(id);
        let news = self.news.entry(entry.asked.session.clone()).or_default();
        match entry.task.delivery {
            Delivery::Pending | Delivery::BackingOff | Delivery::Leased => news.insert((ending.order, id.clone())),
            Delivery::Silent | Delivery::Delivered => news.remove(&(ending.order, id.clone())),
        };
    }
}
