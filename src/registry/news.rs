//! What is told when all that has happened is known. The kernel reports descriptors in the order in which they rang first, and
//! completions have the order of the ends.

use std::collections::BTreeSet;

use super::keeper::Keeper;
use super::wait::Until;
use crate::task::{SessionId, TaskId};

/// What somebody is to hear.
#[derive(Default)]
pub(super) struct News {
    sessions: BTreeSet<SessionId>,
    reached: Vec<(TaskId, Until)>,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.reached.is_empty()
    }

    /// The session has completions that may be told.
    pub(super) fn tell(&mut self, session: &SessionId) {
        self.sessions.insert(session.clone());
    }

    /// The task has come to what somebody may wait for.
    pub(super) fn reach(&mut self, task: &TaskId, until: Until) {
        self.reached.push((task.clone(), until));
    }
}

impl Keeper {
    /// Completions first, and then those who wait: whoever hears that a task is over finds its completion told, and what was left of one
    /// that was lost killed.
    pub(super) fn tell_news(&mut self) {
        self.sweep_lost();
        let News { sessions, reached } = std::mem::take(&mut self.news);
        sessions.iter().for_each(|session| self.deliver(session));
        for (task, until) in reached {
            self.answer_waiters(&task, until);
        }
    }

    /// The same as [`News::tell`], by one of the session's tasks.
    pub(super) fn tell_session_of(&mut self, task: &TaskId) {
        let session = self.shared.lock().session_of(task);
        session.iter().for_each(|session| self.news.tell(session));
    }
}
