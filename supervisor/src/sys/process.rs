//! Processes, signals, clocks, sleep.

use outlive_protocol::names;

use super::files::File;
pub(crate) use super::machine::IN_SIGWAIT;
use super::machine::number;
use super::{Errno, Result, call, ignore, number, plain};

const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGQUIT: u8 = 3;
/// A breakpoint, or an exec of who is traced.
const SIGTRAP: u8 = 5;
/// Ends whatever gets it.
pub(crate) const SIGKILL: u8 = 9;
/// The time of [`alarm`] has come.
const SIGALRM: u8 = 14;
/// Please end.
pub(crate) const SIGTERM: u8 = 15;
/// A child changed its state.
pub(crate) const SIGCHLD: u8 = 17;
/// Go on.
pub(crate) const SIGCONT: u8 = 18;
/// From one supervisor to another. One of the real-time signals, which no caller of `kill` can name.
pub(crate) const TIME_IS_OVER: u8 = 64;
/// Something was written in the task directory.
pub(crate) const SIGIO: u8 = 29;
const LAST_SIGNAL: u8 = 64;

/// A moment or a pause that does not come to its end.
pub(crate) const NEVER: u64 = u64::MAX;
/// Nanoseconds in a millisecond.
pub(crate) const NS_PER_MS: u64 = 1_000_000;

const WNOHANG: usize = 1;
const WEXITED: usize = 4;
const WNOWAIT: usize = 0x0100_0000;
const CLD_EXITED: u32 = 1;
const CLD_DUMPED: u32 = 3;
/// Children of every kind, whatever signal announces their end.
const WALL: usize = 0x4000_0000;

/// Ends this process.
pub(crate) fn exit(code: u8) -> ! {
    loop {
        ignore(plain(number::EXIT_GROUP, [usize::from(code), 0, 0, 0]));
    }
}

/// This process's id.
pub(crate) fn id() -> u32 {
    plain(number::GETPID, [0; 4]).unwrap_or(0) as u32
}

/// The parent's process id.
pub(crate) fn parent() -> u32 {
    plain(number::GETPPID, [0; 4]).unwrap_or(0) as u32
}

/// The group of a process, `0` for this one.
pub(crate) fn group_of(pid: i32) -> Result<i32> {
    plain(number::GETPGID, [number(pid), 0, 0, 0]).map(|group| group as i32)
}

/// A session and a group of its own, without a terminal.
pub(crate) fn new_session() -> Result<()> {
    plain(number::SETSID, [0; 4]).map(drop)
}

/// The kernel calls this process by its first argument, whatever its executable is called.
pub(crate) fn take_name() -> Result<()> {
    const PR_SET_NAME: usize = 15;
    // SAFETY: the kernel reads up to a NUL, and there is one.
    unsafe { call(number::PRCTL, [PR_SET_NAME, names::SUPERVISOR.as_ptr() as usize, 0, 0, 0, 0]) }.map(drop)
}

/// Descendants whose parent dies become children of this process.
pub(crate) fn adopt_orphans() -> Result<()> {
    const PR_SET_CHILD_SUBREAPER: usize = 36;
    plain(number::PRCTL, [PR_SET_CHILD_SUBREAPER, 1, 0, 0]).map(drop)
}

/// SIGKILL for this process when its parent dies.
pub(crate) fn die_with_parent() -> Result<()> {
    const PR_SET_PDEATHSIG: usize = 1;
    plain(number::PRCTL, [PR_SET_PDEATHSIG, usize::from(SIGKILL), 0, 0]).map(drop)
}

/// Lets whom we have just woken run before we go on: the kernel has put them onto our processor, for a writer to a FIFO
/// mostly sleeps next.
pub(crate) fn give_way() {
    ignore(plain(number::SCHED_YIELD, [0; 4]));
}

/// Signals a process, or a group when the number is negative. An error means that nobody was there to get it.
pub(crate) fn signal(target: i32, signal: u8) {
    ignore(plain(number::KILL, [number(target), usize::from(signal), 0, 0]));
}

