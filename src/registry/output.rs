//! `output`: a page of what a task wrote.

use super::Registry;
use crate::error::{Error, Result};
use crate::store::{self, Chunk, PageRequest};
use crate::task::SessionId;

impl Registry {
    /// A page of one stream. `request.complete` is filled in here.
    pub fn output(&self, task: &str, session: Option<&SessionId>, request: PageRequest) -> Result<Chunk> {
        let entry = self.find(task, session)?;
        let entry = entry.ok_or_else(|| Error::TaskNotFound { task: task.to_owned(), session: session.cloned() })?;
        store::page(&entry.dir, entry.asked.stderr, PageRequest { complete: entry.task.is_gone(), ..request })
    }
}
