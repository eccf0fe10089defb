//! Descriptors: open, read, write, measure, punch, watch, close.

use core::ffi::CStr;

use super::machine::{O_DIRECTORY, O_NOFOLLOW, number};
use super::{Errno, Result, call, ignore, number, plain};

const O_WRONLY: usize = 1;
const O_CREAT: usize = 0o100;
const O_EXCL: usize = 0o200;
const O_NONBLOCK: usize = 0o4000;
const O_CLOEXEC: usize = 0o2_000_000;

/// An open descriptor, closed when dropped.
pub(crate) struct File(i32);

impl File {
    /// An existing file, for reading, relative to a directory unless the path is absolute. Never through a link at its end, and a
    /// FIFO in its place does not stop us.
    pub(crate) fn open(directory: i32, path: &CStr) -> Result<File> {
        open_at(directory, path, O_NOFOLLOW | O_NONBLOCK)
    }

    /// A directory, for listing.
    pub(crate) fn open_directory(path: &CStr) -> Result<File> {
        open_at(-1, path, O_DIRECTORY)
    }

    /// A file that must not exist yet, for writing, for its owner only.
    pub(crate) fn create(directory: i32, path: &CStr) -> Result<File> {
        open_at(directory, path, O_NOFOLLOW | O_WRONLY | O_CREAT | O_EXCL)
    }

    /// Takes over a descriptor that a call has just made.
    pub(super) fn owning(file: i32) -> File {
        File(file)
    }

    /// The descriptor's number.
    pub(crate) fn number(&self) -> i32 {
        self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        close(self.0);
    }
}

#[inline(never)]
fn open_at(directory: i32, path: &CStr, flags: usize) -> Result<File> {
    const OWNER_ONLY: usize = 0o600;
    let arguments = [number(directory), path.as_ptr() as usize, flags | O_CLOEXEC, OWNER_ONLY, 0, 0];
    // SAFETY: the kernel reads the path up to its NUL.
    unsafe { call(number::OPENAT, arguments) }.map(|file| File::owning(file as i32))
}

/// Closes a descriptor; what cannot be closed was not open.
#[inline(never)]
pub(crate) fn close(file: i32) {
    ignore(plain(number::CLOSE, [number(file), 0, 0, 0]));
}

/// Closes all descriptors from the first to the last.
pub(crate) fn close_range(first: i32, last: i32) {
    const WITHOUT_CLOSE_RANGE: usize = 65_536;
    if plain(number::CLOSE_RANGE, [number(first), number(last), 0, 0]).is_err() {
        // Before Linux 5.9, and under filters that do not know the call.
        for file in number(first)..open_file_limit().min(WITHOUT_CLOSE_RANGE).min(number(last).saturating_add(1)) {
            close(file as i32);
        }
    }
}

fn open_file_limit() -> usize {
    const RLIMIT_NOFILE: usize = 7;
    let mut limits = [0u64; 2];
    // SAFETY: the kernel writes two 64-bit numbers, the size of `limits`.
    let read = unsafe { call(number::PRLIMIT64, [0, RLIMIT_NOFILE, 0, limits.as_mut_ptr() as usize, 0, 0]) };
    if read.is_ok() { limits[0] as usize } else { 1024 }
}

/// The reading and the writing end of a pipe. Both close at an exec.
pub(crate) fn pipe() -> Result<[File; 2]> {
    let mut ends = [0i32; 2];
    // SAFETY: the kernel writes two numbers of 32 bits, the size of `ends`.
    unsafe { call(number::PIPE2, [ends.as_mut_ptr() as usize, O_CLOEXEC, 0, 0, 0, 0]) }?;
    Ok(ends.map(File::owning))
}

