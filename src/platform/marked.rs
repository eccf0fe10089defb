//! Finding and killing what carries a task's mark in its environment, for the one case without a supervisor.
//! A process is held by its directory in `/proc` before its mark is read again, so that whoever is given its number later cannot be
//! hit. The number itself goes to no call: `/proc` may be another pid namespace's, and there it is somebody else's.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::errno::unless_exhausted;
use super::{check, files};

/// A process in the middle of an exec has no environment for a moment, so one look that finds nothing says little.
const QUIET_PASSES: u32 = 4;
/// How long is gone on in a row while every pass finds new ones.
const SLICE: Duration = Duration::from_millis(50);

/// Live processes that carry `mark` (`NAME=value`) in the environment they were started with; 0 where that cannot be found out.
pub fn count(mark: &str) -> u32 {
    let marks = HashSet::from([mark.to_owned()]);
    let pids = pids().into_iter().flatten();
    pids.filter(|pid| carries(&in_proc(*pid), &marks).unwrap_or(false)).count() as u32
}

/// Whether the process that has this number here carries `mark`.
pub fn is_marked(pid: u32, mark: &str) -> bool {
    carries(&in_proc(pid), &HashSet::from([mark.to_owned()])).unwrap_or(false)
}

/// Kills everything that carries one of the marks, and what that starts meanwhile: passes are repeated until some find nothing new.
/// False when there are new ones all the time, and an error when descriptors or memory are wanting to look everywhere: then some
/// may live.
pub fn kill_all(marks: &HashSet<String>) -> io::Result<bool> {
    // A process that was killed may take a while to be gone, and is not waited for.
    let mut killed = HashSet::new();
    let mut quiet = 0;
    let mut passes = 0;
    let began = Instant::now();
    while quiet < QUIET_PASSES {
        if quiet == 0 && passes > 1 && began.elapsed() > SLICE {
            return Ok(false);
        }
        passes += 1;
        quiet += 1;
        for pid in pids()? {
            let process = in_proc(pid);
            if carries(&process, marks)? && kill(&process, marks)? && killed.insert(pid) {
                quiet = 0;
            }
        }
        std::thread::yield_now();
    }
    Ok(true)
}

/// None where the kernel does not tell.
fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = unless_exhausted(fs::read_dir("/proc"))?;
    Ok(entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

fn in_proc(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// Where the first thread has ended, only the others show the environment; a process that is dead has none of them.
fn carries(process: &Path, marks: &HashSet<String>) -> io::Result<bool> {
    if let Some(environment) = environment(process)? {
        return Ok(names(&environment, marks));
    }
    for thread in unless_exhausted(fs::read_dir(process.join("task")))?.into_iter().flatten().flatten() {
        if environment(&thread.path())?.is_some_and(|environment| names(&environment, marks)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// None for a thread that has ended; empty where it is not ours to read.
fn environment(thread: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(thread.join("environ")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Some(Vec::new())),
        // Older kernels say nothing where newer ones say ESRCH.
        read => Ok(unless_exhausted(read)?.filter(|environment| !environment.is_empty())),
    }
}

fn names(environment: &[u8], marks: &HashSet<String>) -> bool {
    let mut variables = environment.split(|byte| *byte == 0).filter_map(|variable| str::from_utf8(variable).ok());
    variables.any(|variable| marks.contains(variable))
}

/// Whether it was there to be killed.
fn kill(process: &Path, marks: &HashSet<String>) -> io::Result<bool> {
    let Some(held) = unless_exhausted(files::open_directory_to_read(process))? else { return Ok(false) };
    if !carries(&PathBuf::from(format!("/proc/thread-self/fd/{}", held.as_raw_fd())), marks)? {
        return Ok(false);
    }
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a plain system call on a descriptor that we own; a null siginfo is allowed.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, held.as_raw_fd(), libc::SIGKILL, no_info, 0) };
    Ok(check(sent as libc::c_int).is_ok())
}
