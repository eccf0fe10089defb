//! Starting supervisors and reaping them.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Mutex;

use super::environment::Block;
use super::{check, scheduling, threads, vfork};

/// Supervisors whose registry has gone while they ran. They are reaped when the next one starts.
static UNREAPED: Mutex<Vec<libc::pid_t>> = Mutex::new(Vec::new());

/// What is executed.
pub enum Program {
    /// Whatever is found there.
    At(CString),
    /// This very file, wherever its name leads by now.
    Open(File),
}

/// A child of ours that waits to be reaped. Dropping it leaves the reaping to a later [`start`].
pub struct Child(libc::pid_t);

/// Starts an executable as `posix_spawn` does, without a copy of the host's page tables. The child has `fds` as its descriptors
/// from 0 up, and every signal blocked: one that a task sends to everybody cannot hit a supervisor that is starting.
///
/// Not with the C library's `posix_spawn`: it asks for the limit of descriptors twice for each of them, sets each signal's
/// disposition, which the supervisor does for its command, and maps a stack each time: a third of what the start costs.
pub fn start(program: &Program, arguments: &[CString], environment: &Block, fds: &[BorrowedFd<'_>]) -> io::Result<Child> {
    reap_leftovers();
    // An open program has a place as well, behind all that the child expects. It must not go with the exec: an emulator, to which the
    // kernel then gives the file, opens it once more.
    let behind = RawFd::try_from(fds.len()).expect("there are few places");
    let by_number;
    let (path, open) = match program {
        Program::At(path) => (path, None),
        Program::Open(file) => {
            by_number = CString::new(format!("/proc/self/fd/{behind}"))?;
            (&by_number, Some(file))
        }
    };
    let fds: Vec<BorrowedFd<'_>> = fds.iter().copied().chain(open.map(File::as_fd)).collect();
    let places = Places::new(&fds)?;
    let arguments = pointers(arguments.iter().map(CString::as_c_str));
    let environment = pointers(environment.lines());
    let plan = Plan {
        path,
        open: open.map(|_| behind),
        arguments: &arguments,
        environment: &environment,
        fds: &places.fds,
        refusal: Cell::new(None),
    };
    let pid = vfork::start(&|| plan.refusal.set(Some(become_supervisor(&plan))))?;
    match plan.refusal.take() {
        None => Ok(Child(pid)),
        Some(error) => {
            Child(pid).reap();
            Err(error)
        }
    }
}

impl Child {
    /// Waits for a child that is known to be exiting, and takes it out of the process table.
    pub fn reap(self) {
        let pid = self.0;
        std::mem::forget(self);
        // An error says that somebody else reaped it: the host ignores SIGCHLD or waits for any child.
        // SAFETY: a null status pointer is allowed, and the pid is that of our own unreaped child.
        while unsafe { libc::waitpid(pid, ptr::null_mut(), 0) } == -1
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        threads::lock(&UNREAPED).push(self.0);
    }
}

/// An executable in memory that nobody can change, for stores from which nothing can be executed.
pub fn sealed_executable(content: &[u8]) -> io::Result<File> {
    // MFD_EXEC must be said where vm.memfd_noexec asks for it, and is unknown before Linux 6.3.
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let fd = memfd(c"outlive-supervisor", flags | libc::MFD_EXEC).or_else(|_| memfd(c"outlive-supervisor", flags))?;
    // SAFETY: `fd` was just made and nobody else owns it.
    let mut file = unsafe { File::from_raw_fd(fd) };
    io::Write::write_all(&mut file, content)?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: a plain system call on a descriptor that we own.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(file)
}

/// Not through the C library: glibc before 2.27 lacks the function, and would then refuse to load the whole addon.
fn memfd(name: &CStr, flags: libc::c_uint) -> io::Result<libc::c_int> {
    // SAFETY: `name` is a C string that lives across the call.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) };
    check(libc::c_int::try_from(fd).expect("a descriptor is a c_int"))
}

fn reap_leftovers() {
    let mut unreaped = threads::lock(&UNREAPED);
    // 0: still running. The pid is gone, or was somebody's to reap, otherwise.
    // SAFETY: a null status pointer is allowed; the call does not wait.
    unreaped.retain(|pid| unsafe { libc::waitpid(*pid, ptr::null_mut(), libc::WNOHANG) } == 0);
}

/// The descriptors that a child is born with, in the order of their places.
struct Places {
    fds: Vec<RawFd>,
    /// Stand-ins for those that lie where another one goes.
    _raised: Vec<OwnedFd>,
}

impl Places {
    fn new(fds: &[BorrowedFd<'_>]) -> io::Result<Places> {
        let (mut numbers, mut raised) = (Vec::with_capacity(fds.len()), Vec::new());
        for fd in fds {
            if fd.as_raw_fd() as usize >= fds.len() {
                numbers.push(fd.as_raw_fd());
            } else {
                let stand_in = raise(fd, fds.len())?;
                numbers.push(stand_in.as_raw_fd());
                raised.push(stand_in);
            }
        }
        Ok(Places { fds: numbers, _raised: raised })
    }
}

/// Moves a descriptor above all places.
fn raise(fd: &BorrowedFd<'_>, places: usize) -> io::Result<OwnedFd> {
    // No higher than it must be: a host may have few descriptors, and a number beyond its limit is an invalid argument.
    // SAFETY: a plain system call on a borrowed, open descriptor.
    let raised = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, places) })?;
    // SAFETY: `raised` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raised) })
}

fn pointers<'a>(strings: impl Iterator<Item = &'a CStr>) -> Vec<*mut libc::c_char> {
    strings.map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

/// Everything that the child needs, made ready before it exists: it must not allocate, for it has our memory.
struct Plan<'a> {
    path: &'a CStr,
    /// Its number in the child, if it is executed by that.
    open: Option<RawFd>,
    /// Ended by a null pointer, as the environment is.
    arguments: &'a [*mut libc::c_char],
    environment: &'a [*mut libc::c_char],
    fds: &'a [RawFd],
    /// Why the child became no supervisor.
    refusal: Cell<Option<io::Error>>,
}

/// Returns only when that failed.
fn become_supervisor(plan: &Plan<'_>) -> io::Error {
    scheduling::restore_host_policy();
    for (place, fd) in (0..).zip(plan.fds) {
        // SAFETY: a plain system call; whatever it closes is the child's copy.
        if let Err(error) = check(unsafe { libc::dup2(*fd, place) }) {
            return error;
        }
    }
    let (arguments, environment) = (plan.arguments.as_ptr(), plan.environment.as_ptr());
    if let Some(fd) = plan.open {
        // Not through the C library: glibc has had the function since 2.34.
        // SAFETY: an open descriptor, a C string, and two lists of them that end with a null pointer.
        unsafe { libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), arguments, environment, libc::AT_EMPTY_PATH) };
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
            return error;
        }
        // Linux before 3.19, emulators, a container's filter. The path leads to the same open file.
    }
    // SAFETY: a C string, and two lists of them that end with a null pointer.
    unsafe { libc::execve(plan.path.as_ptr(), arguments.cast(), environment.cast()) };
    io::Error::last_os_error()
}
