//! A task comes into being: first everything that can fail, `task.json` last, then the supervisor.
//! `control` has a reader, our own descriptor, from before `task.json` is there; so whoever finds a task without a reader and
//! without `started.json` knows that its command has never run.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use outlive_protocol::fds;
use outlive_protocol::names::{self, Name};
use outlive_protocol::records::{ENDED_RESERVED, Ended, MAX_RECORD};
use outlive_protocol::settings::{Cleanup, MAX_SETTINGS, Settings};

use super::records::TaskRecord;
use super::remove::{remove, withdraw};
use super::{Store, TaskDir, session};
use crate::error::{Error, Result};
use crate::platform::environment::Block;
use crate::platform::{clock, errno, failpoint, fifo, files, lock, process};
use crate::task::{Asked, SessionId, StderrMode, TaskId};

/// What only the start of a task needs to know.
pub struct Launch {
    /// The shell's absolute path.
    pub shell: PathBuf,
    /// The whole environment, the task's mark included.
    pub environment: Block,
    /// Bytes to keep of each capture file; 0: all.
    pub max_output_bytes: u64,
    /// What a natural end does to descendants.
    pub cleanup: Cleanup,
}

/// A host's claim to the start of a task: it tells its caller of the task, or takes its files away. Until
/// then no other host says how it ended. It goes with the process.
pub struct Claim(File);

impl Claim {
    fn new(task: File) -> Claim {
        // Where files cannot be locked, two hosts may answer for a task whose supervisor was killed before it could start.
        drop(lock::try_lock(&task));
        Claim(task)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing it does the same a little later.
        drop(lock::unlock(&self.0));
    }
}

/// A directory that is complete but for `task.json`. Dropped before [`Published::start`] has succeeded, it removes itself.
pub struct Created {
    dir: TaskDir,
    /// The descriptors that the supervisor is born with, in the order of their places.
    inherited: Vec<File>,
    kept: bool,
}

/// A task that other hosts see, and that has no supervisor yet.
pub struct Published {
    // Where it gets none, its files go before the claim does: fields are dropped in their order.
    created: Created,
    claim: Claim,
}

/// Opens the directory that a command is to be started in. It is anybody's, and may be on a file system that does not answer.
pub fn open_cwd(cwd: &Path) -> Result<File> {
    // A file is no directory before it is one that may not be entered.
    let opened = files::open_directory(cwd).and_then(|opened| files::may_execute(cwd).map(|()| opened));
    opened.map_err(|source| {
        if errno::is_exhaustion(&source) {
            // For want of descriptors nothing is known of the directory.
            return Error::SpawnFailed { task: None, what: "its working directory could not be opened", source };
        }
        Error::CwdNotFound { path: cwd.to_owned(), source }
    })
}

/// Makes the directory of a new task, with an id that neither the disk nor `is_known` has.
pub fn create(
    store: &Store,
    session: &SessionId,
    stderr: StderrMode,
    command: &str,
    cwd: File,
    mut new_id: impl FnMut() -> Result<TaskId>,
) -> Result<(TaskId, Created)> {
    make_session(store, session)?;
    let mut was_removed = false;
    let (task, dir) = loop {
        let task = new_id()?;
        let dir = store.task_dir(session, &task);
        match failpoint::pass("host.before_directory").and_then(|()| files::create_directory(dir.path())) {
            Ok(()) => break (task, dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Another host's `cleanup` found it empty and old.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !was_removed => {
                was_removed = true;
                make_session(store, session)?;
            }
            Err(error) => return Err(Error::storage("make the task directory", dir.path())(error)),
        }
    };
    let mut created = Created { dir, inherited: Vec::new(), kept: false };
    created.fill(stderr, command, cwd)?;
    Ok((task, created))
}

/// Makes the session's directory, and the store's, unless they are there.
fn make_session(store: &Store, session: &SessionId) -> Result<()> {
    match session::make(store, session) {
        Err(error) if error.is_missing_file() => {
            store.restore()?;
            session::make(store, session)
        }
        made => made,
    }
}

