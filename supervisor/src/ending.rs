//! How a tree is being ended: which signals it was sent, whether they reached the leader, and when the next one is due.
//!
//! What was sent is noted before it is sent, so that whoever dies of it finds it noted.

use outlive_protocol::records::Cause;

use crate::failpoint;
use crate::sys::ignore;
use crate::sys::process::{self, How, NEVER, SIGKILL};
use crate::tree::Tree;

/// How often SIGKILL is repeated without news: only a process that is stuck in the kernel needs that.
const KILL_AGAIN_NS: u64 = 1_000_000_000;
/// How long other tasks' supervisors have, of the second that a tree may take to die.
const SPARED_NS: u64 = 500_000_000;
/// How often to look for processes that have not been signalled yet: an orphan becomes ours without a word when its parent was not our
/// child.
const TELL_AGAIN_NS: u64 = 100_000_000;

/// A tree that is being ended.
pub(crate) struct Ending {
    /// What came first.
    pub(crate) cause: Cause,
    /// The latest signal.
    signal: u8,
    /// Every signal that the tree was told.
    sent: u64,
    /// Every signal of ours that was sent while the leader was in reach.
    reached: u64,
    /// The leader did something of its own with one of them, so what it does now is our doing.
    handled: bool,
    tree: Tree,
    /// When to look for others that are to be told.
    pub(crate) tell_at: u64,
    /// SIGKILL has been sent.
    pub(crate) forced: bool,
    /// Until then other tasks' supervisors do not get it.
    spared_until: u64,
    /// When it is sent (again).
    pub(crate) force_at: u64,
}

impl Ending {
    /// Nothing has been sent yet.
    pub(crate) fn new(cause: Cause, leader: u32) -> Ending {
        Ending {
            cause,
            signal: 0,
            sent: 0,
            reached: 0,
            handled: false,
            tree: Tree::new(leader),
            tell_at: NEVER,
            forced: false,
            spared_until: 0,
            force_at: NEVER,
        }
    }

    /// SIGKILL then, if not earlier. Where it is being repeated, its next time stays: whoever asks often would put it off.
    pub(crate) fn force_by(&mut self, at: u64) {
        if !self.forced {
            self.force_at = self.force_at.min(at);
        }
    }

    /// The signal, once, to everybody in reach. `leader_runs`: its end has not been seen yet.
    pub(crate) fn tell(&mut self, signal: u8, leader_runs: bool, now: u64) {
        if self.sent & process::bit(signal) != 0 {
            return;
        }
        self.sent |= process::bit(signal);
        self.tree.start_over();
        // It takes its time in a large tree, and no time may pass between the look at the leader and the signal.
        self.tree.look();
        if leader_runs && self.tree.leader_runs() && self.tree.leader_is_in_reach() {
            self.reached |= process::bit(signal);
            self.handled |= self.tree.leader_handles(signal);
        }
        self.signal = signal;
        self.tell_at = now.saturating_add(TELL_AGAIN_NS);
        ignore(failpoint::pass("supervisor.before_signal"));
        self.tree.tell(signal);
        ignore(failpoint::pass("supervisor.after_signal"));
    }

    /// The latest signal to whoever has not got it yet.
    pub(crate) fn look_again(&mut self, now: u64) {
        if !self.forced {
            self.tell_at = now.saturating_add(TELL_AGAIN_NS);
            self.tree.tell(self.signal);
        }
    }

    /// SIGKILL to everybody in reach, now and until nobody lives.
    pub(crate) fn force(&mut self, leader_runs: bool, now: u64) {
        let again = self.forced && now >= self.spared_until;
        if !self.forced {
            self.forced = true;
            self.tell_at = NEVER;
            self.tree.start_over();
            self.spared_until = now.saturating_add(SPARED_NS);
            self.force_at = self.spared_until;
        } else if self.force_at <= now {
            self.force_at = now.saturating_add(KILL_AGAIN_NS);
        }
        ignore(failpoint::pass("supervisor.before_force"));
        self.kill(leader_runs, now);
        self.tree.kill_behind(again);
        ignore(failpoint::pass("supervisor.after_force"));
    }

    /// Somebody has died of it: SIGKILL to everybody in reach that lives; false when no child does.
    pub(crate) fn force_on(&mut self, leader_runs: bool, now: u64) -> bool {
        let lives = self.kill(leader_runs, now);
        if lives {
            // Whoever is spared is so for no longer than that, whatever dies meanwhile.
            self.force_at = if now < self.spared_until { self.spared_until } else { now.saturating_add(KILL_AGAIN_NS) };
        }
        lives
    }

    fn kill(&mut self, leader_runs: bool, now: u64) -> bool {
        // It may have come into reach since the last time.
        if leader_runs && self.tree.leader_is_in_reach() {
            self.reached |= process::bit(SIGKILL);
        }
        self.tree.kill(now < self.spared_until)
    }

    /// Did a signal of ours do this to the leader? One that it was killed by, or one that it had an answer to.
    pub(crate) fn explains(&self, how: How) -> bool {
        let signal = match how {
            How::Code(_) => 0,
            How::Signal(signal) => process::bit(signal),
        };
        self.handled || self.reached & signal != 0
    }
}
