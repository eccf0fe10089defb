//! Where everything is.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use outlive_protocol::names::{self, Name};

use super::Executable;
use super::records::Here;
use crate::error::{Error, Result};
use crate::platform::{fifo, files};
use crate::task::{SessionId, TaskId};

/// A storage directory that is ours alone.
pub struct Store {
    root: PathBuf,
    /// The machine and the boot that this host lives in.
    pub here: Here,
    /// The supervisor that this host starts.
    pub executable: Executable,
}

/// One task's directory.
#[derive(Clone, Debug)]
pub struct TaskDir(PathBuf);

impl Store {
    /// Opens the directory, made when it is missing. One that others can write to, or that is another user's, is refused. `supervisor`: the
    /// executable to start in place of the one that is embedded.
    pub fn open(path: &Path, supervisor: Option<PathBuf>) -> Result<Store> {
        make_root(path)?;
        // Links on the way are resolved once, so that the same store has one name for as long as it is open.
        let root = fs::canonicalize(path).map_err(Error::storage("open the storage directory", path))?;
        let here = Here::at(&root)?;
        let store = Store { executable: Executable::new(&root, supervisor), root, here };
        store.check_owner()?;
        store.check_length().map_err(Error::storage("use the storage directory", store.root()))?;
        Ok(store)
    }

    /// Makes the directory once more if somebody has removed it, as who tidies up a cache does.
    pub(super) fn restore(&self) -> Result<()> {
        make_root(&self.root)
    }

    /// Refuses the directory when it is another user's, or others can write to it, as who tidied up may have let it become.
    pub(super) fn check_owner(&self) -> Result<()> {
        files::check_directory(&self.root).map_err(Error::storage("use the storage directory", &self.root))
    }

    /// Refuses a directory in which a path can be longer than the kernel takes. The supervisor writes into an open directory, so its
    /// records would be there, and no host could read them.
    fn check_length(&self) -> io::Result<()> {
        let longest = self.task_dir(&SessionId::default_session(), &TaskId::new(0)).file(names::STARTED);
        match fs::symlink_metadata(longest) {
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Err(error),
            // Mostly there is no such task.
            _ => Ok(()),
        }
    }

    /// The storage directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A session's directory: a digest, since an id may hold anything and file systems may fold case.
    pub fn session_dir(&self, session: &SessionId) -> PathBuf {
        self.root.join(format!("{:032x}", digest(session.as_str().as_bytes())))
    }

    /// Whether a path in the store is named as [`Store::session_dir`] names them.
    pub(super) fn may_be_session_dir(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit)
    }

    /// A task's directory.
    pub fn task_dir(&self, session: &SessionId, task: &TaskId) -> TaskDir {
        TaskDir(self.session_dir(session).join(task.as_str()))
    }
}

impl TaskDir {
    #[cfg(test)]
    pub(super) fn at(path: PathBuf) -> TaskDir {
        TaskDir(path)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// One of its files.
    pub fn file(&self, name: Name) -> PathBuf {
        self.0.join(name.as_str())
    }

    /// `task.json`.
    pub fn task(&self) -> PathBuf {
        self.file(names::TASK)
    }

    /// Whether there is a task, as far as one can see: what keeps us from looking is no task.
    pub fn has_task(&self) -> bool {
        self.task().exists()
    }

    /// What its supervisor rings, to be watched.
    pub fn open_events(&self) -> io::Result<File> {
        fifo::open_reader(&self.file(names::EVENTS))
    }
}

fn make_root(path: &Path) -> Result<()> {
    create_with_parents(path).map_err(Error::storage("make the storage directory", path))
}

fn create_with_parents(path: &Path) -> io::Result<()> {
    let made = files::create_directory(path).or_else(|error| match path.parent() {
        Some(parent) if error.kind() == io::ErrorKind::NotFound && !parent.as_os_str().is_empty() => {
            create_with_parents(parent)?;
            files::create_directory(path)
        }
        _ => Err(error),
    });
    match made {
        // It was there, or another host was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // A server can make it another user's, as most NFS servers do with root's. Then nothing of it stays.
        made => made.and_then(|()| files::check_directory(path).inspect_err(|_| drop(fs::remove_dir(path)))),
    }
}

/// FNV-1a with 128 bits. Two sessions with one digest would be told apart by the `session` file.
fn digest(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn a_directory_is_refused_in_which_a_record_could_be_written_and_not_read() {
        // R15
        const LONGEST: usize = 4095 - "/0123456789abcdef0123456789abcdef/bash-0123456789abcdef/started.json".len();
        let scratch = Scratch::new();
        let mut path = scratch.path().to_owned();
        while LONGEST - path.as_os_str().len() > 200 {
            path.push("d".repeat(100));
        }
        let open = |length| Store::open(&path.join("d".repeat(length - path.as_os_str().len() - 1)), None);
        open(LONGEST).expect("the longest path in it is one that the kernel takes");
        let error = open(LONGEST + 1).err().expect("it is too long by one");
        // Each C library has words of its own for it.
        assert!(error.to_string().contains("(os error 36)"), "{error}");
    }

    #[test]
    fn a_session_keeps_its_directory_from_release_to_release() {
        // The published test vectors of FNV-1a.
        assert_eq!(digest(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(digest(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }
}