/// A task that is on its way.
pub struct Started {
    /// Its supervisor, unless the system refused it and that is the task's end.
    pub child: Option<process::Child>,
    /// To be dropped when the caller of `spawn` has its answer.
    pub claim: Claim,
}

impl Created {
    /// The directory.
    pub fn dir(&self) -> &TaskDir {
        &self.dir
    }

    fn fill(&mut self, stderr: StderrMode, command: &str, cwd: File) -> Result<()> {
        let make = |name: Name, with: &dyn Fn(&Path) -> io::Result<File>| {
            let path = self.dir.file(name);
            with(&path).map_err(Error::storage("make", path))
        };
        let null = files::open_null().map_err(Error::storage("open", "/dev/null"))?;
        let directory = files::open_directory_to_read(self.dir.path())
            .and_then(|opened| files::check_owner(&opened.metadata()?).map(|()| opened))
            .map_err(Error::storage("open", self.dir.path()))?;
        make(names::COMMAND, &|_| {
            failpoint::pass("host.before_command")?;
            // Where the supervisor reads it, whatever somebody puts in the place of the store.
            let mut file = files::create_in(&directory, names::COMMAND.as_c_str())?;
            file.write_all(command.as_bytes())?;
            Ok(file)
        })?;
        let first = if stderr == StderrMode::Merge { names::OUTPUT } else { names::STDOUT };
        failpoint::pass("host.before_captures").map_err(Error::storage("make", self.dir.file(first)))?;
        let (stdout, stderr) = match stderr {
            StderrMode::Separate => {
                (make(names::STDOUT, &files::create_to_append)?, make(names::STDERR, &files::create_to_append)?)
            }
            StderrMode::Merge => {
                let output = make(names::OUTPUT, &files::create_to_append)?;
                let other = output.try_clone().map_err(Error::storage("open", self.dir.file(names::OUTPUT)))?;
                (output, other)
            }
        };
        let control = self.make_fifo(names::CONTROL, "host.before_control")?;
        fifo::close_to_readers(&control);
        let events = self.make_fifo(names::EVENTS, "host.before_events")?;
        let ended = make(names::ENDED, &|path| {
            failpoint::pass("host.before_ended_json")?;
            let file = files::create(path)?;
            failpoint::pass("host.before_reserve")?;
            files::reserve(&file, ENDED_RESERVED)?;
            Ok(file)
        })?;
        self.inherited = vec![null, stdout, stderr, directory, control, events, cwd, ended];
        Ok(())
    }

    fn make_fifo(&self, name: Name, point: &'static str) -> Result<File> {
        let path = self.dir.file(name);
        let made = failpoint::pass(point).and_then(|()| fifo::create(&path)).and_then(|()| fifo::open_both(&path));
        made.map_err(Error::storage("make the FIFO", path))
    }

    /// Writes `task.json`: from now on other hosts see the task.
    pub fn publish(self, store: &Store, asked: &Asked, launch: &Launch) -> Result<Published> {
        let path = self.dir.task();
        let line = TaskRecord::new(asked, launch, &store.here).to_line();
        let written = failpoint::pass("host.before_task_json").and_then(|()| files::create(&path)).and_then(|file| {
            failpoint::pass("host.before_task_json_content")?;
            let mut claim = Claim::new(file);
            claim.0.write_all(&line)?;
            Ok(claim)
        });
        let claim = written.map_err(Error::storage("write", path))?;
        Ok(Published { created: self, claim })
    }

    fn spawn(&self, store: &Store, asked: &Asked, launch: &Launch) -> Result<process::Child> {
        let settings = Settings {
            timeout_ms: asked.timeout_ms,
            grace_ms: asked.grace_ms,
            max_output_bytes: launch.max_output_bytes,
            cleanup: launch.cleanup,
            boot_id: store.here.boot_id.as_bytes(),
        };
        let argument = |bytes: &[u8]| CString::new(bytes).expect("the door refuses a NUL in any text");
        let arguments = [
            names::SUPERVISOR.to_owned(),
            argument(asked.id.as_str().as_bytes()),
            argument(settings.write(&mut [0; MAX_SETTINGS])),
            argument(launch.shell.as_os_str().as_encoded_bytes()),
        ];
        let fds: Vec<BorrowedFd<'_>> = self.inherited.iter().map(File::as_fd).collect();
        store.executable.start(&asked.id, &arguments, &launch.environment, &fds)
    }

