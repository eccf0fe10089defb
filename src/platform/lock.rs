//! Locks of open files. One goes with the last copy of its descriptor, so at the latest with its process.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

use super::check;

/// Takes the lock of this open file for itself, without waiting; `false` when another has it. On a FIFO it goes just before
/// the watchers see the hang-up.
pub fn try_lock(file: &File) -> io::Result<bool> {
    try_flock(file, libc::LOCK_EX)
}

/// Whether nobody has the lock of this file for itself. Many may ask at once, and do not stand in each other's way.
pub fn is_free(file: &File) -> io::Result<bool> {
    try_flock(file, libc::LOCK_SH)
}

/// Gives the lock back at once, also when a child that has not yet executed its program holds a copy of the descriptor.
pub fn unlock(file: &File) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that we own.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) }).map(|_| ())
}

fn try_flock(file: &File, how: libc::c_int) -> io::Result<bool> {
    // SAFETY: a plain system call on a descriptor that we own.
    match check(unsafe { libc::flock(file.as_raw_fd(), how | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
