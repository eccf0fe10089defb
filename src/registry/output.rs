//! `output`: a page of what a task wrote, and its ends for previews.

use super::ledger::Entry;
use super::{Registry, TaskRef};
use crate::error::Result;
use crate::store::{self, Captured, Chunk, PageRequest, PreviewRequest};

impl Registry {
    /// A page of one stream. `request.complete` is filled in here.
    pub fn output(&self, named: &TaskRef, request: PageRequest) -> Result<Chunk> {
        let page = self.find(named)?.and_then(|entry| {
            let request = PageRequest { complete: entry.task.is_gone(), ..request };
            entry.unless_removed(store::page(&entry.dir, entry.asked.stderr, request))
        });
        page.unwrap_or_else(|| Err(named.not_found()))
    }
}

/// The ends of what a task wrote, `max_bytes` of them at the most; empty where the disk refuses them. An error when descriptors or
/// memory are wanting to read them: then nothing is known of what it wrote.
pub(super) fn preview(entry: &Entry, max_bytes: u64) -> Result<Captured> {
    let request = PreviewRequest { max_bytes, complete: entry.task.is_gone() };
    match store::preview(&entry.dir, entry.asked.stderr, request) {
        Err(error) if error.is_exhaustion() => Err(error),
        captured => Ok(captured.unwrap_or_default()),
    }
}
