//! What is known, and the indexes over it. Every move of a task goes through [`Ledger::apply`], which keeps them true.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::window::Window;
use crate::store::{self, TaskDir};
use crate::task::{Asked, Delivery, Effect, EndOrder, Event, Lease, SessionId, Task, TaskId};

/// Nearly every command is shorter: a thousand of them are listed without a look at a thousand files, and take 4 MiB at most. A longer
/// one, of up to 8 MiB, is read from its file each time that somebody wants to see it.
const MAX_KEPT_COMMAND: usize = 4096;

/// A command's text, if it is one to keep.
pub(super) fn if_short<T: AsRef<str> + Into<Arc<str>>>(command: T) -> Option<Arc<str>> {
    (command.as_ref().len() <= MAX_KEPT_COMMAND).then(|| command.into())
}

/// One task.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) asked: Arc<Asked>,
    pub(super) dir: TaskDir,
    pub(super) task: Task,
    /// Whether it was started in this boot of this machine.
    pub(super) this_boot: bool,
    /// The command's text, once it was needed, if it is short.
    pub(super) command: Option<Arc<str>>,
    /// The number of the last call of a callback with the completion, if this host has made one.
    pub(super) attempt: u32,
}

impl Entry {
    /// Whether its files may go, as far as it is up to the task. Its supervisor may still be there, which only syncs by then and does not
    /// miss its directory.
    pub(super) fn is_over(&self) -> bool {
        // What a callback holds, or is on its way to one, goes when that is done: its end is what gives up the session.
        self.task.is_gone() && self.task.lease().is_none()
    }

    /// Whether another host has removed the task since it was over.
    pub(super) fn is_removed(&self) -> bool {
        self.task.is_gone() && self.has_lost_its_files()
    }

    /// The same, also while processes of it live.
    pub(super) fn has_lost_its_files(&self) -> bool {
        store::is_removed(&self.dir, self.task.ending().map(|ending| ending.finished_at))
    }

    /// The number of the next call of a callback with the completion. The disk knows of other hosts' calls, and may have refused to note
    /// ours.
    pub(super) fn next_attempt(&self) -> u32 {
        store::attempts(&self.dir).max(self.attempt) + 1
    }

    /// What was read of the task's files; `None` where they are gone, for they may have gone while it was read.
    pub(super) fn unless_removed<T>(&self, read: T) -> Option<T> {
        (!self.is_removed()).then_some(read)
    }
}

/// Which sessions a subscription is for; `None`: all that are attached.
pub(super) type Subscriptions = BTreeMap<u32, Option<SessionId>>;

/// Completions in the order of their ends.
type Ends = BTreeSet<(EndOrder, TaskId)>;

/// The indexes over one session. What is asked at each end, or for each completion that is told, is answered without a look at
/// the others.
#[derive(Default)]
struct Session {
    tasks: HashSet<TaskId>,
    /// What nobody has accepted.
    news: Ends,
    /// Of it, what a callback may be handed.
    tellable: Ends,
    /// Of it, what callbacks hold.
    leased: HashSet<TaskId>,
    /// Of that, what a callback is at work on.
    in_callback: HashSet<TaskId>,
}

#[derive(Default)]
pub(super) struct Ledger {
    tasks: HashMap<TaskId, Entry>,
    /// Tasks that have not ended.
    running: BTreeSet<TaskId>,
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions that the reactor's thread is going to look at anyway.
    reviews: BTreeSet<SessionId>,
    pub(super) attached: BTreeSet<SessionId>,
    pub(super) subscriptions: Subscriptions,
    pub(super) next_subscription: u32,
    next_lease: u32,
    /// What is on its way to callbacks.
    pub(super) window: Window,
    /// Places that spawns have taken which are not in `running` yet.
    pub(super) reserved: usize,
    /// No task is started any more; all else goes on.
    pub(super) closing: bool,
    pub(super) closed: bool,
}

impl Ledger {
    pub(super) fn insert(&mut self, entry: Entry) {
        let id = entry.asked.id.clone();
        self.tasks.insert(id.clone(), entry);
        self.index(&id);
    }

