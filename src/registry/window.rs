//! How many completions are on their way to callbacks at once. All of a backlog at once would lie in JavaScript's heap while the first
//! callbacks work: a host with a small one would die of what it is told, and the next one of the same.

use std::collections::{BTreeSet, HashMap};
use std::mem;

use crate::task::SessionId;

/// A thousand ordinary ones, so that whoever hands out is seldom waited for.
const WINDOW_BYTES: usize = 1 << 20;

/// What was handed out, by its leases, and no callback was called with yet.
#[derive(Default)]
pub(super) struct Window {
    sizes: HashMap<u32, usize>,
    total: usize,
    /// From when the window's bytes are on their way until half of them have arrived.
    is_full: bool,
    /// Sessions that have more to tell.
    held_up: BTreeSet<SessionId>,
}

impl Window {
    /// A completion is handed out, however large it is.
    pub(super) fn enter(&mut self, lease: u32, size: usize) {
        self.sizes.insert(lease, size);
        self.total += size;
        self.is_full |= self.total >= WINDOW_BYTES;
    }

    /// It has arrived, or will never.
    pub(super) fn leave(&mut self, lease: u32) {
        self.total -= self.sizes.remove(&lease).unwrap_or(0);
        self.is_full &= self.total >= WINDOW_BYTES / 2;
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

    #[test]
    fn a_full_window_holds_up_whoever_comes_until_half_of_it_has_arrived() {
        let mut window = Window::default();
        let (one, other) = (SessionId::new("one"), SessionId::new("other"));
        assert!(!window.holds_up(&one));
        for lease in 0..4 {
            window.enter(lease, WINDOW_BYTES / 4);
        }
        assert!(window.holds_up(&one) && window.holds_up(&other));
        window.leave(0);
        window.leave(1);
        assert!(window.holds_up(&one) && window.let_on().is_empty());
        window.leave(1);
        window.leave(2);
        assert_eq!(window.let_on().len(), 2);
        assert!(window.let_on().is_empty() && !window.holds_up(&one));
    }

    #[test]
    fn what_is_larger_than_the_window_goes_alone() {
        let mut window = Window::default();
        let session = SessionId::new("session");
        window.enter(7, 8 * WINDOW_BYTES);
        assert!(window.holds_up(&session));
        window.leave(7);
        assert!(!window.holds_up(&session) && window.let_on().contains(&session));
    }
}
