//! Many tasks at once: what a session holds after a restart. Most of them are over, and nothing about one of those depends on another,
//! so all processors read them.

use std::io;
use std::thread;

use super::Store;
use super::load::{Loaded, load, supervised};
use crate::platform::{scheduling, threads};
use crate::task::{SessionId, TaskId};

/// So few are read before another thread has begun.
const FEW: usize = 128;

/// More would only wait for each other in the kernel.
const MAX_THREADS: usize = 4;

/// Reads a task of which nothing more can come. One that has to be watched is [`Loaded::Unreadable`] here.
pub fn load_if_over<W>(store: &Store, session: &SessionId, id: &TaskId) -> Loaded<W> {
    let mut refuse = |_| Err(io::Error::other("it is not over"));
    load(store, session, id, &mut refuse, &mut supervised())
}

/// Those of the tasks of which nothing more can come. What has to be watched, and what is wrong in any way, is left to [`load`].
pub fn load_finished<W: Send>(store: &Store, session: &SessionId, ids: &[TaskId]) -> Vec<(TaskId, Loaded<W>)> {
    let threads = if ids.len() < 2 * FEW { 1 } else { scheduling::processors().min(MAX_THREADS).min(ids.len() / FEW) };
    if threads < 2 {
        return Vec::new();
    }
    let read = |ids: &[TaskId]| -> Vec<(TaskId, Loaded<W>)> {
        let load = |id: &TaskId| (id.clone(), load_if_over(store, session, id));
        ids.iter().map(load).filter(|(_, loaded)| matches!(loaded, Loaded::Task { .. })).collect()
    };
    let (own, others) = ids.split_at(ids.len() / threads);
    thread::scope(|scope| {
        let parts = others.chunks(others.len().div_ceil(threads - 1));
        // Where no thread can be had, its part is read as if this had not been tried.
        let others: Vec<_> = parts.filter_map(|part| threads::builder().spawn_scoped(scope, || read(part)).ok()).collect();
        let mut loaded = read(own);
        others.into_iter().filter_map(|other| other.join().ok()).for_each(|part| loaded.extend(part));
        loaded
    })
}
