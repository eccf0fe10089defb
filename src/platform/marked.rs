//! Finding and killing what carries a task's mark in its environment, for the one case without a supervisor.
//! A process is held by a pidfd before its mark is read again, so that a recycled pid cannot be hit.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;

/// A process in the middle of an exec has no environment for a moment, so one look that finds nothing says little.
const QUIET_PASSES: u32 = 4;

/// Live processes that carry `mark` (`NAME=value`) in the environment they were started with.
pub fn count(mark: &str) -> u32 {
    candidates(mark).count() as u32
}

/// Kills everything that carries `mark`, and what that starts meanwhile: passes are repeated until some find nothing new.
pub fn kill_all(mark: &str) {
    // A process that was killed may take a while to be gone, and is not waited for.
    let mut killed = HashSet::new();
    let mut quiet = 0;
    while quiet < QUIET_PASSES {
        let found = candidates(mark).filter(|pid| kill(*pid, mark).is_ok() && killed.insert(*pid)).count();
        quiet = if found > 0 { 0 } else { quiet + 1 };
        std::thread::yield_now();
    }
}

fn candidates(mark: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(move |pid| carries(*pid, mark))
}

/// A zombie's environment reads as empty, so what is dead already is not found.
fn carries(pid: u32, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

fn kill(pid: u32, mark: &str) -> io::Result<()> {
    // SAFETY: a plain system call with integers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as libc::c_int)?;
    // SAFETY: `fd` was just made and nobody else owns it.
    let process = unsafe { OwnedFd::from_raw_fd(fd) };
    if !carries(pid, mark) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a plain system call on a descriptor that we own; a null siginfo is allowed.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, no_info, 0) };
    check(sent as libc::c_int).map(|_| ())
}
