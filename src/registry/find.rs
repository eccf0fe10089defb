//! The task that a call names, from the ledger or from disk: another host may have started it.

use super::keeper::{Job, Keeper};
use super::ledger::Entry;
use super::{Registry, Shared};
use crate::error::{Error, Result};
use crate::store;
use crate::task::{SessionId, TaskId};

/// A task as a caller names it.
#[derive(Clone, Debug)]
pub struct TaskRef {
    /// Its id, if it is one.
    pub task: String,
    /// Another session's task is not found. `None`: whosever it is, if its session is attached.
    pub session: Option<SessionId>,
}

impl TaskRef {
    pub(super) fn not_found(&self) -> Error {
        Error::TaskNotFound { task: self.task.clone(), session: self.session.clone() }
    }

    fn id(&self) -> Option<TaskId> {
        self.task.parse().ok()
    }
}

impl Registry {
    /// The task as it is known. A session that is named is attached.
    pub(super) fn find(&self, named: &TaskRef) -> Result<Option<Entry>> {
        let session = named.session.as_ref();
        if let Some(session) = session
            && self.shared.is_to_be_attached(session)?
        {
            self.attach(Some(session.clone()))?;
        }
        let Some(id) = named.id() else {
            return self.open_ledger().map(|_| None);
        };
        let known = self.open_ledger()?.find(&id, session);
        if known.is_some() {
            return Ok(known);
        }
        let on_disk = self.shared.sessions(session).iter().any(|s| self.shared.store.task_dir(s, &id).has_task());
        if !on_disk {
            return Ok(None);
        }
        self.ask(|reply| Job::Adopt { task: id.clone(), session: session.cloned(), reply })?;
        Ok(self.open_ledger()?.find(&id, session))
    }
}

impl Shared {
    /// Whether a call that names a task has to attach its session first. One that nobody has made leaves no trace.
    fn is_to_be_attached(&self, session: &SessionId) -> Result<bool> {
        let is_attached = self.lock().attached.contains(session);
        Ok(!is_attached && store::open_session(&self.store, session)?)
    }
}

impl Keeper {
    /// The task that a caller names.
    pub(super) fn find(&mut self, named: &TaskRef) -> Result<Entry> {
        if let Some(session) = &named.session
            && self.shared.is_to_be_attached(session)?
        {
            self.attach(session)?;
        }
        if let Some(id) = named.id() {
            self.adopt_from(named.session.as_ref(), &id)?;
        }
        self.known(named)
    }

    /// The same without its session's other tasks: to read those may take long.
    pub(super) fn find_alone(&mut self, named: &TaskRef) -> Result<Entry> {
        if let Some(id) = named.id()
            && !self.shared.lock().knows(&id)
        {
            for of in self.shared.sessions(named.session.as_ref()) {
                // One that is spoilt keeps nobody from the others.
                if store::open_session(&self.shared.store, &of).unwrap_or(false) {
                    self.adopt_alone(&of, &id, 1)?;
                }
            }
        }
        self.known(named)
    }

    fn known(&self, named: &TaskRef) -> Result<Entry> {
        let entry = named.id().and_then(|id| self.shared.lock().find(&id, named.session.as_ref()));
        let is_there = entry.filter(|entry| !entry.is_removed());
        is_there.ok_or_else(|| named.not_found())
    }

    /// Takes a task that a call names from disk into the ledger, whichever of these sessions has it.
    pub(super) fn adopt_from(&mut self, session: Option<&SessionId>, id: &TaskId) -> Result<()> {
        self.shared.sessions(session).iter().try_for_each(|session| self.adopt(session, id))
    }

    /// The same for one session, which is attached first if it has the task.
    fn adopt(&mut self, session: &SessionId, id: &TaskId) -> Result<()> {
        let is_attached = self.shared.lock().attached.contains(session);
        if !is_attached && self.shared.store.task_dir(session, id).has_task() {
            self.attach(session)?;
        }
        self.adopt_alone(session, id, 1)?;
        self.sweep_lost();
        Ok(())
    }
}
