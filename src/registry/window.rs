//! How many completions are on their way to callbacks at once. All of a backlog at once would lie in JavaScript's heap while the first
//! callbacks work: a host with a small one would die of what it is told, and the next one of the same.

use std::collections::BTreeSet;
use std::mem;

use crate::task::SessionId;

/// A thousand ordinary ones, so that whoever hands out is seldom waited for.
const WINDOW_BYTES: u64 = 1 << 20;

/// What was handed out and no callback was called with yet.
#[derive(Default)]
pub(super) struct Window {
    bytes: u64,
    /// From when [`WINDOW_BYTES`] are on their way until less than half of that is.
    is_full: bool,
    /// Sessions that have more to tell.
    held_up: BTreeSet<SessionId>,
}

impl Window {
    /// So many bytes of one completion were on their way, and so many are now. One that is larger than the window goes alone.
    pub(super) fn change(&mut self, before: u32, now: u32) {
        self.bytes = self.bytes - u64::from(before) + u64::from(now);
        self.is_full = self.bytes >= if self.is_full { WINDOW_BYTES / 2 } else { WINDOW_BYTES };
    }

    /// Whether a session has to wait. If so it comes in `let_on`.
    pub(super) fn holds_up(&mut self, session: &SessionId) -> bool {
        if self.is_full {
            self.held_up.insert(session.clone());
        }
        self.is_full
    }

    /// Sessions that had to wait and need not any more.
    pub(super) fn let_on(&mut self) -> BTreeSet<SessionId> {
        if self.is_full { BTreeSet::new() } else { mem::take(&mut self.held_up) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: u32 = (WINDOW_BYTES / 4) as u32;

    #[test]
    fn a_full_window_holds_up_whoever_comes_until_more_than_half_of_it_has_arrived() {
        let mut window = Window::default();
        let (one, other) = (SessionId::new("one"), SessionId::new("other"));
        assert!(!window.holds_up(&one));
        for _ in 0..4 {
            window.change(0, QUARTER);
        }
        assert!(window.holds_up(&one) && window.holds_up(&other));
        window.change(QUARTER, 0);
        window.change(QUARTER, 0);
        assert!(window.holds_up(&one) && window.let_on().is_empty());
        window.change(QUARTER, 0);
        assert_eq!(window.let_on().len(), 2);
        assert!(window.let_on().is_empty() && !window.holds_up(&one));
    }

    #[test]
    fn what_is_larger_than_the_window_goes_alone() {
        let mut window = Window::default();
        let session = SessionId::new("session");
        window.change(0, 32 * QUARTER);
        assert!(window.holds_up(&session));
        window.change(32 * QUARTER, 0);
        assert!(!window.holds_up(&session) && window.let_on().contains(&session));
    }
}
