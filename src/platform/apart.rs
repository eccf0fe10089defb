//! Looking into every process, on a thread of its own.
//!
//! What a process began with stands in its memory. One that waits in an `mmap` for a file system that does not answer, whosever it is,
//! has that locked, and who reads waits as well. So another thread looks, and is left behind where it waits.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;

use super::proc::{line, pids, status};
use super::threads;

/// How long nothing may be heard of one process, twice in a row.
const PATIENCE: Duration = Duration::from_millis(100);

/// What was left behind. Held to ask or to add, never while a process is looked at.
static STUCK: Mutex<Vec<Weak<dyn Stuck>>> = Mutex::new(Vec::new());
/// How many of those have gone on since.
static FREED: AtomicUsize = AtomicUsize::new(0);

/// What holds up whoever wants to look into all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUp {
    freed: usize,
}

impl HeldUp {
    pub(super) fn now() -> HeldUp {
        HeldUp { freed: FREED.load(Ordering::SeqCst) }
    }

    /// Whether another look would find no more: nobody has gone on, and who waits so starts no new ones.
    pub fn is_so(self) -> bool {
        self == HeldUp::now()
    }
}

/// What is asked about each process.
pub(super) type Look<T> = Arc<dyn Fn(u32) -> io::Result<Option<T>> + Send + Sync>;

/// Processes that are being looked at, one after the other.
struct Reading<T> {
    pids: Vec<u32>,
    /// Held to note or to ask how far it is, never while one is looked at.
    progress: Mutex<Progress<T>>,
    /// All were looked at, or one could not be.
    ended: Condvar,
}

struct Progress<T> {
    /// The reader's directory in `/proc`.
    thread: PathBuf,
    done: usize,
    found: Vec<T>,
    /// Nobody waits for the next answer any more.
    is_left_behind: bool,
    outcome: Option<io::Result<()>>,
}

impl<T> Reading<T> {
    fn new(pids: Vec<u32>) -> Reading<T> {
        let progress = Progress { thread: PathBuf::new(), done: 0, found: Vec::new(), is_left_behind: false, outcome: None };
        Reading { pids, progress: Mutex::new(progress), ended: Condvar::new() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress<T>> {
        threads::lock(&self.progress)
    }

    fn run(&self, look: &Look<T>) -> io::Result<()> {
        self.progress().thread = fs::canonicalize("/proc/thread-self").unwrap_or_default();
        for &pid in &self.pids {
            let found = look(pid)?;
            let mut progress = self.progress();
            if progress.is_left_behind {
                break;
            }
            progress.done += 1;
            progress.found.extend(found);
        }
        Ok(())
    }
}

impl<T> Drop for Reading<T> {
    fn drop(&mut self) {
        if self.progress().is_left_behind {
            FREED.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A reading, whatever it looks for.
trait Stuck: Send + Sync {
    /// Whom it is looking at.
    fn at(&self) -> Option<u32>;
}

impl<T: Send> Stuck for Reading<T> {
    fn at(&self) -> Option<u32> {
        self.pids.get(self.progress().done).copied()
    }
}

/// What `look` finds, and whether all processes were looked at. An error when descriptors or memory are wanting to look everywhere.
pub(super) fn each_process<T: Send + 'static>(look: &Look<T>) -> io::Result<(Vec<T>, bool)> {
    let stuck = stuck();
    let (left_out, mut pids): (Vec<u32>, Vec<u32>) = pids()?.partition(|pid| stuck.contains(pid));
    let (mut found, mut is_all) = (Vec::new(), left_out.is_empty());
    while !pids.is_empty() {
        let reading = Arc::new(Reading::new(pids));
        let is_done = run_apart(&reading, look)?;
        let mut progress = reading.progress();
        found.append(&mut progress.found);
        is_all &= is_done;
        pids = reading.pids.iter().skip(progress.done + 1).copied().collect();
    }
    Ok((found, is_all))
}

/// On a thread of its own. False when that is stuck at a process, and was left behind there.
fn run_apart<T: Send + 'static>(reading: &Arc<Reading<T>>, look: &Look<T>) -> io::Result<bool> {
    let (its_own, asked) = (Arc::clone(reading), Arc::clone(look));
    let run = move || {
        let outcome = its_own.run(&asked);
        its_own.progress().outcome = Some(outcome);
        its_own.ended.notify_one();
    };
    if threads::start("outlive-look", Box::new(run)).is_err() {
        // Out of threads, and who has taken them may be just whom we look for: then it has to be here.
        return reading.run(look).map(|()| true);
    }
    let mut seen = None;
    let mut progress = reading.progress();
    loop {
        if let Some(outcome) = progress.outcome.take() {
            return outcome.map(|()| true);
        }
        let waited = reading.ended.wait_timeout(progress, PATIENCE);
        let (now, pause) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        progress = now;
        // Whoever is runnable wants nothing but a processor.
        let is_runnable =
            || status(&progress.thread).is_some_and(|status| line(&status, "State").is_some_and(|state| state.starts_with('R')));
        if pause.timed_out() && seen.replace(progress.done) == Some(progress.done) && !is_runnable() {
            break;
        }
    }
    progress.is_left_behind = true;
    drop(progress);
    let weak = Arc::downgrade(reading);
    threads::lock(&STUCK).push(weak);
    Ok(false)
}

/// The processes that threads are stuck at. One that goes on ends, and its process is looked at again.
fn stuck() -> HashSet<u32> {
    let mut readings = threads::lock(&STUCK);
    readings.retain(|reading| reading.strong_count() > 0);
    readings.iter().filter_map(Weak::upgrade).filter_map(|reading| reading.at()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    static GATE: Mutex<()> = Mutex::new(());

    #[test]
    fn a_sweep_is_held_up_until_one_goes_on_that_nobody_could_look_into() {
        // P12
        let stuck_at_us: Look<()> = Arc::new(|pid| {
            drop((pid == std::process::id()).then(|| GATE.lock()));
            Ok(None)
        });
        let closed = GATE.lock().unwrap();
        let held_up = loop {
            let held_up = HeldUp::now();
            let (_, is_all) = each_process(&stuck_at_us).unwrap();
            assert!(!is_all);
            // Another thread may have been left behind only because it had no processor.
            if held_up.is_so() {
                break held_up;
            }
        };
        drop(closed);
        while held_up.is_so() {
            std::thread::yield_now();
        }
        assert!(!stuck().contains(&std::process::id()));
    }
}
