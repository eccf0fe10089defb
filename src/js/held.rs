//! Which registries JavaScript may still call. `deno test` frees what a file's environment has wrapped, and runs its JavaScript on
//! for a moment: whoever called a method then would read freed memory. So the face asks here first, by a number.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::platform::threads;

/// Held for one look or change.
static HELD: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// No address: those come again.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Lives in what JavaScript holds, and ends with it.
pub(super) struct Held(u32);

impl Held {
    pub(super) fn new() -> Held {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        lock().insert(number);
        Held(number)
    }

    pub(super) fn number(&self) -> u32 {
        self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock().remove(&self.0);
    }
}

pub(super) fn is_held(number: u32) -> bool {
    lock().contains(&number)
}

fn lock() -> MutexGuard<'static, BTreeSet<u32>> {
    threads::lock(&HELD)
}
