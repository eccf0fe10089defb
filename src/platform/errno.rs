//! The names of errors and signals, as Node spells them.

use std::io;

macro_rules! names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

const ERRORS: &[(i32, &str)] = names!(
    E2BIG EACCES EAGAIN EBADF EBUSY EDQUOT EEXIST EFAULT EFBIG EHOSTDOWN EHOSTUNREACH EILSEQ EINTR EINVAL EIO EISDIR
    EKEYEXPIRED ELOOP EMFILE EMLINK ENAMETOOLONG ENETUNREACH ENFILE ENODEV ENOENT ENOEXEC ENOKEY ENOLCK ENOMEM ENOSPC
    ENOSYS ENOTCONN ENOTDIR ENOTEMPTY ENOTSUP ENXIO EOVERFLOW EPERM EPIPE EREMOTEIO EROFS ESTALE ETIMEDOUT ETXTBSY
    EUCLEAN EXDEV
);

const SIGNALS: &[(i32, &str)] = names!(
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM
    SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO
    SIGPWR SIGSYS
);

/// The signal that asks a process to end.
pub const TERMINATE: u8 = libc::SIGTERM as u8;

/// `ENOENT` and its like; `E<number>` for what has no name here.
pub fn error_name(number: i32) -> String {
    name(ERRORS, number).unwrap_or_else(|| format!("E{number}"))
}

/// `SIGSEGV` and its like; `SIG<number>` for real-time signals, which have no name of their own.
pub fn signal_name(number: i32) -> String {
    name(SIGNALS, number).unwrap_or_else(|| format!("SIG{number}"))
}

/// The error that a number stands for, with the system's words.
pub fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// Nothing of that name is there.
pub fn no_such_file() -> io::Error {
    error(libc::ENOENT)
}

/// The executable is open for writing by somebody, which passes.
pub fn is_text_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ETXTBSY)
}

/// Arguments and environment are too large for an exec.
pub fn is_too_big(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::E2BIG)
}

/// The system says so, and not we of what we have read.
pub fn is_the_systems(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}

/// A lack of processes, memory or descriptors: it says nothing about what was asked for, and passes.
pub fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE))
}

/// What there is; `None` for what is not there, or not ours. An error when the system has no room left to find out.
pub fn unless_exhausted<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_exhaustion(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// What was done; `None` where nothing is there any more.
pub fn unless_gone<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn name(names: &[(i32, &str)], number: i32) -> Option<String> {
    names.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned())
}