    /// Environment or arguments are larger than the system allows: that is an ending of the task, as any other failure to
    /// execute its shell, and this host is the only one that can write it down.
    fn record_refusal(&self, source: &io::Error) -> Result<()> {
        let ended = &self.inherited[fds::ENDED as usize];
        let mut buffer = [0; MAX_RECORD];
        let errno = source.raw_os_error().map(|number| number as u64);
        let record = Ended::spawn_error(errno, clock::unix_ms(), clock::monotonic_ns());
        ended.write_all_at(record.write(&mut buffer), 0).map_err(Error::storage("write", self.dir.file(names::ENDED)))
    }
}

impl Published {
    /// Starts the supervisor. The claim is to be kept until the caller knows how that went.
    pub fn start(mut self, store: &Store, asked: &Asked, launch: &Launch) -> Result<Started> {
        let child = match self.created.spawn(store, asked, launch) {
            Ok(child) => Some(child),
            Err(Error::SpawnFailed { source, .. }) if errno::is_too_big(&source) => {
                self.created.record_refusal(&source)?;
                None
            }
            Err(error) => return Err(error),
        };
        // A start that is done is not undone.
        drop(failpoint::pass("host.after_spawn"));
        self.created.kept = true;
        Ok(Started { child, claim: self.claim })
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if !self.kept {
            // The caller is told why the task could not be made; that its remains stay is the lesser news, and cleanup takes them.
            if let Some(directory) = self.inherited.get(fds::TASK_DIR as usize) {
                drop(withdraw(directory));
            }
            // Removing takes a descriptor, and it may be for want of them that the task could not be made.
            self.inherited.clear();
            drop(remove(&self.dir));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn a_session_that_another_host_removes_meanwhile_is_made_anew() {
        // R6
        let root = Scratch::new();
        let store = Store::open(&root.path().join("store"), None).expect("a fresh directory is a store");
        let session = SessionId::new("empty");
        let mut ids = 1..;
        let new_id = || {
            let id = ids.next().expect("there are many");
            if id == 1 {
                session::remove_empty(&store.session_dir(&session)).expect("nothing is in it yet");
            }
            Ok(TaskId::new(id))
        };
        let cwd = open_cwd(root.path()).expect("it is there");
        let (task, created) = create(&store, &session, StderrMode::Separate, "true", cwd, new_id).expect("there is room");
        assert!(created.dir().file(names::COMMAND).exists());
        assert_eq!(task, TaskId::new(2));
        assert_eq!(session::sessions(&store).expect("it can be listed"), [session]);
    }

    #[test]
    fn an_id_that_is_on_disk_is_not_given_again() {
        // D19
        let root = Scratch::new();
        let store = Store::open(&root.path().join("store"), None).expect("a fresh directory is a store");
        let session = SessionId::default_session();
        let with_ids = |ids: &[u64]| {
            let mut ids = ids.iter().copied().map(TaskId::new);
            let new_id = || Ok(ids.next().expect("the loop ends at the first free id"));
            let cwd = open_cwd(root.path()).expect("it is there");
            create(&store, &session, StderrMode::Separate, "true", cwd, new_id).expect("there is a free id")
        };
        let (first, created) = with_ids(&[1]);
        std::fs::write(created.dir().file(names::STDOUT), "the first one's").expect("its file is there");
        let (second, _created) = with_ids(&[1, 1, 2]);
        assert_eq!((first, second), (TaskId::new(1), TaskId::new(2)));
        assert_eq!(std::fs::read(created.dir().file(names::STDOUT)).expect("it is still there"), b"the first one's");
    }
}
