//! Who lives, and how all of it is ended. We are the only one who reaps our children, and do one thing at a time: a child
//! that has not been reaped keeps its process id, and a group that has such a member keeps its number. Nothing else is
//! ever signalled, so a number that was given to a stranger meanwhile cannot be hit.
//!
//! Only direct children are signalled, with their whole groups. A process deeper down becomes a direct child when what is
//! above it dies, and that death wakes us; so a tree of any shape comes apart from the top.

use crate::proc::{self, Numbers};
use crate::sys::memory::Region;
use crate::sys::process;

/// How many groups can be told to end before the rest just gets the SIGKILL, and how many processes are counted.
const MANY: usize = 16_384;
/// How many other supervisors are left out of a SIGKILL for a while: whoever forks on under their name is not one of so many for long.
const MAX_SPARED: usize = 64;

/// A tree that is being ended.
pub(crate) struct Tree {
    leader: u32,
    numbers: Numbers,
    told: Told,
}

/// The groups that got a signal already: each gets it once, however often we look.
#[derive(Default)]
struct Told {
    targets: Option<Region<i32>>,
    count: usize,
}

impl Told {
    /// Remembers a target; false when it is known, or when there is no room to remember it.
    fn add(&mut self, target: i32) -> bool {
        if self.targets.is_none() {
            self.targets = Region::new(MANY).ok();
        }
        if self.knows(target) {
            return false;
        }
        let Some(targets) = &mut self.targets else { return false };
        let Some(slot) = targets.get_mut(self.count) else { return false };
        *slot = target;
        self.count += 1;
        true
    }

    fn knows(&self, target: i32) -> bool {
        self.targets.iter().any(|targets| targets.iter().take(self.count).any(|known| *known == target))
    }

    /// Whether another task's supervisor, which leads this group, is left out of a SIGKILL. It is told so, once.
    fn spares(&mut self, group: i32) -> bool {
        if self.knows(group) {
            return true;
        }
        let is_one = self.count < MAX_SPARED && proc::is_supervisor(group.unsigned_abs()) && self.add(group);
        if is_one {
            process::signal(group, process::TIME_IS_OVER);
        }
        is_one
    }
}

impl Tree {
    /// Everything below us; `leader` is our first child.
    pub(crate) fn new(leader: u32) -> Tree {
        Tree { leader, numbers: Numbers::look(), told: Told::default() }
    }

    /// Nobody has been told of the next signal.
    pub(crate) fn start_over(&mut self) {
        self.told.count = 0;
    }

    /// Sends a signal to every group that has not got it yet, and wakes what was stopped so that it can act on it.
    pub(crate) fn tell(&mut self, signal: u8) {
        let Tree { leader, numbers, told } = self;
        each_target(*leader, numbers, &mut |target, _, _| {
            if told.add(target) {
                process::signal(target, signal);
                process::signal(target, process::SIGCONT);
            }
        });
    }

    /// Sends SIGKILL to everything in reach; false when no child lives that it can have reached. To be repeated after each death until
    /// then. `spares`: another task's supervisor is only told that its time is over, so that it can end its own and say so.
    pub(crate) fn kill(&mut self, spares: bool) -> bool {
        let Tree { leader, numbers, told } = self;
        let mut last = 0;
        let mut lives = false;
        each_target(*leader, numbers, &mut |target, member, ended| {
            // Who has become another user's may live for days.
            lives = lives || !ended && process::may_signal(member);
            // There may be many of the dead; who lives in their groups is in reach when those above have died.
            if target == last || ended && target != -(*leader as i32) {
                return;
            }
            last = target;
            // A supervisor leads a group of its own.
            if !(spares && target == -member && told.spares(target)) {
                process::signal(target, process::SIGKILL);
            }
        });
        lives
    }

    /// Does a signal of ours reach the leader, if it is there?
    pub(crate) fn leader_is_in_reach(&self) -> bool {
        process::may_signal(self.leader as i32)
    }

    /// Does the leader do something else with this signal than what it does by default? True when nobody can tell.
    pub(crate) fn leader_handles(&self, signal: u8) -> bool {
        // Where `/proc` is another namespace's, who has this number there is another.
        !matches!(self.numbers, Numbers::Same) || proc::handles(self.leader, signal)
    }
}

/// The leader's group and the group of every direct child, each proven to be ours at that moment, whom it is the group of, and
/// whether that one has ended.
fn each_target(leader: u32, numbers: &Numbers, act: &mut dyn FnMut(i32, i32, bool)) {
    let own_group = process::group_of(0).unwrap_or(0);
    if let Ok(ended) = process::group_has_ended(leader) {
        act(-(leader as i32), -(leader as i32), ended);
    }
    proc::each_own_child(&mut |listed| {
        let Some(child) = numbers.ours(listed) else { return };
        // Only a child of ours answers here.
        let Ok(ended) = process::has_ended(child) else { return };
        match process::group_of(child as i32) {
            Ok(group) if group > 1 && group != own_group => act(-group, child as i32, ended),
            _ => act(child as i32, child as i32, ended),
        }
    });
}

/// The live processes of this tree, zombies not counted. 1 where there is no `/proc` to look.
pub(crate) fn count() -> u64 {
    let Ok(mut queue) = Region::<u32>::new(MANY) else { return 1 };
    let mut filled = 0;
    let readable = proc::each_own_child(&mut |child| push(&mut queue, &mut filled, child));
    if !readable {
        return 1;
    }
    let mut live = 0;
    let mut at = 0;
    while at < filled {
        let Some(pid) = queue.get(at).copied() else { break };
        at += 1;
        if proc::lives(pid) {
            live += 1;
            proc::each_child(pid, &mut |child| push(&mut queue, &mut filled, child));
        }
    }
    live
}

fn push(queue: &mut [u32], filled: &mut usize, pid: u32) {
    if let Some(slot) = queue.get_mut(*filled) {
        *slot = pid;
        *filled += 1;
    }
}
