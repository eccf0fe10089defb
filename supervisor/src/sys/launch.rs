//! The way in: the arguments as the kernel left them on the stack. The way out: a child that shares our memory until its
//! exec, so that nothing is copied.

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;

use super::machine::number;
use super::{Errno, Result, call, files, ignore, process};
use crate::failpoint;

/// The arguments and the environment of this process.
pub(crate) struct Arguments {
    count: usize,
    first: *const *const c_char,
}

impl Arguments {
    /// # Safety
    /// `stack` is the stack pointer as the kernel set it at the start of the process.
    pub(crate) unsafe fn read(stack: *const usize) -> Arguments {
        // SAFETY: the number of arguments stands at the stack pointer.
        let arguments = Arguments { count: unsafe { stack.read() }, first: stack.wrapping_add(1).cast() };
        #[cfg(feature = "failpoints")]
        birth::note(arguments.environment());
        arguments
    }

    /// One argument; the program's name is number 0.
    pub(crate) fn get(&self, index: usize) -> Option<&'static CStr> {
        if index >= self.count {
            return None;
        }
        // SAFETY: there are `count` pointers from `first` on, for the life of the process.
        let argument = unsafe { self.first.wrapping_add(index).read() };
        // SAFETY: each points to a text with a NUL, which nobody changes.
        Some(unsafe { CStr::from_ptr(argument) })
    }

    /// The environment, to be handed on.
    pub(crate) fn environment(&self) -> Environment {
        Environment(self.first.wrapping_add(self.count).wrapping_add(1))
    }
}

/// The environment that this process was started with.
#[derive(Clone, Copy)]
pub(crate) struct Environment(*const *const c_char);

#[cfg(feature = "failpoints")]
pub(crate) use birth::{supervisor, variable};

/// What failpoints ask about, wherever they stand.
#[cfg(feature = "failpoints")]
mod birth {
    use core::ffi::{CStr, c_char};
    use core::ptr;
    use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

    use super::{Environment, process};

    static ENVIRONMENT: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());
    static SUPERVISOR: AtomicU32 = AtomicU32::new(0);

    pub(super) fn note(environment: Environment) {
        ENVIRONMENT.store(environment.0.cast_mut(), Ordering::Relaxed);
        SUPERVISOR.store(process::id(), Ordering::Relaxed);
    }

    /// The process id of the supervisor, also in the child that has its memory.
    pub(crate) fn supervisor() -> u32 {
        SUPERVISOR.load(Ordering::Relaxed)
    }

    /// What a variable of the environment says.
    pub(crate) fn variable(name: &str) -> Option<&'static CStr> {
        let mut next = ENVIRONMENT.load(Ordering::Relaxed).cast_const();
        loop {
            // SAFETY: noted before anything else ran; the list ends with a null pointer, which ends the loop.
            let entry = unsafe { next.read() };
            if entry.is_null() {
                return None;
            }
            // SAFETY: each points to a text with a NUL, which nobody changes.
            let entry = unsafe { CStr::from_ptr(entry) }.to_bytes_with_nul();
            if let Some(value) = entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
                return CStr::from_bytes_with_nul(value).ok();
            }
            next = next.wrapping_add(1);
        }
    }
}

/// One argument for [`execute`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Argument<'a>(*const c_char, PhantomData<&'a CStr>);

impl<'a> Argument<'a> {
    /// The end of the arguments.
    pub(crate) const END: Argument<'static> = Argument(core::ptr::null(), PhantomData);

    /// A text.
    pub(crate) fn new(text: &'a CStr) -> Argument<'a> {
        Argument(text.as_ptr(), PhantomData)
    }
}

/// Becomes another program. Returns only when that failed.
pub(crate) fn execute(program: &CStr, arguments: &[Argument<'_>], environment: Environment) -> Errno {
    if arguments.last().is_none_or(|last| !last.0.is_null()) {
        return Errno::E2BIG;
    }
    let addresses = [program.as_ptr() as usize, arguments.as_ptr() as usize, environment.0 as usize];
    // SAFETY: texts with a NUL, and two lists that end with a null pointer: one was checked, one is the kernel's own.
    let failed = unsafe { call(number::EXECVE, [addresses[0], addresses[1], addresses[2], 0, 0, 0]) };
    failed.err().unwrap_or(Errno::EIO)
}

unsafe extern "C" {
    fn outlive_vfork(function: unsafe extern "C" fn(*const c_void) -> !, argument: *const c_void, stack_top: *mut u8) -> isize;
}

/// Starts a child that runs `child` on a stack of its own and in our memory, and ends when `child` returns: the reason why it
/// became no other program, which we return. We sleep until its exec or its end, so nothing runs at the same time; what it
/// changes must be behind a `Cell` or an atomic.
///
/// The reason comes in two ways. A pipe that an exec closes takes memory, which may be the very thing that is wanting; and through our
/// own memory nothing comes from an emulator of single processes, which makes a copy of us instead, and does not let us sleep.
pub(crate) fn spawn(child: &dyn Fn() -> Errno, stack: &mut [u8]) -> Result<u32> {
    let [told, tell] = files::pipe()?;
    let reason = Cell::new([0; size_of::<u32>()]);
    let fail = || {
        reason.set(child().0.to_ne_bytes());
        let told = failpoint::pass("supervisor.before_reason").and_then(|()| files::write(tell.number(), &reason.get()));
        ignore(told);
    };
    let pid = vfork(&fail, stack)?;
    drop(tell);
    let mut read = [0; size_of::<u32>()];
    let is_told = files::read(told.number(), &mut read)? > 0;
    match u32::from_ne_bytes(if is_told { read } else { reason.get() }) {
        0 => Ok(pid),
        reason => Err(Errno(reason)),
    }
}

fn vfork(child: &dyn Fn(), stack: &mut [u8]) -> Result<u32> {
    let end = stack.as_mut_ptr_range().end;
    let top = end.map_addr(|address| address & !15);
    let argument: *const &dyn Fn() = &raw const child;
    // SAFETY: the stack is ours and large enough, the closure outlives the child's use of our memory, and no signal handler exists.
    let pid = unsafe { outlive_vfork(enter, argument.cast(), top) };
    if pid < 0 { Err(Errno(pid.unsigned_abs() as u32)) } else { Ok(pid as u32) }
}

/// # Safety
/// `child` is what [`vfork`] passed.
unsafe extern "C" fn enter(child: *const c_void) -> ! {
    // SAFETY: `vfork` sleeps with this reference on its stack.
    let child = unsafe { child.cast::<&dyn Fn()>().read() };
    child();
    process::exit(127)
}
