//! The ground: the only room with `libc`, `unsafe` and `cfg(target_os)`. It knows no task and no record, and speaks
//! [`std::io::Error`].
//!
//! What a port must provide, file by file:
//! * [`apart`]: looking into every process, though one may not answer.
//! * [`clock`]: Unix milliseconds, and a monotonic clock that the supervisor shares.
//! * [`environment`]: the variables that a child inherits, in one copy.
//! * [`errno`]: the system's names for its errors and signals.
//! * [`exit`]: what is done last in a process.
//! * [`failpoint`]: where tests make a host fail; nothing in a release.
//! * [`fifo`]: FIFOs that wake every watcher on a write, report the last writer's end, and refuse a writer without a reader.
//! * [`files`]: private files that follow no link, reserved space.
//! * [`identity`]: this machine, this boot, this user.
//! * [`lock`]: locks that end with their process.
//! * [`marked`]: counting and killing what carries a task's mark.
//! * [`poll`]: one sleep for many descriptors, edge-triggered, with a wake-up from other threads.
//! * [`proc`]: what `/proc` says of processes.
//! * [`process`]: starting a supervisor without copying the host's memory, and reaping it.
//! * [`removal`]: a directory goes, however deep it is, and no link leads out of it.
//! * [`scheduling`]: a thread that gives way to the one it serves; its children do not inherit that.
//! * [`signals`]: a thread that no signal reaches for a while.
//! * [`threads`]: threads of ours, and which one this is.
//! * [`tree`]: who lives below a process.
//! * [`vfork`]: a child that shares our memory until its exec.
//!
//! Only Linux is here; the JavaScript face answers `UNSUPPORTED_PLATFORM` elsewhere.

mod apart;
pub mod clock;
pub mod environment;
pub mod errno;
pub mod exit;
pub mod failpoint;
pub mod fifo;
pub mod files;
pub mod identity;
pub mod lock;
pub mod marked;
pub mod poll;
mod proc;
pub mod process;
pub mod removal;
pub mod scheduling;
mod signals;
pub mod threads;
pub mod tree;
mod vfork;

use std::io;

/// The outcome of a call that answers -1 and sets `errno`.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
