//! Attaching: a session's tasks come into the ledger, from disk, once; and later those that other hosts have started.

use std::collections::HashSet;
use std::fs::File;

use super::Registry;
use super::keeper::{Job, Keeper, Timer, Watch};
use super::ledger::Entry;
use super::look::pause_after;
use crate::error::{Error, Result};
use crate::platform::marked::Named;
use crate::reactor::Token;
use crate::store::{self, Loaded, TaskDir, Unread};
use crate::task::{Effect, SessionId, TaskId};

/// How many tasks come one by one until a session is looked through for those that are gone.
const ARRIVALS_UNTIL_A_LOOK: u32 = 256;

impl Registry {
    /// Attaches the session that a call names, or finds what is new in all that are attached. Returns which those are.
    pub(super) fn attach(&self, session: Option<SessionId>) -> Result<Vec<SessionId>> {
        drop(self.open_ledger()?);
        self.ask(|reply| Job::Attach { session, reply })
    }
}

impl Keeper {
    pub(super) fn attach_all(&mut self, session: Option<SessionId>) -> Result<Vec<SessionId>> {
        let mut usable = Vec::new();
        let mut failed = None;
        for session in self.shared.sessions(session.as_ref()) {
            match self.attach(&session) {
                Ok(()) => usable.push(session),
                // For want of descriptors nothing is known of any of them.
                Err(error) if error.is_exhaustion() => return Err(error),
                // One that is spoilt keeps nobody from the others; who names it is told.
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        match failed {
            Some(error) if usable.is_empty() => Err(error),
            _ => Ok(usable),
        }
    }

    /// Brings the ledger up to what is on disk.
    pub(super) fn attach(&mut self, session: &SessionId) -> Result<()> {
        if store::open_session(&self.shared.store, session)? {
            self.rescan(session)?;
        }
        let is_new = self.shared.lock().attached.insert(session.clone());
        if is_new || self.is_replaced(session) {
            self.listen(session);
        }
        Ok(())
    }

    /// Finds tasks that are new on disk, and forgets those whose files are gone.
    pub(super) fn rescan(&mut self, session: &SessionId) -> Result<()> {
        let on_disk: HashSet<TaskId> = store::session_tasks(&self.shared.store, session)?.into_iter().collect();
        let new: Vec<TaskId> = {
            let mut ledger = self.shared.lock();
            let new: Vec<TaskId> = on_disk.iter().filter(|task| !ledger.knows(task)).cloned().collect();
            // Mostly none is missing on disk, and then nobody is looked at one by one.
            if ledger.of_session(session).count() > on_disk.len() - new.len() {
                let is_removed = |entry: &&Entry| entry.is_over() && !on_disk.contains(&entry.asked.id);
                let removed = ledger.of_session(session).filter(is_removed);
                let removed: Vec<TaskId> = removed.map(|entry| entry.asked.id.clone()).collect();
                removed.iter().for_each(|task| ledger.remove(task));
            }
            new
        };
        self.unreadable.remove(session);
        let mut unknown = None;
        for (task, loaded) in store::load_finished(&self.shared.store, session, &new) {
            let entered = self.enter(session, &task, loaded, 1).map(|effects| self.perform(&task, &effects));
            unknown = unknown.or(entered.err());
        }
        let mut supervised = store::supervised();
        for task in new {
            let taken = self.take_in(session, &task, &mut supervised, 1).map(|effects| self.perform(&task, &effects));
            // Tried again later, and the others need not wait for it.
            unknown = unknown.or(taken.err());
        }
        // Who asks hears of no lost task before what is left of it is killed.
        self.sweep_lost();
        unknown.map_or(Ok(()), Err)
    }

    /// Looks through a session now and then. A host that only starts tasks, or asks for others' by their ids, never looks at a whole session
    /// otherwise, and what others have removed would stay in its memory.
    pub(super) fn count_arrival(&mut self) {
        self.arrivals = self.arrivals.wrapping_add(1);
        if self.arrivals.is_multiple_of(ARRIVALS_UNTIL_A_LOOK) {
            let session = {
                // One session after the other.
                let attached = &self.shared.lock().attached;
                let turn = (self.arrivals / ARRIVALS_UNTIL_A_LOOK) as usize % attached.len().max(1);
                attached.iter().nth(turn).cloned()
            };
            // The next look may do.
            session.iter().for_each(|session| drop(self.rescan(session)));
        }
    }

    /// Takes a task from disk into the ledger.
    pub(super) fn adopt_alone(&mut self, session: &SessionId, id: &TaskId, looks: u32) -> Result<()> {
        if self.shared.lock().knows(id) {
            return Ok(());
        }
        let effects = self.take_in(session, id, &mut store::supervised(), looks)?;
        self.perform(id, &effects);
        if self.shared.lock().knows(id) {
            self.count_arrival();
        }
        Ok(())
    }

    /// A live task is never replaced. Returns what must follow; an error when descriptors or memory are wanting to find out.
    fn take_in(&mut self, session: &SessionId, id: &TaskId, supervised: &mut Named, looks: u32) -> Result<Vec<Effect>> {
        if self.shared.lock().knows(id) {
            return Ok(Vec::new());
        }
        let mut watch = |events: File| self.ear.watch(&events).map(|token| (token, events));
        let loaded = store::load(&self.shared.store, session, id, &mut watch, supervised);
        self.enter(session, id, loaded, looks)
    }

    fn enter(&mut self, session: &SessionId, id: &TaskId, loaded: Loaded<(Token, File)>, looks: u32) -> Result<Vec<Effect>> {
        match loaded {
            Loaded::Task { asked, task, this_boot, events, effects } => {
                if let Some((token, events)) = events {
                    self.watches.insert(token, Watch::Events { task: id.clone(), events });
                }
                let dir = self.shared.store.task_dir(session, id);
                let entry = Entry { asked, dir, task, this_boot, command: None, attempt: 0 };
                self.shared.lock().insert(entry);
                Ok(effects)
            }
            Loaded::Nothing => Ok(Vec::new()),
            Loaded::AnsweredFor => {
                self.listen_again_later(session);
                Ok(Vec::new())
            }
            Loaded::OutOfReach => {
                self.listen_again_later(session);
                self.note_unreadable(session, &self.shared.store.task_dir(session, id));
                Ok(Vec::new())
            }
            Loaded::Unreadable(why) => self.leave_unread(session, id, looks, why).map(|()| Vec::new()),
        }
    }

    fn leave_unread(&mut self, session: &SessionId, id: &TaskId, looks: u32, why: Unread) -> Result<()> {
        let dir = self.shared.store.task_dir(session, id);
        match why {
            Unread::Exhausted(error) => {
                self.listen_again_later(session);
                return Err(Error::storage("read", dir.path())(error));
            }
            Unread::Refused(_) => self.take_in_later(session, id, looks),
            Unread::Newer | Unread::Spoilt(_) => {}
        }
        self.note_unreadable(session, &dir);
        Ok(())
    }

    /// Nothing is wrong with a task that the system keeps from us, as on a mount that is gone for a while, and no ring says that it is
    /// back. Its timer is its own: a session that waits to be listened to again hears nothing of the others until then.
    fn take_in_later(&mut self, session: &SessionId, id: &TaskId, looks: u32) {
        if self.taking_in_later.insert(id.clone()) {
            let (session, task) = (session.clone(), id.clone());
            self.ear.after(pause_after(looks), Timer::TakeIn { session, task, looks: looks.saturating_add(1) });
        }
    }

    pub(super) fn take_in_again(&mut self, session: &SessionId, id: &TaskId, looks: u32) {
        self.taking_in_later.remove(id);
        // Who has not subscribed finds it with the next call.
        if self.shared.lock().subscription_of(session).is_some() {
            // For want of descriptors the whole session is tried again.
            drop(self.adopt_alone(session, id, looks));
            self.sweep_lost();
        }
    }

    fn note_unreadable(&mut self, session: &SessionId, dir: &TaskDir) {
        self.unreadable.entry(session.clone()).or_default().insert(dir.path().display().to_string());
    }
}
