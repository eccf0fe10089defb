//! Finding and killing what carries a task's mark in its environment, for the one case without a supervisor.
//! A process is held by a pidfd before its mark is read again, so that a recycled pid cannot be hit.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;
use super::errno::unless_exhausted;

/// A process in the middle of an exec has no environment for a moment, so one look that finds nothing says little.
const QUIET_PASSES: u32 = 4;

/// Live processes that carry `mark` (`NAME=value`) in the environment they were started with; 0 where that cannot be found out.
pub fn count(mark: &str) -> u32 {
    let pids = pids().into_iter().flatten();
    pids.filter(|pid| carries(*pid, mark).unwrap_or(false)).count() as u32
}

/// Kills everything that carries `mark`, and what that starts meanwhile: passes are repeated until some find nothing new. An error
/// when descriptors or memory are wanting to look everywhere: then some may live.
pub fn kill_all(mark: &str) -> io::Result<()> {
    // A process that was killed may take a while to be gone, and is not waited for.
    let mut killed = HashSet::new();
    let mut quiet = 0;
    while quiet < QUIET_PASSES {
        quiet += 1;
        for pid in pids()? {
            if carries(pid, mark)? && kill(pid, mark)? && killed.insert(pid) {
                quiet = 0;
            }
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// None where the kernel does not tell.
fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = unless_exhausted(fs::read_dir("/proc"))?;
    Ok(entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// A zombie's environment reads as empty, so what is dead already is not found.
fn carries(pid: u32, mark: &str) -> io::Result<bool> {
    let environment = unless_exhausted(fs::read(format!("/proc/{pid}/environ")))?.unwrap_or_default();
    Ok(environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
}

/// Whether it was there to be killed.
fn kill(pid: u32, mark: &str) -> io::Result<bool> {
    // SAFETY: a plain system call with integers.
    let opened = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as libc::c_int);
    let Some(fd) = unless_exhausted(opened)? else { return Ok(false) };
    // SAFETY: `fd` was just made and nobody else owns it.
    let process = unsafe { OwnedFd::from_raw_fd(fd) };
    if !carries(pid, mark)? {
        return Ok(false);
    }
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a plain system call on a descriptor that we own; a null siginfo is allowed.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, no_info, 0) };
    Ok(check(sent as libc::c_int).is_ok())
}
