//! A task's files go.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use super::{Store, TaskDir, is_inhabited};
use crate::task::{SessionId, TaskId};

/// How old a directory without a task must be before it is taken for the remains of a host that died.
const DEBRIS_AGE: Duration = Duration::from_secs(3600);

/// Removes a task's directory. `task.json` goes first: whatever stops the rest, half a task is none.
pub fn remove(dir: &TaskDir) -> io::Result<()> {
    match fs::remove_file(dir.task()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::remove_dir_all(dir.path()) {
        // Another host was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes what a host left that died between making a directory and publishing its task.
pub fn remove_debris(store: &Store, session: &SessionId, id: &TaskId) {
    let dir = store.task_dir(session, id);
    let age = |moment: SystemTime| SystemTime::now().duration_since(moment).unwrap_or_default();
    let is_old = fs::symlink_metadata(dir.path()).and_then(|about| about.modified()).is_ok_and(|at| age(at) > DEBRIS_AGE);
    let is_task = fs::symlink_metadata(dir.task()).is_ok();
    if is_old && !is_task && !is_inhabited(&dir) {
        // It stays for the next time if it cannot go now, and is in nobody's way.
        drop(remove(&dir));
    }
}
