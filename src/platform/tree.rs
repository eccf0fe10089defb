//! What `/proc` says of processes, and who lives below one. A count is for show: it may be old when it is read.

use std::collections::HashSet;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process;

use super::clock;

/// How long is counted: whoever asks may be standing still for it.
const PATIENCE_NS: u64 = 4_000_000;

/// Live processes below `root`, which the kernel calls `name`, without `besides`; of hundreds it may be those that there was time for.
/// `None` where this number belongs to another process: `/proc` is another pid namespace's, or `root` lives in another container.
pub fn count_below(root: u32, name: &[u8], besides: Option<u32>) -> Option<u32> {
    if !is_proc_ours() || !is_called(root, name) {
        return None;
    }
    let until = clock::thread_ns() + PATIENCE_NS;
    let is_time_left = || clock::thread_ns() < until;
    let mut seen = HashSet::from([root]);
    let mut open = vec![(root, 1)];
    let mut count = 0;
    while is_time_left()
        && let Some((parent, threads)) = open.pop()
    {
        let listed = threads_of(parent, threads).take_while(|_| is_time_left()).flat_map(|thread| children(&thread));
        for child in listed.take_while(|_| is_time_left()) {
            // A process that moves while we look may be met twice.
            if seen.insert(child)
                && let Some(threads) = live_threads(child)
            {
                count += u32::from(Some(child) != besides);
                open.push((child, threads));
            }
        }
    }
    Some(count)
}

/// Whether `/proc` numbers the processes as we do. That of another pid namespace does not.
pub(super) fn is_proc_ours() -> bool {
    fs::read_link("/proc/self").is_ok_and(|own| own.as_os_str() == process::id().to_string().as_str())
}

pub(super) fn is_called(pid: u32, name: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/comm")).is_ok_and(|line| line.strip_suffix(b"\n") == Some(name))
}

/// The user who started a process. The effective one is another's in a set-user-id program, and the owner of its directory in `/proc` is
/// root where it has hidden its memory.
pub(super) fn user(pid: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let users = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:\t"))?;
    str::from_utf8(users).ok()?.split_whitespace().next()?.parse().ok()
}

/// The directories of a process's threads. Of one that has only the first, that one's is known.
fn threads_of(pid: u32, count: u32) -> Box<dyn Iterator<Item = PathBuf>> {
    let all = PathBuf::from(format!("/proc/{pid}/task"));
    if count == 1 {
        return Box::new(iter::once(all.join(pid.to_string())));
    }
    Box::new(fs::read_dir(all).into_iter().flatten().filter_map(|thread| Some(thread.ok()?.path())))
}

/// Each thread has a list of the children that it started.
fn children(thread: &Path) -> Vec<u32> {
    let list = fs::read_to_string(thread.join("children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// What the kernel says of a process or a thread, by its directory: its state and what comes behind that.
pub(super) fn stat(directory: &Path) -> Option<String> {
    let stat = fs::read(directory.join("stat")).ok()?;
    // The name before it may hold anything, a closing bracket and half a character included.
    String::from_utf8_lossy(&stat).rsplit_once(") ").map(|(_, rest)| rest.to_owned())
}

/// How many threads a process has; `None` for a zombie. One whose first thread has ended while others go on shows as a zombie too, and
/// is none.
fn live_threads(pid: u32) -> Option<u32> {
    let stat = stat(Path::new(&format!("/proc/{pid}")))?;
    let mut fields = stat.split(' ');
    let state = fields.next()?;
    // The number of threads stands 17 fields behind the state.
    let threads = fields.nth(16)?.parse().ok()?;
    match state {
        "X" => None,
        "Z" if threads < 2 => None,
        _ => Some(threads),
    }
}