/// Bytes from where the descriptor stands; 0 at the end.
pub(crate) fn read(file: i32, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length into the buffer.
    unsafe { call(number::READ, [number(file), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// Bytes from an offset; 0 at the end.
pub(crate) fn read_at(file: i32, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let arguments = [number(file), buffer.as_mut_ptr() as usize, buffer.len(), offset as usize, 0, 0];
    // SAFETY: the kernel writes at most the buffer's length into the buffer.
    unsafe { call(number::PREAD, arguments) }
}

/// Writes all of it with one call, or fails: a record is never written in two parts.
pub(crate) fn write(file: i32, bytes: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads the bytes.
    let written = unsafe { call(number::WRITE, [number(file), bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) }?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// Writes all of it at the file's start with one call, or fails.
pub(crate) fn write_at_start(file: i32, bytes: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads the bytes.
    let written = unsafe { call(number::PWRITE, [number(file), bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) }?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// The file's data, and what is needed to find it, are on the disk afterwards.
pub(crate) fn sync(file: i32) -> Result<()> {
    plain(number::FDATASYNC, [number(file), 0, 0, 0]).map(drop)
}

/// What the kernel holds of the file's data is on its way to the disk afterwards; nobody has waited for it.
pub(crate) fn start_writing(file: i32) -> Result<()> {
    const WRITE: usize = 2;
    write_out(file, WRITE)
}

/// The file's data is on the disk afterwards. What is needed to find it need not be.
pub(crate) fn finish_writing(file: i32) -> Result<()> {
    const WRITE_AND_WAIT: usize = 7;
    write_out(file, WRITE_AND_WAIT)
}

fn write_out(file: i32, how: usize) -> Result<()> {
    const ALL: usize = 0;
    plain(number::SYNC_FILE_RANGE, [number(file), 0, ALL, how]).map(drop)
}

/// Gives a file of the directory a second name.
pub(crate) fn link(directory: i32, path: &CStr, name: &CStr) -> Result<()> {
    let arguments = [number(directory), path.as_ptr() as usize, number(directory), name.as_ptr() as usize, 0, 0];
    // SAFETY: the kernel reads both paths up to their NULs.
    unsafe { call(number::LINKAT, arguments) }.map(drop)
}

/// Removes a name.
pub(crate) fn unlink(directory: i32, path: &CStr) -> Result<()> {
    // SAFETY: the kernel reads the path up to its NUL.
    unsafe { call(number::UNLINKAT, [number(directory), path.as_ptr() as usize, 0, 0, 0, 0]) }.map(drop)
}

/// What tells one file from another, its size, and the bytes of disk that it takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) on_disk: u64,
}

/// Measures an open file.
pub(crate) fn stat(file: i32) -> Result<Stat> {
    const BLOCK: u64 = 512;
    // `struct stat` is 144 bytes here and 128 on ARM; these four numbers stand at the same place in both.
    let mut numbers = [0u64; 18];
    // SAFETY: the kernel writes one `struct stat`, for which there is room.
    unsafe { call(number::FSTAT, [number(file), numbers.as_mut_ptr() as usize, 0, 0, 0, 0]) }?;
    Ok(Stat { device: numbers[0], inode: numbers[1], size: numbers[6], on_disk: numbers[8].saturating_mul(BLOCK) })
}

/// Where the next bytes stand that are no hole, from this place on. An error: there are none, or nobody can tell.
pub(crate) fn next_data(file: &File, from: u64) -> Result<u64> {
    const SEEK_DATA: usize = 3;
    plain(number::LSEEK, [number(file.number()), from as usize, SEEK_DATA, 0]).map(|data| data as u64)
}

/// Gives a range of the file back to the disk. It reads as zeroes afterwards and the size stays.
pub(crate) fn punch(file: i32, from: u64, to: u64) -> Result<()> {
    const PUNCH_HOLE_KEEP_SIZE: usize = 3;
    let length = to.saturating_sub(from) as usize;
    plain(number::FALLOCATE, [number(file), PUNCH_HOLE_KEEP_SIZE, from as usize, length]).map(drop)
}

/// Asks for one SIGIO at the next write to a file in this directory.
pub(crate) fn notify_once(directory: i32) -> Result<()> {
    const F_NOTIFY: usize = 1026;
    const DN_MODIFY: usize = 2;
    plain(number::FCNTL, [number(directory), F_NOTIFY, DN_MODIFY, 0]).map(drop)
}

/// Makes an open directory the current one.
pub(crate) fn change_directory(directory: i32) -> Result<()> {
    plain(number::FCHDIR, [number(directory), 0, 0, 0]).map(drop)
}

/// The current directory's absolute path, without its NUL.
pub(crate) fn current_directory(buffer: &mut [u8]) -> Result<&[u8]> {
    // SAFETY: the kernel writes at most the buffer's length into the buffer.
    let length = unsafe { call(number::GETCWD, [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0]) }?;
    buffer.get(..length.saturating_sub(1)).ok_or(Errno::ENAMETOOLONG)
}

/// Where a link leads, cut off at the buffer's end.
pub(crate) fn read_link<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let arguments = [number(-1), path.as_ptr() as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0];
    // SAFETY: the kernel reads the path up to its NUL and writes at most the buffer's length into the buffer.
    let length = unsafe { call(number::READLINKAT, arguments) }?;
    buffer.get(..length).ok_or(Errno::ENAMETOOLONG)
}

/// The next entries of a directory as the kernel lays them out; 0 bytes at the end.
pub(crate) fn read_directory(directory: &File, buffer: &mut [u8]) -> Result<usize> {
    let arguments = [number(directory.0), buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0];
    // SAFETY: the kernel writes at most the buffer's length into the buffer.
    unsafe { call(number::GETDENTS64, arguments) }
}

/// Sets which permissions new files never get, and returns what was set.
pub(crate) fn set_umask(mask: usize) -> usize {
    // The call cannot fail.
    plain(number::UMASK, [mask, 0, 0, 0]).unwrap_or(0o022)
}