    /// Forgets a task that was never one, or whose files are gone.
    pub(super) fn remove(&mut self, id: &TaskId) {
        let Some(entry) = self.tasks.remove(id) else { return };
        self.running.remove(id);
        self.window.change(on_its_way(&entry.task), 0);
        let Some(session) = self.sessions.get_mut(&entry.asked.session) else { return };
        session.tasks.remove(id);
        session.note(&entry, Delivery::Silent);
    }

    /// Moves one task and returns what the world must now do, once the lock is gone.
    pub(super) fn apply(&mut self, id: &TaskId, event: Event) -> Vec<Effect> {
        let Some(entry) = self.tasks.get_mut(id) else { return Vec::new() };
        let before = on_its_way(&entry.task);
        let effects = entry.task.on(event);
        self.window.change(before, on_its_way(&entry.task));
        self.index(id);
        effects
    }

    /// Hands the first of its session's completions, of about that `size`, to a subscription, for the call of that number. `None` when it
    /// is not that any more: it was accepted or handed out meanwhile, others were given back, or the subscription has ended.
    pub(super) fn lease(&mut self, id: &TaskId, subscription: u32, attempt: u32, size: u32) -> Option<Lease> {
        self.subscriptions.get(&subscription)?;
        let session = self.sessions.get(&self.tasks.get(id)?.asked.session)?;
        session.tellable.first().filter(|(_, first)| first == id)?;
        let number = self.next_lease.wrapping_add(1);
        let lease = Lease { number, subscription, attempt, in_callback: false, on_its_way: size };
        self.next_lease = number;
        self.apply(id, Event::Leased(lease));
        Some(lease)
    }

    /// The task, if its completion is held under this lease.
    pub(super) fn held(&self, id: &TaskId, lease: u32) -> Option<&Entry> {
        let is_held = |entry: &&Entry| entry.task.lease().is_some_and(|current| current.number == lease);
        self.tasks.get(id).filter(is_held)
    }

    /// Notes that a callback is about to be called with a completion that is held under this lease; `None` when it is not held.
    pub(super) fn begin(&mut self, id: &TaskId, lease: u32, settles: bool) -> Option<Entry> {
        let lease = self.held(id, lease)?.task.lease()?;
        self.tasks.get_mut(id)?.attempt = lease.attempt;
        self.apply(id, Event::Begun { settles });
        self.find(id, None)
    }

    /// Whether a callback is at work on one of the session's completions.
    pub(super) fn is_in_callback(&self, session: &SessionId) -> bool {
        self.sessions.get(session).is_some_and(|session| !session.in_callback.is_empty())
    }

    /// Takes back the completions that were handed to a subscription and that no callback is at work on.
    pub(super) fn take_back(&mut self, subscription: u32) {
        let leased = self.sessions.values().flat_map(|session| &session.leased).filter_map(|id| self.tasks.get(id));
        let is_its =
            |entry: &&Entry| entry.task.lease().is_some_and(|lease| lease.subscription == subscription && !lease.in_callback);
        let its: Vec<TaskId> = leased.filter(is_its).map(|entry| entry.asked.id.clone()).collect();
        for id in its {
            self.apply(&id, Event::Returned);
        }
    }

    /// The task, if it is there and the session may know of it.
    pub(super) fn find(&self, id: &TaskId, session: Option<&SessionId>) -> Option<Entry> {
        self.tasks.get(id).filter(|entry| session.is_none_or(|session| entry.asked.session == *session)).cloned()
    }

    pub(super) fn session_of(&self, id: &TaskId) -> Option<SessionId> {
        self.tasks.get(id).map(|entry| entry.asked.session.clone())
    }

    pub(super) fn knows(&self, id: &TaskId) -> bool {
        self.tasks.contains_key(id)
    }

