//! Counting a task's processes, for show: what it says may be old when it is read, and nothing is signalled by it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process;

/// Live processes below `root`, which the kernel calls `name`, without `besides`. 0 where it does not tell.
pub fn count_below(root: u32, name: &[u8], besides: Option<u32>) -> u32 {
    if !is_proc_ours() || !is_called(root, name) {
        // There this number belongs to another process: `/proc` is another pid namespace's, or `root` lives in another container.
        return 0;
    }
    let mut seen = HashSet::from([root]);
    let mut open = vec![root];
    let mut count = 0;
    while let Some(parent) = open.pop() {
        for child in children(parent) {
            // A process that moves while we look may be met twice.
            if seen.insert(child) {
                count += u32::from(Some(child) != besides && !is_zombie(child));
                open.push(child);
            }
        }
    }
    count
}

/// Whether `/proc` numbers the processes as we do. That of another pid namespace does not.
fn is_proc_ours() -> bool {
    fs::read_link("/proc/self").is_ok_and(|own| own.as_os_str() == process::id().to_string().as_str())
}

pub(super) fn is_called(pid: u32, name: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/comm")).is_ok_and(|line| line.strip_suffix(b"\n") == Some(name))
}

/// Each thread has a list of the children that it started.
fn children(parent: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// What the kernel says of a process or a thread, by its directory: its state and what comes behind that.
pub(super) fn stat(directory: &Path) -> Option<String> {
    let stat = fs::read(directory.join("stat")).ok()?;
    // The name before it may hold anything, a closing bracket and half a character included.
    String::from_utf8_lossy(&stat).rsplit_once(") ").map(|(_, rest)| rest.to_owned())
}

/// A process whose first thread has ended while others go on shows as a zombie too, and is none.
fn is_zombie(pid: u32) -> bool {
    let Some(stat) = stat(Path::new(&format!("/proc/{pid}"))) else { return true };
    let mut fields = stat.split(' ');
    match fields.next() {
        // The number of threads stands 17 fields behind the state.
        Some("Z") => fields.nth(16).is_none_or(|threads| matches!(threads, "0" | "1")),
        state => matches!(state, None | Some("" | "X")),
    }
}
