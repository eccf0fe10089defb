//! `replay`: a session's tasks come back after a restart, and the caller hears what was found.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Registry;
use super::keeper::{Ear, Job, Keeper, Request, SLICE, Timer};
use super::ledger::Entry;
use crate::error::Result;
use crate::task::{SessionId, Status, TaskId};

/// What a session holds.
#[derive(Debug, Serialize)]
pub struct Replayed {
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

/// A replay that reads a session's tasks before it attaches that.
pub(super) struct Replaying {
    pub(super) request: Request,
    session: SessionId,
    unread: Vec<TaskId>,
}

impl Keeper {
    /// Of thousands of tasks others need not wait for the last.
    pub(super) fn begin_replay(&mut self, ear: &mut Ear, request: Request, session: SessionId) {
        let is_attached = self.shared.lock().attached.contains(&session);
        // What is wrong with the session is said when it is attached.
        let unread = if is_attached { Ok(Vec::new()) } else { self.unread(&session) };
        self.replay_further(ear, Replaying { request, session, unread: unread.unwrap_or_default() });
    }

    pub(super) fn replay_further(&mut self, ear: &mut Ear, mut replaying: Replaying) {
        let began = Instant::now();
        while let Some(task) = replaying.unread.pop() {
            // One that cannot be read now is tried again when the session is attached.
            if let Ok(effects) = self.take_in(ear, &replaying.session, &task) {
                self.perform(ear, &task, &effects);
            }
            if began.elapsed() > SLICE {
                ear.after(Duration::ZERO, Timer::ReplayFurther(replaying));
                return;
            }
        }
        let replayed = self.replay(ear, &replaying.session);
        self.shared.outbox.answer(replaying.request, replayed);
    }

    fn replay(&mut self, ear: &mut Ear, session: &SessionId) -> Result<Replayed> {
        self.attach(ear, session)?;
        let unreadable = self.unreadable.get(session).cloned().unwrap_or_default();
        let pending = self.shared.undelivered(session).len();
        let mut replayed = Replayed { running: 0, finished: 0, lost: 0, pending, unreadable };
        let entries: Vec<Entry> = self.shared.lock().of_session(session).cloned().collect();
        for entry in entries.iter().filter(|entry| !entry.is_removed()) {
            match entry.task.status() {
                Status::Starting | Status::Running | Status::Killing => replayed.running += 1,
                Status::Lost => replayed.lost += 1,
                _ => replayed.finished += 1,
            }
        }
        Ok(replayed)
    }
}
