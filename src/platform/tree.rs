//! Who lives below a process. A count is for show: it may be old when it is read.

use std::collections::HashSet;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

use super::clock;
use super::proc::{in_proc, is_called, is_proc_ours, line, read, status};

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
    let list = read(&thread.join("children")).unwrap_or_default();
    String::from_utf8_lossy(&list).split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// How many threads a process has; `None` for a zombie. One whose first thread has ended while others go on shows as a zombie too, and
/// is none.
fn live_threads(pid: u32) -> Option<u32> {
    let status = status(&in_proc(pid))?;
    let threads = line(&status, "Threads")?.parse().ok()?;
    match line(&status, "State")?.get(..1)? {
        "X" => None,
        "Z" if threads < 2 => None,
        _ => Some(threads),
    }
}
