//! The signal mask of a thread.

use std::ptr;

/// The kernel's set, one bit for each signal. The C library's functions leave out the two that it uses itself.
type Set = u64;

/// The mask that the calling thread had before [`block_all`], and has again when this is dropped.
pub(super) struct Blocked(Set);

/// No signal reaches the calling thread, nor a child that it starts.
pub(super) fn block_all() -> Blocked {
    let mut before = 0;
    set(&Set::MAX, &mut before);
    Blocked(before)
}

impl Drop for Blocked {
    fn drop(&mut self) {
        set(&self.0, ptr::null_mut());
    }
}

fn set(new: &Set, old: *mut Set) {
    // It cannot fail: both are sets of the right size, and the way is a known one.
    // SAFETY: the kernel reads one set, and writes another one unless `old` is null.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, ptr::from_ref(new), old, size_of::<Set>()) };
}
