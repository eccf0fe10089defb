//! Every system call of the supervisor, and every unsafe block. There is no C library underneath: a call returns a value
//! or the kernel's error number, and nothing is retried here. All signals stay blocked, so no call is ever interrupted by one.
//!
//! * `x86_64`, `aarch64`: how a call is made, and the assembly.
//! * `memory`: fresh memory, and the functions that the compiler calls by name.
//! * `files`: open descriptors.
//! * `process`: processes, signals, clocks, sleep.
//! * `launch`: the way in from the kernel, and the way out into another program.
//!
//! `inline(never)` stands, here and in `proc`, where a copy for each caller would make the executable noticeably larger.

pub(crate) mod files;
pub(crate) mod launch;
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod machine;
pub(crate) mod memory;
pub(crate) mod process;

/// The kernel's error number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u32);

impl Errno {
    /// No such file.
    pub(crate) const ENOENT: Errno = Errno(2);
    /// No such process.
    pub(crate) const ESRCH: Errno = Errno(3);
    /// Input or output failed.
    pub(crate) const EIO: Errno = Errno(5);
    /// The arguments are too long.
    pub(crate) const E2BIG: Errno = Errno(7);
    /// No child.
    pub(crate) const ECHILD: Errno = Errno(10);
    /// No memory is left.
    pub(crate) const ENOMEM: Errno = Errno(12);
    /// The system has too many files open.
    pub(crate) const ENFILE: Errno = Errno(23);
    /// The disk is full.
    pub(crate) const ENOSPC: Errno = Errno(28);
    /// The user's share of the disk is full.
    pub(crate) const EDQUOT: Errno = Errno(122);
    /// A name is too long.
    pub(crate) const ENAMETOOLONG: Errno = Errno(36);

    /// Of something that there may be more of later.
    pub(crate) fn is_shortage(self) -> bool {
        self.is_full_disk() || matches!(self, Errno::ENOMEM | Errno::ENFILE)
    }

    /// Nothing more can be written, by anybody.
    pub(crate) fn is_full_disk(self) -> bool {
        matches!(self, Errno::ENOSPC | Errno::EDQUOT)
    }
}

/// What a system call gives.
pub(crate) type Result<T> = core::result::Result<T, Errno>;

/// For a result that changes nothing for the caller, who says why.
pub(crate) fn ignore<T>(_result: Result<T>) {}

/// A system call of which some argument is an address.
///
/// # Safety
/// Every address must be valid for what the kernel does with it.
unsafe fn call(number: usize, arguments: [usize; 6]) -> Result<usize> {
    // SAFETY: the caller vouches for the arguments.
    let result = unsafe { machine::call(number, arguments) };
    if result < 0 { Err(Errno(result.unsigned_abs() as u32)) } else { Ok(result as usize) }
}

/// A system call that takes numbers only.
fn plain(number: usize, arguments: [usize; 4]) -> Result<usize> {
    let [first, second, third, fourth] = arguments;
    // SAFETY: no argument is an address and this module passes no call that unmaps memory, so no memory of ours changes.
    unsafe { call(number, [first, second, third, fourth, 0, 0]) }
}

/// A descriptor or a small negative constant as the kernel takes it.
fn number(value: i32) -> usize {
    value as isize as usize
}

/// Where the kernel's entry point leads.
///
/// # Safety
/// `stack` is the stack pointer as the kernel set it at the start of the process.
unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: the caller hands on the pointer that the kernel gave it.
    let arguments = unsafe { launch::Arguments::read(stack) };
    process::exit(crate::main(&arguments))
}