/// Signals the process whose directory in `/proc` this is, or nobody: not who has its number when it is gone. Since Linux 5.1.
pub(crate) fn signal_held(directory: &File, signal: u8) -> Result<()> {
    const NO_INFO: usize = 0;
    plain(number::PIDFD_SEND_SIGNAL, [number(directory.number()), usize::from(signal), NO_INFO, 0]).map(drop)
}

/// Whether a signal of ours would reach a process that is there, or anybody in a group: none does one that has become another user's,
/// or that a security module keeps from us: AppArmor and SELinux say EACCES.
pub(crate) fn may_signal(target: i32) -> bool {
    matches!(plain(number::KILL, [number(target), 0, 0, 0]), Ok(_) | Err(Errno::ESRCH))
}

/// How a child ended.
#[derive(Clone, Copy)]
pub(crate) struct Exit {
    pub(crate) pid: u32,
    /// The code that it exited with, or the signal that ended it.
    pub(crate) how: How,
    pub(crate) max_rss_bytes: u64,
    pub(crate) cpu_ms: u64,
}

#[derive(Clone, Copy)]
pub(crate) enum How {
    Code(u8),
    Signal(u8),
}

/// Takes one child that has ended. `None`: all children live; an error: there are no children.
pub(crate) fn reap() -> Result<Option<Exit>> {
    reap_one(-1)
}

/// How many children that ask to be traced are let go in a row.
const MAX_LET_GO: usize = 64;

/// Takes this child if it has ended. An error: it is no child of ours.
pub(crate) fn reap_one(pid: i32) -> Result<Option<Exit>> {
    let mut status = 0i32;
    // Seconds and microseconds of user time, the same of system time, the largest resident set in KiB, and more.
    let mut usage = [0u64; 18];
    let arguments = [number(pid), &raw mut status as usize, WNOHANG | WALL, usage.as_mut_ptr() as usize, 0, 0];
    let mut stops = 0..MAX_LET_GO;
    let child = loop {
        // SAFETY: the kernel writes one int and one `struct rusage`, for which there is room.
        let child = unsafe { call(number::WAIT4, arguments) }?;
        match stopped_for_us(status) {
            Some(signal) if child != 0 => let_go(child, signal),
            _ => break child,
        }
        if stops.next().is_none() {
            // They may stop again and again. Orders and deadlines have their turn, and then this goes on.
            signal(id() as i32, SIGCHLD);
            return Ok(None);
        }
    };
    let signal = (status & 0x7f) as u8;
    let seconds = usage[0].saturating_add(usage[2]);
    Ok((child != 0).then_some(Exit {
        pid: child as u32,
        how: if signal == 0 { How::Code((status >> 8) as u8) } else { How::Signal(signal) },
        max_rss_bytes: usage[4].saturating_mul(1024),
        cpu_ms: seconds.saturating_mul(1000).saturating_add(usage[1].saturating_add(usage[3]) / 1000),
    }))
}

/// A child that has asked to be traced (`PTRACE_TRACEME`) stops before each signal, and that is no end. The signal.
fn stopped_for_us(status: i32) -> Option<u8> {
    (status & 0xff == 0x7f).then_some((status >> 8) as u8)
}

/// We trace nobody: it goes on as if it had not asked, with the signal that it has stopped for.
fn let_go(child: usize, signal: u8) {
    const PTRACE_DETACH: usize = 17;
    let signal = if signal == SIGTRAP && is_of_an_exec(child) { 0 } else { signal };
    // Somebody may have killed it since.
    ignore(plain(number::PTRACE, [PTRACE_DETACH, child, 0, usize::from(signal)]));
}

/// An exec sends who asked to be traced a signal from itself that is meant for who traces, and would end the program.
fn is_of_an_exec(child: usize) -> bool {
    const PTRACE_GETSIGINFO: usize = 0x4202;
    const SI_USER: u32 = 0;
    // `siginfo_t`: the signal, an error, the code, a gap, the sender.
    let mut info = [0u32; 32];
    let arguments = [PTRACE_GETSIGINFO, child, 0, info.as_mut_ptr() as usize, 0, 0];
    // SAFETY: the kernel writes one `siginfo_t`, for which there is room.
    let asked = unsafe { call(number::PTRACE, arguments) };
    asked.is_err() || (info[2], info[4]) == (SI_USER, child as u32)
}

