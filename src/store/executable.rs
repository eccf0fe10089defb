//! The supervisor's executable: embedded in the addon, so that whoever copies the addon copies all of it.
//! Tried in this order: `OUTLIVE_SUPERVISOR`, a private copy in the store, memory. Memory is not first because
//! security monitors report what is executed from there.
//!
//! Whoever can write to a parent of the store can put another file in the copy's place at any time. So what is executed is the open
//! file that was checked, by `execveat`; where the system knows or allows no such call, by its name in `/proc/self/fd`; never by the path.

use std::ffi::CString;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::platform::environment::Block;
use crate::platform::process::{self, Program};
use crate::platform::{errno, failpoint, files, threads};
use crate::task::TaskId;

const CONTENT: &[u8] = include_bytes!(env!("OUTLIVE_SUPERVISOR_BIN"));
const HASH: &str = env!("OUTLIVE_SUPERVISOR_HASH");
/// What the name of a copy begins with; the hash of its content follows.
const PREFIX: &str = "supervisor-";
const OVERRIDE: &str = "OUTLIVE_SUPERVISOR";

/// Where the supervisor is executed from, found out at the first start.
pub struct Executable {
    copy: PathBuf,
    /// What `OUTLIVE_SUPERVISOR` names, and then nothing else is tried.
    elsewhere: Option<PathBuf>,
    /// Guards what was found. Held by the reactor alone, so nobody waits for the disk behind it.
    found: Mutex<Option<Found>>,
}

enum Found {
    /// What is there is executed as it is.
    Elsewhere(CString),
    /// The copy in the store as it was when its content was checked.
    Copy(Stamp),
    /// Nobody can change it.
    Memory(File),
}

/// Device, inode, mode, and the moment of the last change of any kind, which nobody can turn back.
type Stamp = (u64, u64, u32, i64, i64);

/// A way to something that can be executed, and what an error calls it.
struct Way {
    name: fn(&Executable) -> String,
    take: fn(&Executable) -> io::Result<(Found, Program)>,
}

const ELSEWHERE: Way = Way { name: Executable::override_name, take: Executable::at_override };
const COPY: Way = Way { name: |executable| executable.copy.display().to_string(), take: Executable::checked_copy };
const MEMORY: Way = Way { name: |_| "memory".to_owned(), take: |_| from_memory() };

type Start<'a> = dyn Fn(&Program) -> io::Result<process::Child> + 'a;

impl Executable {
    pub(super) fn new(root: &Path, elsewhere: Option<PathBuf>) -> Executable {
        Executable { copy: root.join(format!("{PREFIX}{HASH}")), elsewhere, found: Mutex::new(None) }
    }

