//! The FIFO that says who delivers a session's completions.
//!
//! It is three things in one. Its lock, on an open writing end, is held by the host that delivers. When that host dies
//! the last writing end closes, and every host that watches the reading end sees the hang-up and tries for the lock.
//! A byte in it tells the owner that another host has started a task.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use outlive_protocol::names;

use super::Store;
use super::session::{allow_existing, make};
use crate::error::{Error, Result};
use crate::platform::errno::unless_exhausted;
use crate::platform::{fifo, lock};
use crate::task::SessionId;

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
        let path = place(store, session);
        let bell = OwnerBell::at(path.clone()).or_else(|error| match error.kind() {
            // Whatever copied the store knew no FIFOs.
            ErrorKind::NotFound => allow_existing(fifo::create(&path)).and_then(|()| OwnerBell::at(path.clone())),
            _ => Err(error),
        });
        bell.map_err(Error::storage("open", path))
    }

    /// Opens one that is there.
    pub(super) fn at(path: PathBuf) -> io::Result<OwnerBell> {
        Ok(OwnerBell { reader: fifo::open_reader(&path)?, path, lock: None })
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
        if self.is_owner() {
            return Ok(true);
        }
        let writer = fifo::open_writer(&self.path).and_then(|writer| writer.ok_or(ErrorKind::NotFound.into()));
        let owned = writer.and_then(|writer| self.own_by(writer));
        owned.map_err(Error::storage("lock", &self.path))
    }

    fn own_by(&mut self, writer: File) -> io::Result<bool> {
        // Closing a writing end without the lock hangs up nobody while the owner lives.
        if !lock::try_lock(&writer)? {
            return Ok(false);
        }
        if self.is_replaced() {
            // Whoever held the lock before has removed it together with its session.
            return Err(ErrorKind::NotFound.into());
        }
        self.lock = Some(writer);
        Ok(true)
    }

    /// Tells the session's owner, if there is one, that it has a new task. An error when descriptors or memory are wanting for that.
    pub fn ring(store: &Store, session: &SessionId) -> Result<()> {
        let path = place(store, session);
        // Without the bell the owner finds the task when it next looks at the session.
        unless_exhausted(fifo::ring(&path)).map(drop).map_err(Error::storage("ring", path))
    }
}

fn place(store: &Store, session: &SessionId) -> PathBuf {
    store.session_dir(session).join(names::OWNER.as_str())
}

/// Whether a host listens to what happens in this session. True when nobody can say.
pub fn is_watched(store: &Store, session: &SessionId) -> bool {
    match fifo::open_writer(&place(store, session)) {
        Ok(writer) => writer.is_some(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::super::session::remove_empty;
    use super::*;

    #[test]
    fn the_lock_of_a_session_that_was_removed_meanwhile_owns_nothing() {
        // R6
        let scratch = Scratch::new();
        let store = scratch.store();
        let session = SessionId::new("empty");
        let bell = OwnerBell::open(&store, &session).unwrap();
        // As between two steps of `try_to_own`: the FIFO that was opened is another one than that which is there when it is locked.
        let writer = fifo::open_writer(bell.path()).unwrap().expect("the bell has it open");
        remove_empty(&store.session_dir(&session)).unwrap();
        let mut late = OwnerBell { path: bell.path().to_owned(), reader: bell.reader().try_clone().unwrap(), lock: None };
        late.own_by(writer).expect_err("it is gone");
        assert!(!late.is_owner());
        assert!(OwnerBell::open(&store, &session).unwrap().try_to_own().unwrap(), "it is made anew");
    }
}
