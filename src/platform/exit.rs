//! The end of this process by `exit`.

use std::panic;
use std::process;
use std::sync::OnceLock;

/// Whose end is meant, and what is done then.
static LAST: OnceLock<(u32, fn())> = OnceLock::new();

/// Has `last` called when this process exits, and before this library is unloaded. There is one such function.
pub fn at_exit(last: fn()) {
    LAST.get_or_init(|| {
        // SAFETY: the function lives as long as this library, whose handlers run before it is unloaded.
        // Out of memory for it, the end is as sudden as one by a signal.
        let _ = unsafe { libc::atexit(run) };
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
