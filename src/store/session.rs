//! A session's directory: its id and its tasks.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use outlive_protocol::names;

use super::Store;
use super::owner::OwnerBell;
use super::records::{Record, TaskRecord, read};
use super::unread::Unread;
use crate::error::{Error, Result};
use crate::platform::errno::{unless_exhausted, unless_gone};
use crate::platform::{failpoint, fifo, files};
use crate::task::{SessionId, TaskId};

const MAX_SESSION_BYTES: usize = 1024;

/// Whether the session is on disk. An error when its directory is another session's, or is unreadable.
pub fn open_session(store: &Store, session: &SessionId) -> Result<bool> {
    let dir = store.session_dir(session);
    match files::check_directory(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        checked => checked.map_err(Error::storage("use the session directory", &dir))?,
    }
    let path = dir.join(names::SESSION.as_str());
    match files::read_bounded(&path, MAX_SESSION_BYTES) {
        Ok(id) if id == session.as_str().as_bytes() => Ok(true),
        Ok(id) if is_torn(&id, session) => {
            // Only who lists sessions needs it: a store that cannot be written to can be read all the same.
            drop(write_id(&dir, session));
            Ok(true)
        }
        Ok(_) => Err(Error::storage("use", path)(io::Error::new(ErrorKind::InvalidData, "it names another session"))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // No host makes a task before the name is there, but a power cut can take it.
            let has_tasks = !session_tasks(store, session)?.is_empty();
            if has_tasks {
                // The same.
                drop(write_id(&dir, session));
            }
            Ok(has_tasks)
        }
        Err(error) => Err(Error::storage("read", path)(error)),
    }
}

/// Makes the session's directory unless it is there.
pub(super) fn make(store: &Store, session: &SessionId) -> Result<()> {
    match make_once(store, session) {
        // Another host's `cleanup` can take it between two steps.
        Err(error) if error.is_missing_file() => make_once(store, session),
        made => made,
    }
}

fn make_once(store: &Store, session: &SessionId) -> Result<()> {
    if open_session(store, session)? {
        return Ok(());
    }
    let dir = store.session_dir(session);
    // What has a session's directory of ours was looked at when that was made.
    store.check_owner()?;
    failpoint::pass("host.before_session_directory")
        .and_then(|()| allow_existing(files::create_directory(&dir)))
        .and_then(|()| files::check_directory(&dir))
        .map_err(Error::storage("make the session directory", &dir))?;
    let owner = dir.join(names::OWNER.as_str());
    failpoint::pass("host.before_owner")
        .and_then(|()| allow_existing(fifo::create(&owner)))
        .inspect_err(|_| {
            // On a file system without FIFOs nothing is left behind. A directory that another host has put to use stays.
            drop(fs::remove_dir(&dir));
        })
        .map_err(Error::storage("make the FIFO", &owner))?;
    // Without them no completion could be accepted.
    files::can_be_linked(&owner, &dir.join(names::SESSION.as_str()))
        .inspect_err(|error| {
            if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                drop(fs::remove_file(&owner).and_then(|()| fs::remove_dir(&dir)));
            }
        })
        .map_err(Error::storage("make a hard link to", owner))?;
    write_id(&dir, session).map_err(Error::storage("write", dir.join(names::SESSION.as_str())))
}

/// A power cut leaves a file that the disk has not had yet empty, cut off or zeroed, if it leaves it.
fn is_torn(found: &[u8], session: &SessionId) -> bool {
    session.as_str().as_bytes().starts_with(found) || found.iter().all(|byte| *byte == 0)
}

/// The first task of it that ends takes it along to the disk.
fn write_id(dir: &Path, session: &SessionId) -> io::Result<()> {
    files::write_aside(&dir.join(names::SESSION.as_str()), |draft| {
        failpoint::pass("host.before_session_draft")?;
        let mut file = files::create(draft)?;
        file.write_all(session.as_str().as_bytes())?;
        // If it fails, the kernel does the same later.
        drop(files::start_writing(&file));
        failpoint::pass("host.before_session_rename")
    })?;
    failpoint::pass("host.after_session")
}

/// Session ids that are written and have not been renamed into place.
pub(super) fn drafts(store: &Store, session: &SessionId) -> Vec<PathBuf> {
    files::starting_with(&store.session_dir(session), &format!("{}.", names::SESSION.as_str()))
}