/// Does the system let us wait, signal and read the clock at all? A filter of system calls may not, and then some end, order
/// or deadline would never come. To be asked before there is a child.
pub(crate) fn can_watch() -> Result<()> {
    const P_ALL: usize = 0;
    const NO_FILE: i32 = -1;
    for answer in [reap().map(drop), peek(P_ALL, 0).map(drop), poll([NO_FILE; 2], 0).map(drop)] {
        match answer {
            Ok(()) | Err(Errno::ECHILD) => {}
            Err(refused) => return Err(refused),
        }
    }
    clock(CLOCK_MONOTONIC)?;
    // Nothing is sent with number 0, and nobody is refused himself.
    plain(number::KILL, [id() as usize, 0, 0, 0]).map(drop)
}

/// Has this child ended? It stays where it is. An error: it is no child of ours.
pub(crate) fn has_ended(pid: u32) -> Result<bool> {
    const P_PID: usize = 1;
    peek(P_PID, pid)
}

/// Does this group have a member that is an unreaped child of ours? Then the group's number belongs to nobody else. True when
/// such a child has ended; an error: there is none.
pub(crate) fn group_has_ended(group: u32) -> Result<bool> {
    const P_PGID: usize = 2;
    peek(P_PGID, group)
}

fn peek(kind: usize, id: u32) -> Result<bool> {
    // `siginfo_t`; its third int says what has happened.
    let mut info = [0u32; 32];
    let arguments = [kind, id as usize, info.as_mut_ptr() as usize, WNOHANG | WEXITED | WNOWAIT | WALL, 0, 0];
    // SAFETY: the kernel writes one `siginfo_t` of 128 bytes.
    unsafe { call(number::WAITID, arguments) }?;
    // A traced child tells of its stops too, asked or not.
    Ok(matches!(info[2], CLD_EXITED..=CLD_DUMPED))
}

/// No signal but SIGKILL and SIGSTOP interrupts this process from now on.
pub(crate) fn block_signals() {
    set_mask(u64::MAX);
}

/// Every signal does what it does by default, and none is blocked: what a program expects at its start.
pub(crate) fn default_signals() {
    for signal in 1..=LAST_SIGNAL {
        default_signal(signal);
    }
    set_mask(0);
}

/// The signal does what it does by default.
pub(crate) fn default_signal(signal: u8) {
    // `struct sigaction` of zeroes: SIG_DFL, no flags.
    let action = [0u64; 4];
    let arguments = [usize::from(signal), action.as_ptr() as usize, 0, size_of::<u64>(), 0, 0];
    // SAFETY: the kernel reads one `struct sigaction`; no handler is installed.
    let set = unsafe { call(number::RT_SIGACTION, arguments) };
    // SIGKILL and SIGSTOP cannot be set and are at their default.
    ignore(set);
}

fn set_mask(mask: u64) {
    const SIG_SETMASK: usize = 2;
    let arguments = [SIG_SETMASK, &raw const mask as usize, 0, size_of::<u64>(), 0, 0];
    // SAFETY: the kernel reads one 64-bit mask.
    let set = unsafe { call(number::RT_SIGPROCMASK, arguments) };
    // It fails for wrong arguments only.
    ignore(set);
}

