//! Sessions that nobody has come back to: of those that are not attached `cleanup` takes what has been left alone for a month. Many a
//! plugin has a session for each chat, and most chats are never opened again.

use std::fs::File;
use std::path::Path;

use super::cleanup::{Cleaning, is_told};
use super::keeper::Keeper;
use crate::error::Result;
use crate::reactor::Token;
use crate::store::{self, FORGOTTEN, Loaded};
use crate::task::{SessionId, TaskId};

impl Keeper {
    /// Looks through what may be a session's directory.
    pub(super) fn clean_session(&self, dir: &Path, cleaning: &mut Cleaning) -> Result<()> {
        let store = &self.shared.store;
        if let Some(session) = store::session_of(store, dir)? {
            match store::open_session(store, &session) {
                Ok(_) => {}
                // For want of descriptors nothing is known of it.
                Err(error) if error.is_exhaustion() => return Err(error),
                // It is left alone. Who names it is told why.
                Err(_) => return Ok(()),
            }
            if self.shared.lock().attached.contains(&session) {
                self.remove_debris(&session)?;
            } else {
                let tasks = store::session_tasks(store, &session)?;
                cleaning.strangers.extend(tasks.into_iter().map(|task| (session.clone(), task)));
            }
            store::remove_session_drafts(store, &session);
        }
        store::remove_session_if_forgotten(dir);
        Ok(())
    }

    /// Of a session that was not attached a moment ago.
    pub(super) fn remove_if_forgotten(&self, session: &SessionId, id: &TaskId, cleaning: &mut Cleaning) {
        let store = &self.shared.store;
        let dir = store.task_dir(session, id);
        // Most are younger, and need not be read.
        if !store::is_older(dir.path(), FORGOTTEN) {
            return;
        }
        if self.shared.lock().attached.contains(session) {
            return self.remove_if_over(id, cleaning);
        }
        // Nothing of it is watched; of the same type as where something is, it is the same code.
        match store::load_if_over::<(Token, File)>(store, session, id) {
            Loaded::Task { task, .. } => {
                let told = is_told(&task, &dir);
                let forgotten = |ending| cleaning.takes(&dir, ending, told, FORGOTTEN.as_millis() as u64);
                // Who listens to the session may be about to tell it, and cleans up there.
                if task.is_gone() && task.ending().is_some_and(forgotten) && !store::is_watched(store, session) {
                    cleaning.remove(&dir);
                }
            }
            Loaded::Nothing => store::remove_debris(store, session, id),
            Loaded::AnsweredFor | Loaded::OutOfReach | Loaded::Unreadable(_) => {}
        }
    }
}
