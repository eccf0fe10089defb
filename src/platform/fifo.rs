//! Named pipes, used as bells: the bytes say nothing, and no watcher reads them, since a byte that one watcher reads is one that
//! another may never be woken for. Who rings empties the pipe and then writes: only a write into an empty pipe wakes every
//! edge-triggered watcher on every Linux, and none is lost by it, since each emptying has a write behind it.

use std::ffi::CString;
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
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

/// From now on its owner can open it for writing only. Who reads all files of a directory would take what is written to its reader, and
/// stand there for as long as nothing is.
pub fn close_to_readers(fifo: &File) {
    // Where modes cannot be set the writers write again.
    drop(fifo.set_permissions(Permissions::from_mode(0o200)));
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

/// Wakes everyone who watches the FIFO.
pub fn ring(path: &Path) -> io::Result<()> {
    let mut bell = open_both(path)?;
    let mut stale = [0; 64];
    // What did not fill it was the last.
    while bell.read(&mut stale).is_ok_and(|count| count == stale.len()) {}
    match bell.write(b"\n") {
        // Others have filled it since, and have woken everyone since.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        rung => rung.map(drop),
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::super::poll::Poll;
    use super::*;

    /// A FIFO, and its reading end, so that it keeps what is written into it.
    fn bell(name: &str) -> (PathBuf, File) {
        let path = std::env::temp_dir().join(format!("outlive-fifo-{name}-{}", std::process::id()));
        drop(fs::remove_file(&path));
        create(&path).unwrap();
        let reader = open_reader(&path).unwrap();
        (path, reader)
    }

    #[test]
    fn whoever_rings_writes_into_an_empty_pipe() {
        // D15
        let (path, mut reader) = bell("empty");
        for stale in [0, 1, 64, 65, usize::MAX] {
            let mut writer = open_both(&path).unwrap();
            // Until it is full.
            (0..stale).take_while(|_| writer.write(b"x").is_ok()).for_each(drop);
            ring(&path).unwrap();
            let mut bytes = [0; 64];
            let length = reader.read(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"\n", "after {stale} bytes");
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn of_two_who_ring_at_once_each_is_heard() {
        // D15
        const ROUNDS: u32 = 2000;
        let (path, reader) = bell("two");
        let (poll, _waker) = Poll::new().unwrap();
        poll.add(&reader, 7).unwrap();
        let (news, path) = (&AtomicU32::new(0), &path);
        thread::scope(|scope| {
            let starts = [(); 2].map(|()| {
                let (start, started) = mpsc::channel();
                scope.spawn(move || {
                    for () in started {
                        news.fetch_add(1, Ordering::SeqCst);
                        ring(path).unwrap();
                    }
                });
                start
            });
            for round in 1..=ROUNDS {
                starts.iter().for_each(|start| start.send(()).unwrap());
                // After each wake the news are looked at, as an owner looks at its session.
                while news.load(Ordering::SeqCst) < 2 * round {
                    let (happened, _) = poll.wait(Some(Duration::from_secs(60))).unwrap();
                    assert!(!happened.is_empty(), "nobody was woken in round {round}");
                }
            }
        });
        fs::remove_file(path).unwrap();
    }
}
