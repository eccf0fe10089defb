//! The scheduler's view of our thread. It wakes beside the JavaScript thread that it serves, and under `SCHED_BATCH` it never
//! takes that one's processor away. Children inherit a policy, and a command must not run under one that nobody chose for it.

use std::cell::Cell;
use std::mem::MaybeUninit;

use super::check;

/// The kernel is asked directly: musl's functions refuse without asking it.
const THIS_THREAD: libc::pid_t = 0;

thread_local! {
    static IS_BATCH: Cell<bool> = const { Cell::new(false) };
}

/// Makes the calling thread give way, unless somebody has chosen a policy for the host.
pub fn give_way() {
    // SAFETY: a plain system call; 0 is the calling thread.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, THIS_THREAD) };
    IS_BATCH.set(policy == libc::c_long::from(libc::SCHED_OTHER) && set(libc::SCHED_BATCH));
}

/// In a child that the calling thread has started: its policy is the host's again, for its own children to inherit.
pub(super) fn restore_host_policy() {
    if IS_BATCH.get() {
        set(libc::SCHED_OTHER);
    }
}

/// A refusal costs latency, and nothing else.
fn set(policy: libc::c_int) -> bool {
    // The kernel's `struct sched_param`. musl's own is larger.
    let priority: libc::c_int = 0;
    // SAFETY: the kernel reads `priority`, which lives across the call.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, THIS_THREAD, policy, &raw const priority) == 0 }
}

/// How many processors this thread may use, at least one.
pub fn processors() -> usize {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the kernel writes no more than `set` has.
    let outcome = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
    if check(outcome).is_err() {
        // More than a set of this size can say.
        return 1;
    }
    // SAFETY: it was zeroed and then filled in.
    let set = unsafe { set.assume_init() };
    // SAFETY: it only reads `set`.
    let count = unsafe { libc::CPU_COUNT(&set) };
    (count as usize).max(1)
}
