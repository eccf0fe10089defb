//! Finding and killing what carries a task's mark in its environment, for the one case without a supervisor.
//! A process is held by its directory in `/proc` before its mark is read again, so that whoever is given its number later cannot be
//! hit. The number itself goes to no call: `/proc` may be another pid namespace's, and there it is somebody else's. Only where the system
//! refuses that way, and `/proc` is our own namespace's, does it, as every `kill` of a shell has it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use super::apart::HeldUp;
use super::apart::{self, Look};
use super::errno::unless_exhausted;
use super::proc::{environment, in_proc, is_called, is_proc_ours, pids, user, variables};
use super::{check, files, identity};

/// A process in the middle of an exec has no environment for a moment, so one look that finds nothing says little.
const QUIET_PASSES: u32 = 4;
/// How long is gone on in a row while every pass finds new ones.
const SLICE: Duration = Duration::from_millis(50);
/// What has come of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// Nothing is left.
    All,
    /// There are new ones all the time, and some may live.
    NewOnes,
    /// Nobody can look into some now, and they may be among those that are looked for.
    HeldUp(HeldUp),
}

/// The marks of those that live on because the system does not let us signal them, and why.
pub type Refused = HashMap<String, io::Error>;

/// Live processes that carry `mark` (`NAME=value`) in the environment they were started with; 0 where that cannot be found out.
pub fn count(mark: &str) -> u32 {
    let marks = HashSet::from([mark.to_owned()]);
    let look: Look<String> = Arc::new(move |pid| Ok(mark_of(&in_proc(pid), &marks).unwrap_or_default()));
    apart::each_process(&look).map_or(0, |(found, _)| found.len() as u32)
}

/// The processes of this user that the kernel calls by one name, by the mark that each carries. They are looked for when first
/// asked for, in this pid namespace and those below it.
pub struct Named {
    name: &'static [u8],
    variable: &'static str,
    found: Option<HashMap<String, u32>>,
}

impl Named {
    /// Of the processes called `name`; `variable` is their mark's.
    pub fn new(name: &'static [u8], variable: &'static str) -> Named {
        Named { name, variable, found: None }
    }

    /// Whether one of them lives that carries `mark`.
    pub fn has(&mut self, mark: &str) -> io::Result<bool> {
        let found = match self.found.take() {
            Some(found) => found,
            None => self.look()?,
        };
        let pid = self.found.insert(found).get(mark).copied();
        // Since it was found it may have ended.
        let carries = |pid| mark_of(&in_proc(pid), &HashSet::from([mark.to_owned()])).map(|mark| mark.is_some());
        let lives = |pid| Ok(self.is_one(pid) && carries(pid)?);
        pid.map_or(Ok(false), lives)
    }

    /// Whoever likes can have that name and a mark; root can have started it before it became our user.
    fn is_one(&self, pid: u32) -> bool {
        is_called(pid, self.name) && user(pid).is_some_and(|user| user == identity::user() || user == 0)
    }

    fn look(&self) -> io::Result<HashMap<String, u32>> {
        let mut found = HashMap::new();
        for pid in pids()?.filter(|pid| self.is_one(*pid)) {
            let environment = environment(&in_proc(pid))?.unwrap_or_default();
            let is_mark = |text: &&str| text.strip_prefix(self.variable).is_some_and(|rest| rest.starts_with('='));
            found.extend(variables(&environment).find(is_mark).map(|mark| (mark.to_owned(), pid)));
        }
        Ok(found)
    }
}

/// Kills everything that carries one of the marks, and what that starts meanwhile: passes are repeated until some find nothing new.
/// An error when descriptors or memory are wanting to look everywhere: then some may live.
pub fn kill_all(marks: HashSet<String>) -> io::Result<(Swept, Refused)> {
    let look: Look<Carrier> = Arc::new(move |pid| mark_of(&in_proc(pid), &marks)?.map_or(Ok(None), |_| kill(pid, &marks)));
    // A process that was killed may take a while to be gone, and is not waited for.
    let mut killed = HashSet::new();
    let mut quiet = 0;
    let mut passes = 0;
    let mut is_all = true;
    let mut refused = Refused::new();
    let held_up = HeldUp::now();
    let began = Instant::now();
    while quiet < QUIET_PASSES {
        if quiet == 0 && passes > 1 && began.elapsed() > SLICE {
            return Ok((Swept::NewOnes, refused));
        }
        passes += 1;
        quiet += 1;
        let (hit, was_all) = apart::each_process(&look)?;
        is_all = was_all;
        // Those of the last pass: who was there before may have ended.
        refused.clear();
        for Carrier { pid, mark, refused: why } in hit {
            if let Some(why) = why {
                refused.insert(mark, why);
            } else if killed.insert(pid) {
                quiet = 0;
            }
        }
        thread::yield_now();
    }
    Ok((if is_all { Swept::All } else { Swept::HeldUp(held_up) }, refused))
}

/// A process that carries a mark.
struct Carrier {
    pid: u32,
    mark: String,
    /// Why it could not be signalled.
    refused: Option<io::Error>,
}

/// Which of the marks a process carries. Where the first thread has ended, only the others show the environment; a process that is dead
/// has none of them.
fn mark_of(process: &Path, marks: &HashSet<String>) -> io::Result<Option<String>> {
    if let Some(environment) = environment(process)? {
        return Ok(named(&environment, marks));
    }
    for thread in unless_exhausted(fs::read_dir(process.join("task")))?.into_iter().flatten().flatten() {
        let mark = environment(&thread.path())?.and_then(|environment| named(&environment, marks));
        if mark.is_some() {
            return Ok(mark);
        }
    }
    Ok(None)
}

fn named(environment: &[u8], marks: &HashSet<String>) -> Option<String> {
    variables(environment).find(|variable| marks.contains(*variable)).map(str::to_owned)
}

/// `None` when it was not there to be killed.
fn kill(pid: u32, marks: &HashSet<String>) -> io::Result<Option<Carrier>> {
    let Some(held) = unless_exhausted(files::open_directory_to_read(&in_proc(pid)))? else { return Ok(None) };
    let Some(mark) = mark_of(&PathBuf::from(format!("/proc/thread-self/fd/{}", held.as_raw_fd())), marks)? else {
        return Ok(None);
    };
    let sent = kill_held(&held).or_else(|error| if is_gone(&error) { Err(error) } else { kill_otherwise(pid, error) });
    Ok(match sent {
        Err(error) if is_gone(&error) => None,
        sent => Some(Carrier { pid, mark, refused: sent.err() }),
    })
}

/// Whoever it is that has the number by then, only the process whose directory this is.
fn kill_held(directory: &File) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a plain system call on a descriptor that we own; a null siginfo is allowed.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, directory.as_raw_fd(), libc::SIGKILL, no_info, 0) };
    check(sent as libc::c_int).map(drop)
}

/// For where the call as such was `refused`: before Linux 5.1, by a filter. By its number is all that such a system has. It was the
/// process's own a moment ago, when its mark was read through its directory, and the kernel gives out all others before it gives one
/// out again.
fn kill_otherwise(pid: u32, refused: io::Error) -> io::Result<()> {
    // Another namespace's numbers are other processes here.
    if !is_proc_ours() {
        return Err(refused);
    }
    // SAFETY: a plain system call.
    check(unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) }).map(drop)
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}
