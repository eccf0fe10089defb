//! Sessions that nobody has come back to: of those that are not attached `cleanup` takes what has been left alone for a month. Many a
//! plugin has a session for each chat, and most chats are never opened again.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::cleanup::{Cleaning, is_told};
use super::keeper::Keeper;
use crate::error::Result;
use crate::reactor::Token;
use crate::store::{self, Loaded};
use crate::task::{SessionId, TaskId};

/// Another program's tasks are its own to remove for so long, and news waits so long for who is away.
const FORGOTTEN: Duration = Duration::from_secs(30 * 86_400);

impl Keeper {
    pub(super) fn clean_session(&mut self, dir: &Path, cleaning: &mut Cleaning) -> Result<()> {
        let store = &self.shared.store;
        let Some(session) = store::session_of(store, dir)? else { return Ok(()) };
        if self.shared.lock().attached.contains(&session) {
            self.remove_debris(&session)?;
        // Who tells what happens in it cleans up there.
        } else if store::open_session(store, &session).unwrap_or(false) && !store::is_owned(store, &session) {
            let tasks = store::session_tasks(store, &session)?;
            cleaning.strangers.extend(tasks.into_iter().map(|task| (session.clone(), task)));
        }
        store::remove_session_drafts(store, &session);
        store::remove_session_if_forgotten(store, &session, FORGOTTEN);
        Ok(())
    }

    pub(super) fn remove_if_forgotten(&self, session: &SessionId, task: &TaskId, cleaning: &mut Cleaning) {
        let store = &self.shared.store;
        let dir = store.task_dir(session, task);
        // Most are younger, and need not be read.
        if !store::is_older(dir.path(), FORGOTTEN) {
            return;
        }
        // Nothing of it is watched; of the same type as where something is, it is the same code.
        match store::load_if_over::<(Token, File)>(store, session, task) {
            Loaded::Task { task, .. } => {
                let told = is_told(&task, &dir);
                let forgotten = |ending| cleaning.takes(&dir, ending, told, FORGOTTEN.as_millis() as u64);
                if task.is_gone() && task.ending().is_some_and(forgotten) {
                    cleaning.remove(&dir);
                }
            }
            Loaded::Nothing => store::remove_debris(store, session, task),
            Loaded::AnsweredFor | Loaded::OutOfReach | Loaded::Unreadable(_) => {}
        }
    }
}