pub(super) fn allow_existing(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The sessions that are on disk, sorted by their ids' bytes. What is no session's directory is passed over, and so is one that cannot be
/// read; but not for want of descriptors or memory.
pub fn sessions(store: &Store) -> Result<Vec<SessionId>> {
    let named = session_dirs(store)?.into_iter().map(|dir| session_of(store, &dir)).filter_map(Result::transpose);
    let mut sessions: Vec<SessionId> = named.collect::<Result<_>>()?;
    sessions.sort();
    Ok(sessions)
}

/// Everything that is named as the directories of sessions are.
pub fn session_dirs(store: &Store) -> Result<Vec<PathBuf>> {
    let list = || fs::read_dir(store.root())?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut dirs = list().map_err(Error::storage("list", store.root()))?;
    dirs.retain(|dir| Store::may_be_session_dir(dir));
    Ok(dirs)
}

/// Whose directory this is, if it is a session's. Also of one that will be refused because others can write to it: whoever asks for its
/// tasks is told why.
pub fn session_of(store: &Store, dir: &Path) -> Result<Option<SessionId>> {
    find_session(store, dir).map_err(Error::storage("read", dir))
}

fn find_session(store: &Store, dir: &Path) -> io::Result<Option<SessionId>> {
    if !unless_exhausted(fs::symlink_metadata(dir))?.is_some_and(|about| about.is_dir()) {
        return Ok(None);
    }
    let name = match files::read_bounded(&dir.join(names::SESSION.as_str()), MAX_SESSION_BYTES) {
        Err(error) if error.kind() == ErrorKind::NotFound => Some(Vec::new()),
        read => unless_exhausted(read)?,
    };
    let Some(name) = name else { return Ok(None) };
    // A copy of a session under another name is nobody's session.
    let is_here = |session: &SessionId| store.session_dir(session) == dir;
    if let Some(session) = std::str::from_utf8(&name).ok().map(SessionId::new).filter(is_here) {
        return Ok(Some(session));
    }
    // What a power cut has taken each of its tasks has too: the first that can be read says it.
    for task in unless_exhausted(tasks_in(dir))?.unwrap_or_default() {
        if let Some(session) = session_of_task(&dir.join(task.as_str()))? {
            return Ok(Some(session).filter(|session| is_torn(&name, session) && is_here(session)));
        }
    }
    Ok(None)
}

fn session_of_task(dir: &Path) -> io::Result<Option<SessionId>> {
    if unless_exhausted(files::check_directory(dir))?.is_none() {
        return Ok(None);
    }
    match read::<TaskRecord>(&dir.join(names::TASK.as_str())) {
        Record::Complete(record) => Ok(Some(record.session())),
        Record::Unreadable(Unread::Exhausted(error)) => Err(error),
        _ => Ok(None),
    }
}

/// The ids of the tasks that the session's directory holds, in no order. All of them: who is not named counts as removed.
pub fn session_tasks(store: &Store, session: &SessionId) -> Result<Vec<TaskId>> {
    let dir = store.session_dir(session);
    match tasks_in(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        tasks => tasks.map_err(Error::storage("list", dir)),
    }
}

/// Removes the directory of a session that holds nothing but its name, and that nobody owns. A host that comes meanwhile waits for the lock,
/// and makes the session anew.
pub(super) fn remove_empty(dir: &Path) -> io::Result<()> {
    let files = [names::OWNER, names::SESSION].map(|name| dir.join(name.as_str()));
    let [owner, _] = &files;
    let mut bell = unless_gone(OwnerBell::at(owner.clone()))?;
    let is_owned = bell.as_mut().is_some_and(|bell| !bell.try_to_own().unwrap_or(false));
    let holds = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    if is_owned || holds.iter().any(|path| !files.contains(path)) {
        return Ok(());
    }
    for file in &files {
        unless_gone(fs::remove_file(file))?;
    }
    fs::remove_dir(dir).or_else(|_| {
        // NFS keeps the FIFO there under another name for as long as it is open.
        drop(bell);
        fs::remove_dir(dir)
    })
}

fn tasks_in(dir: &Path) -> io::Result<Vec<TaskId>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn an_id_that_a_power_cut_has_torn_is_written_anew_and_another_one_is_left() {
        // R18
        let scratch = Scratch::new();
        let store = scratch.store();
        let session = SessionId::new("a session");
        make(&store, &session).unwrap();
        let path = store.session_dir(&session).join(names::SESSION.as_str());
        for torn in ["", "a ses", "\0\0\0\0\0\0\0\0\0"] {
            fs::write(&path, torn).unwrap();
            assert!(open_session(&store, &session).unwrap(), "{torn:?}");
            assert_eq!(fs::read(&path).unwrap(), b"a session");
            assert_eq!(sessions(&store).unwrap(), std::slice::from_ref(&session));
        }
        fs::write(&path, "another").unwrap();
        open_session(&store, &session).expect_err("it names another session");
        assert_eq!(fs::read(&path).unwrap(), b"another");
    }
}