/// Those that people end a program with.
pub(crate) const ENDING: [u8; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// A descriptor from which SIGCHLD, SIGIO, SIGALRM, [`TIME_IS_OVER`] and those of [`ENDING`] are read.
pub(crate) fn signal_file() -> Result<File> {
    const CLOSE_ON_EXEC_NON_BLOCKING: usize = 0x8_0800;
    let others = bit(SIGCHLD) | bit(SIGIO) | bit(SIGALRM) | bit(TIME_IS_OVER);
    let mask = ENDING.iter().fold(others, |mask, signal| mask | bit(*signal));
    let arguments = [usize::MAX, &raw const mask as usize, size_of::<u64>(), CLOSE_ON_EXEC_NON_BLOCKING, 0, 0];
    // SAFETY: the kernel reads one 64-bit mask.
    unsafe { call(number::SIGNALFD4, arguments) }.map(|file| File::owning(file as i32))
}

/// A signal that has come, and the process that sent it; 0 where that is the kernel.
pub(crate) type Sent = (u8, u32);

/// Takes the signals that have come. There is room for one of each, and what is left comes with the next look; a place without one has
/// number 0.
pub(crate) fn take_signals(file: &File) -> [Sent; 8] {
    // `struct signalfd_siginfo` has 128 bytes; the number stands first, the sender behind two others.
    let mut infos = [[0u32; 32]; 8];
    let arguments = [number(file.number()), infos.as_mut_ptr() as usize, size_of_val(&infos), 0, 0, 0];
    // SAFETY: the kernel writes at most the size of `infos`.
    let read = unsafe { call(number::READ, arguments) };
    // Nothing was written then.
    ignore(read.map(drop));
    infos.map(|info| (info[0] as u8, info[3]))
}

/// A signal's place in a mask.
pub(crate) fn bit(signal: u8) -> u64 {
    1u64.checked_shl(u32::from(signal).wrapping_sub(1)).unwrap_or(0)
}

const CLOCK_REALTIME: usize = 0;
const CLOCK_MONOTONIC: usize = 1;

/// Nanoseconds since some moment before, unmoved by steps of the wall clock.
#[inline(never)]
pub(crate) fn monotonic_ns() -> u64 {
    let [seconds, nanoseconds] = clock(CLOCK_MONOTONIC).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Milliseconds since 1970 by the wall clock.
#[inline(never)]
pub(crate) fn unix_ms() -> u64 {
    let [seconds, nanoseconds] = clock(CLOCK_REALTIME).unwrap_or_default();
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}

/// Both clocks always exist; only a filter of system calls can refuse them.
fn clock(which: usize) -> Result<[u64; 2]> {
    let mut time = [0i64; 2];
    // SAFETY: the kernel writes one `struct timespec`, two 64-bit numbers.
    unsafe { call(number::CLOCK_GETTIME, [which, time.as_mut_ptr() as usize, 0, 0, 0, 0]) }?;
    Ok(time.map(|part| part.max(0) as u64))
}

/// Ends a sleep at this distance, also one in which this process was stopped or frozen: the kernel then goes on with the
/// rest of a sleep, whatever time has passed. In place of the alarm before; [`NEVER`]: none.
pub(crate) fn alarm(nanoseconds: u64) {
    const ITIMER_REAL: usize = 0;
    let microseconds = if nanoseconds == NEVER { 0 } else { nanoseconds / 1000 + 1 };
    let once = [0, 0, microseconds / 1_000_000, microseconds % 1_000_000];
    // SAFETY: the kernel reads one `struct itimerval`, four 64-bit numbers.
    let set = unsafe { call(number::SETITIMER, [ITIMER_REAL, once.as_ptr() as usize, 0, 0, 0, 0]) };
    // Without it a sleep is as long as what is left of it.
    ignore(set);
}

#[repr(C)]
struct Poll {
    file: i32,
    events: i16,
    ready: i16,
}

/// Sleeps until one of two descriptors can be read or the time is over, and tells which can. [`NEVER`]: for ever.
pub(crate) fn sleep(files: [i32; 2], nanoseconds: u64) -> [bool; 2] {
    // After an error nothing is ready, and the caller looks again.
    poll(files, nanoseconds).unwrap_or_default()
}

/// Sleeps.
pub(crate) fn pause(nanoseconds: u64) {
    ignore(poll([-1; 2], nanoseconds).map(|_| ()));
}

fn poll(files: [i32; 2], nanoseconds: u64) -> Result<[bool; 2]> {
    const POLLIN: i16 = 1;
    let mut polls = files.map(|file| Poll { file, events: POLLIN, ready: 0 });
    let mut time = [nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000];
    let time_address = if nanoseconds == NEVER { 0 } else { &raw mut time as usize };
    let arguments = [polls.as_mut_ptr() as usize, polls.len(), time_address, 0, 0, 0];
    // SAFETY: the kernel reads and writes two `struct pollfd`, and one `struct timespec` if there is one.
    unsafe { call(number::PPOLL, arguments) }?;
    Ok(polls.map(|poll| poll.ready != 0))
}
