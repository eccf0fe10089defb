//! What is different on x86-64: how a call is made, the numbers, the flags, and the few functions that must be assembly.

use core::arch::{asm, global_asm};

pub(super) mod number {
    pub(in crate::sys) const READ: usize = 0;
    pub(in crate::sys) const WRITE: usize = 1;
    pub(in crate::sys) const CLOSE: usize = 3;
    pub(in crate::sys) const FSTAT: usize = 5;
    pub(in crate::sys) const LSEEK: usize = 8;
    pub(in crate::sys) const MMAP: usize = 9;
    pub(in crate::sys) const MUNMAP: usize = 11;
    pub(in crate::sys) const RT_SIGACTION: usize = 13;
    pub(in crate::sys) const RT_SIGPROCMASK: usize = 14;
    pub(in crate::sys) const PREAD: usize = 17;
    pub(in crate::sys) const PWRITE: usize = 18;
    pub(in crate::sys) const SETITIMER: usize = 38;
    pub(in crate::sys) const GETPID: usize = 39;
    pub(in crate::sys) const EXECVE: usize = 59;
    pub(in crate::sys) const WAIT4: usize = 61;
    pub(in crate::sys) const KILL: usize = 62;
    pub(in crate::sys) const FCNTL: usize = 72;
    pub(in crate::sys) const FDATASYNC: usize = 75;
    pub(in crate::sys) const GETCWD: usize = 79;
    pub(in crate::sys) const FCHDIR: usize = 81;
    pub(in crate::sys) const UMASK: usize = 95;
    pub(in crate::sys) const PTRACE: usize = 101;
    pub(in crate::sys) const GETPPID: usize = 110;
    pub(in crate::sys) const SETSID: usize = 112;
    pub(in crate::sys) const GETPGID: usize = 121;
    pub(in crate::sys) const PRCTL: usize = 157;
    pub(in crate::sys) const GETDENTS64: usize = 217;
    pub(in crate::sys) const CLOCK_GETTIME: usize = 228;
    pub(in crate::sys) const EXIT_GROUP: usize = 231;
    pub(in crate::sys) const WAITID: usize = 247;
    pub(in crate::sys) const SCHED_YIELD: usize = 24;
    pub(in crate::sys) const OPENAT: usize = 257;
    pub(in crate::sys) const UNLINKAT: usize = 263;
    pub(in crate::sys) const LINKAT: usize = 265;
    pub(in crate::sys) const READLINKAT: usize = 267;
    pub(in crate::sys) const PPOLL: usize = 271;
    pub(in crate::sys) const SYNC_FILE_RANGE: usize = 277;
    pub(in crate::sys) const FALLOCATE: usize = 285;
    pub(in crate::sys) const SIGNALFD4: usize = 289;
    pub(in crate::sys) const PIPE2: usize = 293;
    pub(in crate::sys) const PRLIMIT64: usize = 302;
    pub(in crate::sys) const PIDFD_SEND_SIGNAL: usize = 424;
    pub(in crate::sys) const CLOSE_RANGE: usize = 436;
}

/// How `/proc/<pid>/syscall` begins for who sleeps in rt_sigtimedwait; the latter two for programs of 32 bits.
pub(crate) const IN_SIGWAIT: [&[u8]; 3] = [b"128 ", b"177 ", b"421 "];
pub(super) const O_DIRECTORY: usize = 0o200_000;
pub(super) const O_NOFOLLOW: usize = 0o400_000;

/// One system call: a value, or an error number below zero.
///
/// # Safety
/// The arguments must be what this call takes, and every address among them valid for what the call does with it.
pub(super) unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let result;
    // SAFETY: the caller vouches for the arguments; the kernel changes rax, rcx and r11 and no other register.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        )
    };
    result
}

// The kernel enters with the argument vector at the stack pointer and no return address.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {begin}",
    "ud2",
    begin = sym super::begin,
);

global_asm!(include_str!("../../../protocol/asm/vfork-x86_64.s"));

// The compiler calls these by name. As assembly, because it would turn a loop in Rust back into a call of the same name.
global_asm!(
    ".globl memcpy",
    "memcpy:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "rep movsb",
    "ret",
    ".globl memmove",
    "memmove:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "mov r8, rdi",
    "sub r8, rsi",
    "cmp r8, rdx",
    "jb 2f",
    "rep movsb",
    "ret",
    "2: lea rdi, [rdi + rdx - 1]",
    "lea rsi, [rsi + rdx - 1]",
    "std",
    "rep movsb",
    "cld",
    "ret",
    ".globl memset",
    "memset:",
    "mov r8, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
);
