//! Starting supervisors and reaping them.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Mutex;

use super::environment::Block;
use super::{check, scheduling};

/// Descriptors are moved up here before they are put into their places, so that no place is overwritten before it is read.
const ABOVE_ALL_PLACES: libc::c_int = 32;

/// Supervisors whose registry has gone while they ran. They are reaped when the next one starts.
static UNREAPED: Mutex<Vec<libc::pid_t>> = Mutex::new(Vec::new());

/// A child of ours that waits to be reaped. Dropping it leaves the reaping to a later [`start`].
pub struct Child(libc::pid_t);

/// Starts an executable with `posix_spawn`, which does not copy the host's page tables. The child has `fds` as its
/// descriptors from 0 up, every signal blocked, and every disposition at its default.
pub fn start(path: &CStr, arguments: &[CString], environment: &Block, fds: &[BorrowedFd<'_>]) -> io::Result<Child> {
    reap_leftovers();
    let raised = fds.iter().map(raise).collect::<io::Result<Vec<_>>>()?;
    let actions = Actions::new(&raised)?;
    let attributes = Attributes::new()?;
    let arguments = pointers(arguments.iter().map(CString::as_c_str));
    let environment = pointers(environment.lines());
    let mut pid = 0;
    let error = scheduling::under_host_policy(|| {
        // SAFETY: all strings, lists, actions and attributes live across the call, and both lists end with a null pointer.
        unsafe { libc::posix_spawn(&mut pid, path.as_ptr(), &actions.0, &attributes.0, arguments.as_ptr(), environment.as_ptr()) }
    });
    if error == 0 { Ok(Child(pid)) } else { Err(io::Error::from_raw_os_error(error)) }
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
        UNREAPED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(self.0);
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
    // It is executed by its number, which a place must not take over.
    Ok(File::from(raise(&file.as_fd())?))
}

/// Not through the C library: glibc before 2.27 lacks the function, and would then refuse to load the whole addon.
fn memfd(name: &CStr, flags: libc::c_uint) -> io::Result<libc::c_int> {
    // SAFETY: `name` is a C string that lives across the call.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) };
    check(libc::c_int::try_from(fd).expect("a descriptor is a c_int"))
}

fn reap_leftovers() {
    let mut unreaped = UNREAPED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // 0: still running. The pid is gone, or was somebody's to reap, otherwise.
    // SAFETY: a null status pointer is allowed; the call does not wait.
    unreaped.retain(|pid| unsafe { libc::waitpid(*pid, ptr::null_mut(), libc::WNOHANG) } == 0);
}

fn raise(fd: &BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call on a borrowed, open descriptor.
    let raised = check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_DUPFD_CLOEXEC, ABOVE_ALL_PLACES) })?;
    // SAFETY: `raised` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raised) })
}

fn pointers<'a>(strings: impl Iterator<Item = &'a CStr>) -> Vec<*mut libc::c_char> {
    strings.map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new(fds: &[OwnedFd]) -> io::Result<Actions> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: `raw` is room for the object that the call makes.
        succeed(unsafe { libc::posix_spawn_file_actions_init(raw.as_mut_ptr()) })?;
        // SAFETY: the call above made it.
        let mut actions = Actions(unsafe { raw.assume_init() });
        for (place, fd) in fds.iter().enumerate() {
            // SAFETY: `actions` is initialised; the numbers are plain integers.
            succeed(unsafe { libc::posix_spawn_file_actions_adddup2(&mut actions.0, fd.as_raw_fd(), place as libc::c_int) })?;
        }
        Ok(actions)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: `self.0` is initialised and not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Attributes> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: `raw` is room for the object that the call makes.
        succeed(unsafe { libc::posix_spawnattr_init(raw.as_mut_ptr()) })?;
        // SAFETY: the call above made it.
        let mut attributes = Attributes(unsafe { raw.assume_init() });
        let all = all_signals();
        // Blocked from its first instruction: a signal that a task sends to everybody cannot hit a supervisor that is starting.
        // SAFETY: `attributes` is initialised, and `all` lives across the call.
        succeed(unsafe { libc::posix_spawnattr_setsigmask(&mut attributes.0, &all) })?;
        // SAFETY: `attributes` is initialised, and `all` lives across the call.
        succeed(unsafe { libc::posix_spawnattr_setsigdefault(&mut attributes.0, &all) })?;
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        // SAFETY: `attributes` is initialised; the flags are plain bits.
        succeed(unsafe { libc::posix_spawnattr_setflags(&mut attributes.0, flags as libc::c_short) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: `self.0` is initialised and not used again.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

fn all_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    // SAFETY: `all` is room for the set that the call fills.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the call above filled it; it cannot fail.
    unsafe { all.assume_init() }
}

/// The outcome of a call that answers with the error itself.
fn succeed(error: libc::c_int) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}
