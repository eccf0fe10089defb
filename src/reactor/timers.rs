//! Timers, earliest first. There is no clock tick: the reactor sleeps until the first of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

pub(super) struct Timers<T> {
    heap: BinaryHeap<Reverse<Timer<T>>>,
    count: u64,
}

struct Timer<T> {
    due: Instant,
    /// Timers of one moment fire in the order in which they were set.
    number: u64,
    what: T,
}

impl<T> Timers<T> {
    pub(super) fn new() -> Self {
        Timers { heap: BinaryHeap::new(), count: 0 }
    }

    pub(super) fn set(&mut self, pause: Duration, what: T) {
        // A pause that no clock can count to never ends.
        let Some(due) = Instant::now().checked_add(pause) else { return };
        self.count += 1;
        self.heap.push(Reverse(Timer { due, number: self.count, what }));
    }

    pub(super) fn until_next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(timer)| timer.due.saturating_duration_since(Instant::now()))
    }

    pub(super) fn take_due(&mut self) -> Option<T> {
        let Reverse(next) = self.heap.peek()?;
        if next.due > Instant::now() {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer.what)
    }
}

impl<T> PartialEq for Timer<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Timer<T> {}

impl<T> PartialOrd for Timer<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Timer<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> Timer<T> {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_due_first_and_none_before_its_time() {
        let mut timers = Timers::new();
        timers.set(Duration::from_secs(3600), "late");
        timers.set(Duration::MAX, "never");
        timers.set(Duration::ZERO, "first");
        timers.set(Duration::ZERO, "second");
        assert_eq!([timers.take_due(), timers.take_due(), timers.take_due()], [Some("first"), Some("second"), None]);
        assert!(timers.until_next().is_some_and(|pause| pause > Duration::from_secs(3000)));
    }
}
