//! A session's directory: its id, its tasks, and the FIFO that says who delivers.
//!
//! `owner` is three things in one. Its lock, on an open writing end, is held by the host that delivers. When that host dies
//! the last writing end closes, and every host that watches the reading end sees the hang-up and tries for the lock.
//! A byte in it tells the owner that another host has started a task.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use outlive_protocol::names;

use super::Store;
use super::records::{Record, TaskRecord, read};
use super::unread::Unread;
use crate::error::{Error, Result};
use crate::platform::errno::unless_exhausted;
use crate::platform::{failpoint, fifo, files, lock};
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

fn allow_existing(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The sessions that are on disk, sorted by their ids' bytes. What is no session's directory is passed over, and so is one that cannot be
/// read; but not for want of descriptors or memory.
pub fn sessions(store: &Store) -> Result<Vec<SessionId>> {
    let list = || -> io::Result<Vec<SessionId>> {
        fs::read_dir(store.root())?.map(|entry| session_of(store, &entry?.path())).filter_map(io::Result::transpose).collect()
    };
    let mut sessions = list().map_err(Error::storage("list", store.root()))?;
    sessions.sort();
    Ok(sessions)
}

/// Also of one that will be refused because others can write to it: whoever asks for its tasks is told why.
fn session_of(store: &Store, dir: &Path) -> io::Result<Option<SessionId>> {
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
    // What a power cut has taken each of its tasks has too.
    for task in unless_exhausted(tasks_in(dir))?.unwrap_or_default() {
        let session = session_of_task(&dir.join(task.as_str()))?;
        if session.as_ref().is_some_and(|session| is_torn(&name, session) && is_here(session)) {
            return Ok(session);
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

fn tasks_in(dir: &Path) -> io::Result<Vec<TaskId>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// A host's hold on a session's `owner`.
pub struct OwnerBell {
    path: PathBuf,
    reader: File,
    lock: Option<File>,
}

impl OwnerBell {
    /// Opens the reading end, to be watched before the lock is tried.
    pub fn open(store: &Store, session: &SessionId) -> Result<OwnerBell> {
        make(store, session)?;
        let path = store.session_dir(session).join(names::OWNER.as_str());
        let reader = fifo::open_reader(&path).or_else(|error| match error.kind() {
            // Whatever copied the store knew no FIFOs.
            ErrorKind::NotFound => allow_existing(fifo::create(&path)).and_then(|()| fifo::open_reader(&path)),
            _ => Err(error),
        });
        let reader = reader.map_err(Error::storage("open", &path))?;
        Ok(OwnerBell { path, reader, lock: None })
    }

    /// The descriptor to watch: hang-up says that nobody owns the session, a byte that it has a new task.
    pub fn reader(&self) -> &File {
        &self.reader
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this host delivers.
    pub fn is_owner(&self) -> bool {
        self.lock.is_some()
    }

    /// Whether another FIFO stands in its place: the session was removed and made anew, and the hosts that came since do not hear of
    /// this one. Where there is none an owner has no rival, and who waits waits for nobody.
    pub fn is_replaced(&self) -> bool {
        let id = |about: fs::Metadata| (about.dev(), about.ino());
        match [self.reader.metadata(), fs::symlink_metadata(&self.path)].map(|about| about.map(id)) {
            [Ok(ours), Ok(theirs)] => ours != theirs,
            [Ok(_), Err(error)] => error.kind() == ErrorKind::NotFound && !self.is_owner(),
            _ => false,
        }
    }

    /// Tries to become the owner; true when it is one now, or was before.
    pub fn try_to_own(&mut self) -> Result<bool> {
        if self.lock.is_none() {
            let failed = |error| Error::storage("lock", &self.path)(error);
            let writer = fifo::open_writer(&self.path).map_err(failed)?;
            let writer = writer.ok_or(ErrorKind::NotFound.into()).map_err(failed)?;
            // Closing a writing end without the lock hangs up nobody while the owner lives.
            if lock::try_lock(&writer).map_err(failed)? {
                self.lock = Some(writer);
            }
        }
        Ok(self.is_owner())
    }

    /// Tells the session's owner, if there is one, that it has a new task. An error when descriptors or memory are wanting for that.
    pub fn ring(store: &Store, session: &SessionId) -> Result<()> {
        let path = store.session_dir(session).join(names::OWNER.as_str());
        // Without the bell the owner finds the task when it next looks at the session.
        unless_exhausted(fifo::ring(&path)).map(drop).map_err(Error::storage("ring", path))
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn an_id_that_a_power_cut_has_torn_is_written_anew_and_another_one_is_left() {
        // R18
        let scratch = Scratch::new();
        let store = Store::open(scratch.path()).unwrap();
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
