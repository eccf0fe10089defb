//! Finding and killing what carries a task's mark in its environment, for the one case without a supervisor.
//! A process is held by its directory in `/proc` before its mark is read again, so that whoever is given its number later cannot be
//! hit. The number itself goes to no call: `/proc` may be another pid namespace's, and there it is somebody else's. Only where the system
//! refuses that way, and `/proc` is our own namespace's, does it, as every `kill` of a shell has it.
//!
//! An environment stands in the memory of its process. One that waits in an `mmap` for a file system that does not answer, whosever it is,
//! has that locked, and who reads waits as well. So a thread of its own reads, and is left behind where it waits.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::errno::unless_exhausted;
use super::{check, files, identity, tree};

/// A process in the middle of an exec has no environment for a moment, so one look that finds nothing says little.
const QUIET_PASSES: u32 = 4;
/// How long is gone on in a row while every pass finds new ones.
const SLICE: Duration = Duration::from_millis(50);
/// How long nothing may be heard of one process, twice in a row.
const PATIENCE: Duration = Duration::from_millis(100);

/// What was left behind. Held to ask or to add, never while a process is looked at.
static STUCK: Mutex<Vec<Weak<Reading>>> = Mutex::new(Vec::new());
/// How many of those have gone on since.
static FREED: AtomicUsize = AtomicUsize::new(0);

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

/// What holds up a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUp {
    freed: usize,
}

impl HeldUp {
    fn now() -> HeldUp {
        HeldUp { freed: FREED.load(Ordering::SeqCst) }
    }

    /// Whether another look would find no more: nobody has gone on, and who waits so starts no new ones.
    pub fn is_so(self) -> bool {
        self == HeldUp::now()
    }
}

