//! A child that shares our memory until its exec, so that nothing of the host's is copied, however large it is.
//!
//! Not by the C library's `clone`: that of glibc before 2.25 makes the thread that calls it forget its own number, and nobody
//! can join it any more.

use std::arch::global_asm;
use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;

use super::signals;

#[cfg(target_arch = "x86_64")]
global_asm!(include_str!("../../protocol/asm/vfork-x86_64.s"));
#[cfg(target_arch = "aarch64")]
global_asm!(include_str!("../../protocol/asm/vfork-aarch64.s"));

unsafe extern "C" {
    fn outlive_vfork(function: unsafe extern "C" fn(*const c_void) -> !, argument: *const c_void, stack_top: *mut u8) -> isize;
}

/// Starts a child that runs `child` and ends when that returns. This thread sleeps until its exec or its end, so what it changes must
/// be behind a `Cell` or an atomic. It must not allocate: another thread may have been doing so. It has every signal blocked.
pub(super) fn start(child: &dyn Fn()) -> io::Result<libc::pid_t> {
    const STACK: usize = 32 << 10;
    let mut stack = MaybeUninit::<[u8; STACK]>::uninit();
    let top = stack.as_mut_ptr().wrapping_add(1).map_addr(|address| address & !15);
    let argument: *const &dyn Fn() = &raw const child;
    let blocked = signals::block_all();
    // SAFETY: the stack is large enough and the child's alone; it and the closure live until the child needs them no more.
    let pid = unsafe { outlive_vfork(enter, argument.cast(), top.cast()) };
    drop(blocked);
    if pid < 0 { Err(io::Error::from_raw_os_error(pid.unsigned_abs() as i32)) } else { Ok(pid as libc::pid_t) }
}

/// # Safety
/// `child` is what [`start`] passed.
unsafe extern "C" fn enter(child: *const c_void) -> ! {
    // SAFETY: `start` sleeps with this reference on its stack.
    let child = unsafe { child.cast::<&dyn Fn()>().read() };
    child();
    // SAFETY: it ends the child alone, and runs nothing of the host's.
    unsafe { libc::_exit(127) }
}
