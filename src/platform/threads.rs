//! Threads of ours, and which one this is.

use std::io;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Starts one. The standard library's way is made anew for each kind of closure, and is large; a boxed one is one kind.
pub fn start(name: &str, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    builder().name(name.to_owned()).spawn(run)
}

/// Who names no size has the standard library look for one in the environment, on whatever thread that is, while JavaScript may change it.
pub fn builder() -> Builder {
    Builder::new().stack_size(2 << 20)
}

/// Locks it, also where a thread has panicked that held it: what that left behind is still the best that is known.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this thread is the one that the process began with.
pub fn is_first() -> bool {
    // SAFETY: takes no argument and always succeeds. The C library's own wrapper is younger than the oldest one that we run on.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    thread == libc::c_long::from(process::id().cast_signed())
}