    /// Starts a supervisor from the first place that works.
    pub fn start(
        &self,
        task: &TaskId,
        arguments: &[CString],
        environment: &Block,
        fds: &[BorrowedFd<'_>],
    ) -> Result<process::Child> {
        let start = |program: &Program| {
            failpoint::pass("host.before_spawn")?;
            retry_busy(|| process::start(program, arguments, environment, fds))
        };
        let mut found = threads::lock(&self.found);
        if let Some(known) = &*found {
            match self.open_again(known).and_then(|program| start(&program)) {
                Ok(child) => return Ok(child),
                Err(error) if is_about_the_task(&error) => return Err(refused(task, error)),
                // It was removed or changed, or the store was mounted anew: look again.
                Err(_) => {}
            }
        }
        *found = None;
        self.find(task, &start, &mut found)
    }

    fn find(&self, task: &TaskId, start: &Start<'_>, found: &mut Option<Found>) -> Result<process::Child> {
        let mut tried = Vec::new();
        let ways: &[Way] = if self.elsewhere.is_some() { &[ELSEWHERE] } else { &[COPY, MEMORY] };
        for way in ways {
            let attempt = (way.take)(self).and_then(|(place, program)| start(&program).map(|child| (place, child)));
            match attempt {
                Ok((place, child)) => {
                    *found = Some(place);
                    return Ok(child);
                }
                Err(error) if is_about_the_task(&error) => return Err(refused(task, error)),
                Err(error) => tried.push(((way.name)(self), error)),
            }
        }
        Err(Error::SupervisorUnavailable { tried })
    }

    /// What may be the matter with a supervisor that could be executed, and ended before it had done anything.
    pub fn doubt(&self) -> io::Error {
        match &self.elsewhere {
            Some(_) => {
                let doubt = format!("it is {}, which may be of another release", self.override_name());
                io::Error::new(ErrorKind::BrokenPipe, doubt)
            }
            None => ErrorKind::BrokenPipe.into(),
        }
    }

    /// The copy is opened anew each time: a descriptor that is kept would keep its file system from being unmounted.
    fn open_again(&self, found: &Found) -> io::Result<Program> {
        match found {
            Found::Elsewhere(path) => Ok(Program::At(path.clone())),
            Found::Memory(memory) => memory.try_clone().map(Program::Open),
            Found::Copy(checked) => match files::open_to_read(&self.copy)? {
                (copy, about) if stamp(&about) == *checked => Ok(Program::Open(copy)),
                _ => Err(io::Error::new(ErrorKind::InvalidData, "it has changed since it was checked")),
            },
        }
    }

    fn at_override(&self) -> io::Result<(Found, Program)> {
        let path = CString::new(self.override_path().as_os_str().as_bytes())?;
        Ok((Found::Elsewhere(path.clone()), Program::At(path)))
    }

    fn override_name(&self) -> String {
        format!("{OVERRIDE}={}", self.override_path().display())
    }

    fn override_path(&self) -> &Path {
        self.elsewhere.as_deref().unwrap_or(Path::new(""))
    }

    /// The copy in the store: checked before its first use and after any change, written anew and renamed into place when it
    /// differs.
    fn checked_copy(&self) -> io::Result<(Found, Program)> {
        self.open_copy().or_else(|_| {
            files::write_aside(&self.copy, write_executable)?;
            self.open_copy()
        })
    }

    /// A copy that has our content and that nobody else can change.
    fn open_copy(&self) -> io::Result<(Found, Program)> {
        // Looked at before the content is read: a change while we read shows at the next start.
        let (copy, about) = files::open_to_read(&self.copy)?;
        files::check_owner(&about)?;
        let content = files::read_open(&copy, &about, CONTENT.len())?;
        if content != CONTENT || about.mode() & 0o100 == 0 {
            return Err(io::Error::new(ErrorKind::InvalidData, "it is not what was written"));
        }
        Ok((Found::Copy(stamp(&about)), Program::Open(copy)))
    }

    /// Copies, of whichever release, that are written and have not been renamed into place.
    pub(super) fn drafts(&self) -> Vec<PathBuf> {
        self.called(|rest| rest.starts_with('.'))
    }

    /// The copies of other releases. A host that misses its own writes it anew.
    pub(super) fn of_others(&self) -> Vec<PathBuf> {
        let mut copies = self.called(str::is_empty);
        copies.retain(|path| *path != self.copy);
        copies
    }

    /// What stands beside the copy under a name such as its own, as `is_it` says of what follows the hash.
    fn called(&self, is_it: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let mut paths = self.copy.parent().map_or_else(Vec::new, |root| files::starting_with(root, PREFIX));
        paths.retain(|path| behind_hash(path).is_some_and(&is_it));
        paths
    }
}

fn stamp(about: &Metadata) -> Stamp {
    (about.dev(), about.ino(), about.mode(), about.ctime(), about.ctime_nsec())
}

fn behind_hash(path: &Path) -> Option<&str> {
    let (hash, rest) = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split_at_checked(HASH.len())?;
    hash.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(rest)
}

fn from_memory() -> io::Result<(Found, Program)> {
    let memory = process::sealed_executable(CONTENT)?;
    Ok((Found::Memory(memory.try_clone()?), Program::Open(memory)))
}

fn write_executable(path: &Path) -> io::Result<()> {
    failpoint::pass("host.before_executable_draft")?;
    let mut file = files::create(path)?;
    failpoint::pass("host.before_executable_content")?;
    file.write_all(CONTENT)?;
    file.set_permissions(Permissions::from_mode(0o500))?;
    failpoint::pass("host.before_executable_rename")
}

/// Another thread that forks while the copy is written holds it open for writing until its child has executed something.
fn retry_busy(mut start: impl FnMut() -> io::Result<process::Child>) -> io::Result<process::Child> {
    const TRIES: u32 = 100;
    for _ in 1..TRIES {
        match start() {
            Err(error) if errno::is_text_busy(&error) => std::thread::sleep(std::time::Duration::from_millis(1)),
            other => return other,
        }
    }
    start()
}

/// No other copy of the executable would fare better.
fn is_about_the_task(error: &io::Error) -> bool {
    errno::is_too_big(error) || errno::is_exhaustion(error)
}

fn refused(task: &TaskId, source: io::Error) -> Error {
    Error::SpawnFailed { task: Some(task.clone()), what: "the system refused to start its supervisor", source }
}
