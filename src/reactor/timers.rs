//! Timers, earliest first. There is no clock tick: the reactor sleeps until the first of them. One that nobody needs any more
//! is cancelled, and costs nothing until its time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Names a timer that was set. Timers of one moment fire in the order in which they were set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    due: Instant,
    number: u64,
}

pub(super) struct Timers<T> {
    waiting: BTreeMap<TimerKey, T>,
    count: u64,
}

impl<T> Timers<T> {
    pub(super) fn new() -> Self {
        Timers { waiting: BTreeMap::new(), count: 0 }
    }

    /// `None` for a pause that no clock can count to: it never ends.
    pub(super) fn set(&mut self, pause: Duration, what: T) -> Option<TimerKey> {
        let due = Instant::now().checked_add(pause)?;
        self.count += 1;
        let key = TimerKey { due, number: self.count };
        self.waiting.insert(key, what);
        Some(key)
    }

    /// One that has fired is no longer there, which is fine.
    pub(super) fn cancel(&mut self, key: TimerKey) {
        self.waiting.remove(&key);
    }

    pub(super) fn until_next(&self) -> Option<Duration> {
        self.waiting.keys().next().map(|key| key.due.saturating_duration_since(Instant::now()))
    }

    /// The next that was due at `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<T> {
        let next = self.waiting.first_entry()?;
        (next.key().due <= now).then(|| next.remove())
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
        let now = Instant::now();
        assert_eq!([(); 3].map(|()| timers.take_due(now)), [Some("first"), Some("second"), None]);
        assert!(timers.until_next().is_some_and(|pause| pause > Duration::from_secs(3000)));
    }

    #[test]
    fn one_that_is_set_while_others_fire_waits_for_its_turn() {
        let mut timers = Timers::new();
        let now = Instant::now();
        timers.set(Duration::from_nanos(1), "next");
        assert_eq!(timers.take_due(now), None);
        assert_eq!(timers.take_due(now + Duration::from_secs(1)), Some("next"));
    }

    #[test]
    fn one_that_was_cancelled_is_gone_at_once_and_never_due() {
        let mut timers = Timers::new();
        let (first, second) = (timers.set(Duration::ZERO, "first"), timers.set(Duration::ZERO, "second"));
        first.into_iter().for_each(|key| timers.cancel(key));
        assert_eq!(timers.waiting.len(), 1);
        let now = Instant::now();
        assert_eq!([(); 2].map(|()| timers.take_due(now)), [Some("second"), None]);
        second.into_iter().for_each(|key| timers.cancel(key));
        assert_eq!(timers.until_next(), None);
    }
}
