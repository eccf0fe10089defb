//! Named pipes, used as bells: the bytes say nothing and are not read, since a byte that one watcher reads is one that
//! another may never be woken for. Linux wakes every edge-triggered watcher on every write, also when the pipe was not empty.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{check, files};

/// Makes a FIFO that only its owner can open.
pub fn create(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `name` is a C string that lives across the call.
    check(unsafe { libc::mkfifo(name.as_ptr(), 0o600) })?;
    files::set_mode_of(path, 0o600)
}

/// Both ends in one descriptor: the FIFO has a reader and a writer for as long as this lives.
pub fn open_both(path: &Path) -> io::Result<File> {
    open(path, libc::O_RDWR)
}

/// The reading end, to be watched.
pub fn open_reader(path: &Path) -> io::Result<File> {
    open(path, libc::O_RDONLY)
}

/// The writing end, or `None` when nobody has the FIFO open for reading.
pub fn open_writer(path: &Path) -> io::Result<Option<File>> {
    match open(path, libc::O_WRONLY) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Wakes everyone who watches the FIFO. A full pipe is emptied first: the byte that is written last wakes them all.
pub fn ring(path: &Path) -> io::Result<()> {
    let Some(mut bell) = open_writer(path)? else { return Ok(()) };
    match bell.write(b"\n") {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            let mut stale = [0; 4096];
            let mut reader = open_reader(path)?;
            while reader.read(&mut stale).is_ok_and(|count| count > 0) {}
            bell.write(b"\n").map(|_| ())
        }
        // The last watcher left between the open and the write.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map(|_| ()),
    }
}

fn open(path: &Path, access: libc::c_int) -> io::Result<File> {
    let fd = files::open_raw(path, access | libc::O_NONBLOCK, 0)?;
    // SAFETY: `fd` was just opened and nobody else owns it.
    let file = unsafe { File::from_raw_fd(fd) };
    if !std::os::unix::fs::FileTypeExt::is_fifo(&file.metadata()?.file_type()) {
        return Err(io::Error::new(ErrorKind::InvalidData, "not a FIFO"));
    }
    Ok(file)
}
