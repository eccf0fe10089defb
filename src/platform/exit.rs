//! The end of this process by `exit`, or by `quick_exit`, which is how Bun ends.

use std::panic;
use std::process;
use std::sync::OnceLock;

use libc::c_int;

unsafe extern "C" {
    /// Of C11. The `libc` crate has it for other systems only.
    fn at_quick_exit(function: extern "C" fn()) -> c_int;
}

/// Whose end is meant, and what is done then.
static LAST: OnceLock<(u32, fn())> = OnceLock::new();

/// Has `last` called when this process exits, in either way, and before this library is unloaded. There is one such function.
pub fn at_exit(last: fn()) {
    LAST.get_or_init(|| {
        // SAFETY: the function lives as long as this library, whose handlers run before it is unloaded.
        // Out of memory for it, the end is as sudden as one by a signal.
        let _ = unsafe { libc::atexit(run) };
        // SAFETY: the same; of these, what an unloaded library leaves is not called.
        let _ = unsafe { at_quick_exit(run) };
        (process::id(), last)
    });
}

extern "C" fn run() {
    // A child that was forked and runs no other program exits too, and has none of our threads.
    if let Some((pid, last)) = LAST.get()
        && *pid == process::id()
    {
        // Nobody is left who could be told of a defect.
        drop(panic::catch_unwind(last));
    }
}