/// Live processes that carry `mark` (`NAME=value`) in the environment they were started with; 0 where that cannot be found out.
pub fn count(mark: &str) -> u32 {
    let marks = Arc::new(HashSet::from([mark.to_owned()]));
    let look: Look = |pid, marks| {
        let mark = mark_of(&in_proc(pid), marks).unwrap_or_default();
        Ok(mark.map(|mark| Carrier { pid, mark, refused: None }))
    };
    pass(&marks, look).map_or(0, |(found, _)| found.len() as u32)
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
        tree::is_called(pid, self.name) && tree::user(pid).is_some_and(|user| user == identity::user() || user == 0)
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
    let marks = Arc::new(marks);
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
        let (hit, was_all) = pass(&marks, |pid, marks| mark_of(&in_proc(pid), marks)?.map_or(Ok(None), |_| kill(pid, marks)))?;
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

/// What is asked about each process.
type Look = fn(u32, &HashSet<String>) -> io::Result<Option<Carrier>>;

/// Processes that are being looked at, one after the other.
struct Reading {
    pids: Vec<u32>,
    /// Held to note or to ask how far it is, never while one is looked at.
    progress: Mutex<Progress>,
    /// All were looked at, or one could not be.
    ended: Condvar,
}

#[derive(Default)]
struct Progress {
    /// The reader's directory in `/proc`.
    thread: PathBuf,
    done: usize,
    found: Vec<Carrier>,
    /// Nobody waits for the next answer any more.
    is_left_behind: bool,
    outcome: Option<io::Result<()>>,
}

impl Reading {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn run(&self, marks: &HashSet<String>, look: Look) -> io::Result<()> {
        self.progress().thread = fs::canonicalize("/proc/thread-self").unwrap_or_default();
        for &pid in &self.pids {
            let found = look(pid, marks)?;
            let mut progress = self.progress();
            if progress.is_left_behind {
                break;
            }
            progress.done += 1;
            progress.found.extend(found);
        }
        Ok(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.progress().is_left_behind {
            FREED.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Those that `look` finds, and whether all were looked at.
fn pass(marks: &Arc<HashSet<String>>, look: Look) -> io::Result<(Vec<Carrier>, bool)> {
    let stuck = stuck();
    let (left_out, mut pids): (Vec<u32>, Vec<u32>) = pids()?.partition(|pid| stuck.contains(pid));
    let (mut found, mut is_all) = (Vec::new(), left_out.is_empty());
    while !pids.is_empty() {
        let reading = Arc::new(Reading { pids, progress: Mutex::default(), ended: Condvar::new() });
        let is_done = run_apart(&reading, marks, look)?;
        let mut progress = reading.progress();
        found.append(&mut progress.found);
        is_all &= is_done;
        pids = reading.pids.iter().skip(progress.done + 1).copied().collect();
    }
    Ok((found, is_all))
}

/// On a thread of its own. False when that is stuck at a process, and was left behind there.
fn run_apart(reading: &Arc<Reading>, marks: &Arc<HashSet<String>>, look: Look) -> io::Result<bool> {
    let (its_own, asked) = (Arc::clone(reading), Arc::clone(marks));
    let run = move || {
        let outcome = its_own.run(&asked, look);
        its_own.progress().outcome = Some(outcome);
        its_own.ended.notify_one();
    };
    if thread::Builder::new().name("outlive-look".to_owned()).spawn(run).is_err() {
        // Out of threads, and who has taken them may be just whom we look for: then it has to be here.
        return reading.run(marks, look).map(|()| true);
    }
    let mut seen = None;
    let mut progress = reading.progress();
    loop {
        if let Some(outcome) = progress.outcome.take() {
            return outcome.map(|()| true);
        }
        let waited = reading.ended.wait_timeout(progress, PATIENCE);
        let (now, pause) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        progress = now;
        if pause.timed_out() && seen.replace(progress.done) == Some(progress.done) && !is_runnable(&progress.thread) {
            break;
        }
    }
    progress.is_left_behind = true;
    drop(progress);
    STUCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(Arc::downgrade(reading));
    Ok(false)
}

/// Whether a thread wants nothing but a processor.
fn is_runnable(thread: &Path) -> bool {
    tree::stat(thread).is_some_and(|stat| stat.starts_with('R'))
}

/// The processes that threads are stuck at. One that goes on ends, and its process is looked at again.
fn stuck() -> HashSet<u32> {
    let mut readings = STUCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    readings.retain(|reading| reading.strong_count() > 0);
    readings.iter().filter_map(Weak::upgrade).filter_map(|reading| reading.pids.get(reading.progress().done).copied()).collect()
}

/// None where the kernel does not tell.
fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = unless_exhausted(fs::read_dir("/proc"))?;
    Ok(entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

fn in_proc(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
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

/// None for a thread that has ended; empty where it is not ours to read.
fn environment(thread: &Path) -> io::Result<Option<Vec<u8>>> {
    /// More than the kernel lets a process begin with. One that has moved its own elsewhere may show gigabytes.
    const MOST: u64 = 8 << 20;
    let read = || -> io::Result<Vec<u8>> {
        let mut environment = Vec::new();
        File::open(thread.join("environ"))?.take(MOST).read_to_end(&mut environment)?;
        Ok(environment)
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Some(Vec::new())),
        // Older kernels say nothing where newer ones say ESRCH.
        read => Ok(unless_exhausted(read)?.filter(|environment| !environment.is_empty())),
    }
}

fn named(environment: &[u8], marks: &HashSet<String>) -> Option<String> {
    variables(environment).find(|variable| marks.contains(*variable)).map(str::to_owned)
}

fn variables(environment: &[u8]) -> impl Iterator<Item = &str> {
    environment.split(|byte| *byte == 0).filter_map(|variable| str::from_utf8(variable).ok())
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
    if !tree::is_proc_ours() {
        return Err(refused);
    }
    // SAFETY: a plain system call.
    check(unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) }).map(drop)
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    static GATE: Mutex<()> = Mutex::new(());

    #[test]
    fn a_sweep_is_held_up_until_one_goes_on_that_nobody_could_look_into() {
        // P12
        let stuck_at_us: Look = |pid, _| {
            drop((pid == std::process::id()).then(|| GATE.lock()));
            Ok(None)
        };
        let closed = GATE.lock().unwrap();
        let held_up = loop {
            let held_up = HeldUp::now();
            let (_, is_all) = pass(&Arc::default(), stuck_at_us).unwrap();
            assert!(!is_all);
            // Another thread may have been left behind only because it had no processor.
            if held_up.is_so() {
                break held_up;
            }
        };
        drop(closed);
        while held_up.is_so() {
            thread::yield_now();
        }
        assert!(!stuck().contains(&std::process::id()));
    }
}
