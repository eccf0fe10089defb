//! What is told when all that has happened is known. The kernel reports descriptors in the order in which they rang first, a host may
//! have stood still behind its report, and completions have the order of the ends: what is known when the news is marked is told when
//! whatever rang before that has been heard.

use std::collections::BTreeSet;
use std::mem;

use super::keeper::Keeper;
use super::ledger::Ledger;
use super::wait::Until;
use crate::task::{EndOrder, SessionId, TaskId};

/// What somebody is to hear.
#[derive(Default)]
pub(super) struct News {
    sessions: BTreeSet<SessionId>,
    reached: Vec<(TaskId, Until)>,
    /// A shutdown waits for what is to be told.
    is_shutdown_due: bool,
    marked: Marked,
}

/// What was known when it was marked.
#[derive(Default)]
struct Marked {
    /// With the last of the completions that may be told.
    sessions: Vec<(SessionId, Option<EndOrder>)>,
    reached: Vec<(TaskId, Until)>,
    is_shutdown_due: bool,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        let News { sessions, reached, is_shutdown_due, marked } = self;
        sessions.is_empty() && reached.is_empty() && !is_shutdown_due && marked.is_empty()
    }

    /// The session has completions that may be told.
    pub(super) fn tell(&mut self, session: &SessionId) {
        self.sessions.insert(session.clone());
    }

    /// The task has come to what somebody may wait for.
    pub(super) fn reach(&mut self, task: &TaskId, until: Until) {
        self.reached.push((task.clone(), until));
    }

    /// A shutdown begins behind what is to be told.
    pub(super) fn begin_shutdowns(&mut self) {
        self.is_shutdown_due = true;
    }

    /// Whether completions of the session are about to be told.
    pub(super) fn concerns(&self, session: &SessionId) -> bool {
        self.sessions.contains(session) || self.marked.sessions.iter().any(|(marked, _)| marked == session)
    }

    /// What is known by now may be told.
    pub(super) fn mark(&mut self, ledger: &Ledger) {
        // Of those that were marked before and could not be told more may be known now.
        self.sessions.extend(mem::take(&mut self.marked.sessions).into_iter().map(|(session, _)| session));
        for session in mem::take(&mut self.sessions) {
            let last = ledger.last_to_tell(&session);
            self.marked.sessions.push((session, last));
        }
        self.marked.reached.append(&mut self.reached);
        self.marked.is_shutdown_due |= mem::take(&mut self.is_shutdown_due);
    }
}

impl Marked {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.reached.is_empty() && !self.is_shutdown_due
    }
}

impl Keeper {
    /// Completions first, and then those who wait: whoever hears that a task is over finds its completion told, and what was left of one
    /// that was lost killed.
    pub(super) fn tell_news(&mut self) {
        self.sweep_lost();
        let Marked { sessions, reached, is_shutdown_due } = mem::take(&mut self.news.marked);
        sessions.into_iter().for_each(|(session, last)| self.deliver(&session, last));
        for (task, until) in reached {
            self.answer_waiters(&task, until);
        }
        if is_shutdown_due {
            self.begin_shutdowns();
        }
    }

    /// The same as [`News::tell`], by one of the session's tasks.
    pub(super) fn tell_session_of(&mut self, task: &TaskId) {
        let session = self.shared.lock().session_of(task);
        session.iter().for_each(|session| self.news.tell(session));
    }
}
