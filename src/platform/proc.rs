//! What `/proc` says of processes. It is asked by numbers, and a number may be another's by the time that it answers.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process;

use super::errno::unless_exhausted;

/// Whether `/proc` numbers the processes as we do. That of another pid namespace does not.
pub(super) fn is_proc_ours() -> bool {
    fs::read_link("/proc/self").is_ok_and(|own| own.as_os_str() == process::id().to_string().as_str())
}

/// What a file there says. None tells its size before it is read, and most fit into the first page.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    const PAGE: usize = 4096;
    /// More than the kernel lets a process begin with. One that has moved its environment elsewhere may show gigabytes.
    const MOST: u64 = 8 << 20;
    let mut said = Vec::with_capacity(PAGE);
    File::open(path)?.take(MOST).read_to_end(&mut said)?;
    Ok(said)
}

/// Whether the kernel calls a process so.
pub(super) fn is_called(pid: u32, name: &[u8]) -> bool {
    read(&in_proc(pid).join("comm")).is_ok_and(|line| line.strip_suffix(b"\n") == Some(name))
}

/// What the kernel says of a process or a thread, by its directory: a line for each thing. Nobody is kept from it, as from `stat`, while
/// the process is in an exec that closes a file on a file system that does not answer.
pub(super) fn status(directory: &Path) -> Option<Vec<u8>> {
    read(&directory.join("status")).ok()
}

/// A line of a `status`, by its name.
pub(super) fn line<'a>(status: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = status.split(|byte| *byte == b'\n');
    let named = lines.filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":\t")).next()?;
    str::from_utf8(named).ok()
}

/// The user who started a process. The effective one is another's in a set-user-id program, and the owner of its directory in `/proc` is
/// root where it has hidden its memory.
pub(super) fn user(pid: u32) -> Option<u32> {
    line(&status(&in_proc(pid))?, "Uid")?.split_whitespace().next()?.parse().ok()
}

/// None where the kernel does not tell.
pub(super) fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = unless_exhausted(fs::read_dir("/proc"))?;
    Ok(entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// A process's directory.
pub(super) fn in_proc(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// None for a thread that has ended; empty where it is not ours to read.
pub(super) fn environment(thread: &Path) -> io::Result<Option<Vec<u8>>> {
    match read(&thread.join("environ")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Some(Vec::new())),
        // Older kernels say nothing where newer ones say ESRCH.
        environment => Ok(unless_exhausted(environment)?.filter(|environment| !environment.is_empty())),
    }
}

pub(super) fn variables(environment: &[u8]) -> impl Iterator<Item = &str> {
    environment.split(|byte| *byte == 0).filter_map(|variable| str::from_utf8(variable).ok())
}
