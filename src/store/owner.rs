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
        let path = store.session_dir(session).join(names::OWNER.as_str());
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

/// Whether a host tells what happens in this session. True when nobody can say.
pub fn is_owned(store: &Store, session: &SessionId) -> bool {
    match fifo::open_writer(&store.session_dir(session).join(names::OWNER.as_str())) {
        Ok(Some(writer)) => !lock::is_free(&writer).unwrap_or(false),
        // Nobody watches it.
        Ok(None) => false,
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}
