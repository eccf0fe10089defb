//! `replay`: a session's tasks come back after a restart, and the caller hears what was found.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;

use super::Registry;
use super::keeper::{Job, Keeper, Request};
use super::ledger::Entry;
use crate::error::Result;
use crate::task::{SessionId, Status, TaskId};

/// What a session holds.
#[derive(Debug, Serialize)]
pub(super) struct Replayed {
    running: usize,
    finished: usize,
    lost: usize,
    pending: usize,
    /// Task directories that were left as they are.
    unreadable: BTreeSet<String>,
}

impl Registry {
    /// Attaches a session; the answer is what was found.
    pub fn replay(&self, request: Request, session: SessionId) -> Result<()> {
        drop(self.open_ledger()?);
        self.send(Job::Replay { request, session })
    }
}

impl Keeper {
    pub(super) fn replay(&mut self, session: &SessionId) -> Result<Replayed> {
        let known: HashSet<TaskId> = self.shared.lock().of_session(session).map(|entry| entry.asked.id.clone()).collect();
        self.attach(session)?;
        let unreadable = self.unreadable.get(session).cloned().unwrap_or_default();
        let pending = self.shared.undelivered(session).len();
        let mut replayed = Replayed { running: 0, finished: 0, lost: 0, pending, unreadable };
        // What has just been read is there, and after a restart that is all.
        let about = |entry: &Entry| (entry.task.status(), known.contains(&entry.asked.id).then(|| Box::new(entry.clone())));
        let found: Vec<_> = self.shared.lock().of_session(session).map(about).collect();
        for (status, _) in found.iter().filter(|(_, known)| !known.as_ref().is_some_and(|entry| entry.is_removed())) {
            match status {
                Status::Starting | Status::Running | Status::Killing => replayed.running += 1,
                Status::Lost => replayed.lost += 1,
                _ => replayed.finished += 1,
            }
        }
        Ok(replayed)
    }
}