    pub(super) fn keep_command(&mut self, id: &TaskId, command: &Arc<str>) {
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.command = if_short(Arc::clone(command));
        }
    }

    pub(super) fn running(&self) -> &BTreeSet<TaskId> {
        &self.running
    }

    /// The tasks of a session, in no order.
    pub(super) fn of_session(&self, session: &SessionId) -> impl Iterator<Item = &Entry> {
        let tasks = self.sessions.get(session).into_iter().flat_map(|session| &session.tasks);
        tasks.filter_map(|id| self.tasks.get(id))
    }

    /// The session's completions that nobody holds or has accepted, in the order of their ends.
    pub(super) fn pending(&self, session: &SessionId) -> impl Iterator<Item = &Entry> {
        let news = self.sessions.get(session).into_iter().flat_map(|session| &session.news);
        let entries = news.filter_map(|(_, id)| self.tasks.get(id));
        entries.filter(|entry| entry.task.lease().is_none())
    }

    /// The first of the session's completions that a callback may be handed.
    pub(super) fn next_to_tell(&self, session: &SessionId) -> Option<Entry> {
        let (_, id) = self.sessions.get(session)?.tellable.first()?;
        self.find(id, None)
    }

    /// Of the last of them, when its task ended.
    pub(super) fn last_to_tell(&self, session: &SessionId) -> Option<EndOrder> {
        self.sessions.get(session)?.tellable.last().map(|(order, _)| *order)
    }

    /// Whether the session has a completion that could be handed to a callback right now.
    pub(super) fn has_to_tell(&mut self, session: &SessionId) -> bool {
        let is_there = self.sessions.get(session).is_some_and(|session| !session.tellable.is_empty());
        is_there && self.subscription_of(session).is_some() && !self.window.holds_up(session)
    }

    /// Notes that the session is to be looked at; true when nobody had.
    pub(super) fn ask_for_review(&mut self, session: &SessionId) -> bool {
        self.reviews.insert(session.clone())
    }

    /// Sessions that had to wait for others' completions to arrive, and that nobody is going to look at anyway.
    pub(super) fn let_on(&mut self) -> BTreeSet<SessionId> {
        let mut sessions = self.window.let_on();
        sessions.retain(|session| self.reviews.insert(session.clone()));
        sessions
    }

    /// It is being looked at.
    pub(super) fn begin_review(&mut self, session: &SessionId) {
        self.reviews.remove(session);
    }

    /// Whether a callback of this process holds a completion of the session.
    pub(super) fn has_leases(&self, session: &SessionId) -> bool {
        self.sessions.get(session).is_some_and(|session| !session.leased.is_empty())
    }

    /// The subscription that is told of a session's completions.
    pub(super) fn subscription_of(&self, session: &SessionId) -> Option<u32> {
        let covers = |of: &Option<SessionId>| of.as_ref().is_none_or(|of| of == session);
        self.subscriptions.iter().find(|(_, of)| covers(of)).map(|(number, _)| *number)
    }

    fn index(&mut self, id: &TaskId) {
        let Some(entry) = self.tasks.get(id) else { return };
        let session = self.sessions.entry(entry.asked.session.clone()).or_default();
        session.tasks.insert(id.clone());
        session.note(entry, entry.task.delivery);
        if entry.task.ending().is_some() {
            self.running.remove(id)
        } else {
            self.running.insert(id.clone())
        };
    }
}

impl Session {
    /// Notes where the news of a task stands.
    fn note(&mut self, entry: &Entry, delivery: Delivery) {
        let Some(ending) = entry.task.ending() else { return };
        let id = &entry.asked.id;
        let news = (ending.order, id.clone());
        let lease = if let Delivery::Leased(lease) = delivery { Some(lease) } else { None };
        let is_open = lease.is_some() || matches!(delivery, Delivery::Pending | Delivery::BackingOff);
        keep(&mut self.tellable, &news, is_open && entry.task.can_be_told());
        keep(&mut self.news, &news, is_open);
        let kept = [(&mut self.leased, lease.is_some()), (&mut self.in_callback, lease.is_some_and(|lease| lease.in_callback))];
        for (ids, belongs) in kept {
            if belongs {
                ids.insert(id.clone())
            } else {
                ids.remove(id)
            };
        }
    }
}

fn on_its_way(task: &Task) -> u32 {
    task.lease().map_or(0, |lease| lease.on_its_way)
}

fn keep(among: &mut Ends, news: &(EndOrder, TaskId), belongs: bool) {
    if belongs {
        among.insert(news.clone())
    } else {
        among.remove(news)
    };
}
