//! The end of the process. Node tells an addon of it when the event loop has nothing left to do, and not when somebody calls
//! `process.exit`; the C library does in both cases, and in Bun, which ends by `quick_exit`.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;

use super::Registry;
use crate::platform::{exit, threads};

/// The registries of all threads. Held to add one or to take them away.
static OPEN: Mutex<Vec<Weak<Registry>>> = Mutex::new(Vec::new());

/// Kills of thousands of tasks go out in less. A store that does not answer must not keep the process for good.
const PATIENCE: Duration = Duration::from_secs(2);

/// Closes the registry when the process exits.
pub(super) fn detach_at_exit(registry: &Arc<Registry>) {
    exit::at_exit(detach_all);
    let mut open = lock();
    open.retain(|registry| registry.strong_count() > 0);
    open.push(Arc::downgrade(registry));
}

fn detach_all() {
    let open: Vec<Arc<Registry>> = lock().drain(..).filter_map(|registry| registry.upgrade()).collect();
    if open.is_empty() {
        return;
    }
    let over = Arc::new((Mutex::new(false), Condvar::new()));
    let tell = Over(Arc::clone(&over));
    let detach = move || {
        let _tell = tell;
        for registry in open {
            registry.detach();
        }
    };
    // Out of threads, the end is as sudden as one by a signal.
    if threads::start("outlive-exit", Box::new(detach)).is_ok() {
        let (is_over, told) = &*over;
        let is_over = threads::lock(is_over);
        drop(told.wait_timeout_while(is_over, PATIENCE, |is_over| !*is_over));
    }
}

/// Tells at its end, also when that is a panic.
struct Over(Arc<(Mutex<bool>, Condvar)>);

impl Drop for Over {
    fn drop(&mut self) {
        let (is_over, told) = &*self.0;
        *threads::lock(is_over) = true;
        told.notify_one();
    }
}

fn lock() -> MutexGuard<'static, Vec<Weak<Registry>>> {
    threads::lock(&OPEN)
}
