//! What is different on 64-bit ARM: how a call is made, the numbers, the flags, and the few functions that must be assembly.

use core::arch::{asm, global_asm};

pub(super) mod number {
    pub(in crate::sys) const GETCWD: usize = 17;
    pub(in crate::sys) const FCNTL: usize = 25;
    pub(in crate::sys) const UNLINKAT: usize = 35;
    pub(in crate::sys) const LINKAT: usize = 37;
    pub(in crate::sys) const FALLOCATE: usize = 47;
    pub(in crate::sys) const FCHDIR: usize = 50;
    pub(in crate::sys) const OPENAT: usize = 56;
    pub(in crate::sys) const CLOSE: usize = 57;
    pub(in crate::sys) const PIPE2: usize = 59;
    pub(in crate::sys) const GETDENTS64: usize = 61;
    pub(in crate::sys) const LSEEK: usize = 62;
    pub(in crate::sys) const READ: usize = 63;
    pub(in crate::sys) const WRITE: usize = 64;
    pub(in crate::sys) const PREAD: usize = 67;
    pub(in crate::sys) const PWRITE: usize = 68;
    pub(in crate::sys) const PPOLL: usize = 73;
    pub(in crate::sys) const SIGNALFD4: usize = 74;
    pub(in crate::sys) const READLINKAT: usize = 78;
    pub(in crate::sys) const FSTAT: usize = 80;
    pub(in crate::sys) const FDATASYNC: usize = 83;
    pub(in crate::sys) const SYNC_FILE_RANGE: usize = 84;
    pub(in crate::sys) const EXIT_GROUP: usize = 94;
    pub(in crate::sys) const WAITID: usize = 95;
    pub(in crate::sys) const SETITIMER: usize = 103;
    pub(in crate::sys) const PTRACE: usize = 117;
    pub(in crate::sys) const SCHED_YIELD: usize = 124;
    pub(in crate::sys) const CLOCK_GETTIME: usize = 113;
    pub(in crate::sys) const KILL: usize = 129;
    pub(in crate::sys) const RT_SIGACTION: usize = 134;
    pub(in crate::sys) const RT_SIGPROCMASK: usize = 135;
    pub(in crate::sys) const GETPGID: usize = 155;
    pub(in crate::sys) const SETSID: usize = 157;
    pub(in crate::sys) const UMASK: usize = 166;
    pub(in crate::sys) const PRCTL: usize = 167;
    pub(in crate::sys) const GETPID: usize = 172;
    pub(in crate::sys) const GETPPID: usize = 173;
    pub(in crate::sys) const MUNMAP: usize = 215;
    pub(in crate::sys) const EXECVE: usize = 221;
    pub(in crate::sys) const MMAP: usize = 222;
    pub(in crate::sys) const WAIT4: usize = 260;
    pub(in crate::sys) const PRLIMIT64: usize = 261;
    pub(in crate::sys) const PIDFD_SEND_SIGNAL: usize = 424;
    pub(in crate::sys) const CLOSE_RANGE: usize = 436;
}

/// How `/proc/<pid>/syscall` begins for who sleeps in rt_sigtimedwait; the latter two for programs of 32 bits.
pub(crate) const IN_SIGWAIT: [&[u8]; 3] = [b"137 ", b"177 ", b"421 "];
pub(super) const O_DIRECTORY: usize = 0o40_000;
pub(super) const O_NOFOLLOW: usize = 0o100_000;

/// One system call: a value, or an error number below zero.
///
/// # Safety
/// The arguments must be what this call takes, and every address among them valid for what the call does with it.
pub(super) unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: the caller vouches for the arguments; the kernel changes x0 and no other register.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") arguments[0] as isize => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            options(nostack),
        )
    };
    result
}

// The kernel enters with the argument vector at the stack pointer, which is aligned, and no return address.
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {begin}",
    "brk #1",
    begin = sym super::begin,
);

global_asm!(include_str!("../../../protocol/asm/vfork-aarch64.s"));

// The compiler calls these by name. As assembly, because it would turn a loop in Rust back into a call of the same name.
global_asm!(
    ".globl memcpy",
    "memcpy:",
    "mov x3, x0",
    "2: cbz x2, 3f",
    "ldrb w4, [x1], #1",
    "strb w4, [x3], #1",
    "sub x2, x2, #1",
    "b 2b",
    "3: ret",
    ".globl memmove",
    "memmove:",
    "sub x3, x0, x1",
    "cmp x3, x2",
    "b.hs memcpy",
    "2: cbz x2, 3f",
    "sub x2, x2, #1",
    "ldrb w4, [x1, x2]",
    "strb w4, [x0, x2]",
    "b 2b",
    "3: ret",
    ".globl memset",
    "memset:",
    "mov x3, x0",
    "2: cbz x2, 3f",
    "strb w1, [x3], #1",
    "sub x2, x2, #1",
    "b 2b",
    "3: ret",
);
