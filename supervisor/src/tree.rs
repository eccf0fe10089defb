//! Who lives, and how all of it is ended. We are the only one who reaps our children, and do one thing at a time: a child
//! that has not been reaped keeps its process id, and a group that has such a member keeps its number. No other number is
//! ever signalled, so one that was given to a stranger meanwhile cannot be hit.
//!
//! Direct children are signalled with their whole groups. A process deeper down becomes a direct child when what is
//! above it dies, and that death wakes us; so a tree of any shape comes apart from the top. Where what is above lives on,
//! because it has an answer to the signal or because we may not signal it, whoever is in a group of their own below it are
//! signalled one by one: each is held by a descriptor while we make sure that it is below us.

use crate::proc::{self, Numbers};
use crate::sys::files::File;
use crate::sys::memory::Region;
use crate::sys::process;
use crate::sys::{Result, ignore};

/// How long the first process of a pid namespace has to follow its parent. bwrap ends as soon as it knows how its command did, half a
/// millisecond before the namespace does, with all in it: nothing of that was left behind.
const NAMESPACE_ENDS_NS: u64 = 50 * process::NS_PER_MS;
/// How many groups can be told to end before the rest just gets the SIGKILL, and how many processes are counted.
const MANY: usize = 16_384;
/// How many processes deeper down are signalled one by one, and how far down: to make sure of one takes as many looks as it has above it.
const MAX_ALONE: usize = 2048;
const MAX_DEPTH: u32 = 32;
/// How many other supervisors are left out of a SIGKILL for a while: whoever forks on under their name is not one of so many for long.
const MAX_SPARED: usize = 64;

/// A tree that is being ended.
pub(crate) struct Tree {
    leader: u32,
    /// Our own number in `/proc`.
    listed: Option<u32>,
    numbers: Numbers,
    told: Told,
    /// Who was there before the next signal.
    before: Option<Listed>,
}

/// The groups and processes that got a signal already: each gets it once, however often we look.
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
            process::signal(group, process::SIGCONT);
        }
        is_one
    }
}

/// What is remembered of a group of which some were told alone: it is not told as a whole any more.
fn in_parts(group: i32) -> i32 {
    // Larger than any process's number.
    const IN_PARTS: i32 = 1 << 30;
    IN_PARTS.saturating_sub(group)
}

impl Tree {
    /// Everything below us; `leader` is our first child.
    pub(crate) fn new(leader: u32) -> Tree {
        let listed = proc::own_number();
        let numbers = Numbers::look(listed);
        Tree { leader, listed, numbers, told: Told::default(), before: None }
    }

    /// Nobody has been told of the next signal.
    pub(crate) fn start_over(&mut self) {
        self.told.count = 0;
        self.before = None;
    }

    /// Finds who is to be told of the next signal, wherever they are. What is started in answer to it comes later and is left to its work.
    pub(crate) fn look(&mut self) {
        self.before = Listed::below(&|_| true);
    }

    /// Sends a signal to every group that has not got it yet, and wakes what was stopped so that it can act on it.
    pub(crate) fn tell(&mut self, signal: u8) {
        let Tree { leader, numbers, told, .. } = self;
        each_target(*leader, numbers, &mut |target, member, _| {
            let target = if told.knows(in_parts(target)) { member } else { target };
            if !told.knows(in_parts(target)) && told.add(target) {
                process::signal(target, signal);
                process::signal(target, process::SIGCONT);
            }
        });
        self.tell_deeper(signal);
    }

    /// Sends it to whoever was there before and is in none of those groups.
    fn tell_deeper(&mut self, signal: u8) {
        // Of a group that is too large for it nobody is told alone: it would not be told as a whole any more.
        let Some(before) = self.before.take().filter(|before| before.count <= MAX_ALONE) else { return };
        for pid in before.each() {
            let Some(number) = self.numbers.ours(pid).map(|number| number as i32) else { continue };
            let group = -process::group_of(number).unwrap_or(0);
            if self.told.knows(group) || self.told.knows(number) {
                continue;
            }
            // Where the system refuses, the group is told as a whole when one of it is our child.
            if let Some(held) = hold(pid, self.listed)
                && process::signal_held(&held, signal).is_ok()
            {
                self.told.add(number);
                self.told.add(in_parts(group));
                ignore(process::signal_held(&held, process::SIGCONT));
            }
        }
    }

    /// Sends SIGKILL to everything in reach; false when no child lives that it can have reached. To be repeated after each death until
    /// then. `spares`: another task's supervisor is only told that its time is over, so that it can end its own and say so.
    pub(crate) fn kill(&mut self, spares: bool) -> bool {
        let Tree { leader, numbers, told, .. } = self;
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

    /// Sends SIGKILL to everybody below children that we may not signal: nobody there comes into reach before those end. `again`: also
    /// below those that it has not ended so far.
    pub(crate) fn kill_behind(&self, again: bool) {
        let stays = |child| process::has_ended(child) == Ok(false) && (again || !process::may_signal(child as i32));
        let below = Listed::below(&|child| self.numbers.ours(child).is_some_and(stays));
        for pid in below.iter().flat_map(Listed::each).take(MAX_ALONE) {
            if let Some(held) = hold(pid, self.listed) {
                ignore(process::signal_held(&held, process::SIGKILL));
            }
        }
    }

    /// Has the leader not ended yet?
    pub(crate) fn leader_runs(&self) -> bool {
        process::has_ended(self.leader) == Ok(false)
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

/// Who has this number in `/proc`, by a descriptor, if that one is below us. As long as it is there to be signalled nobody else has had
/// the number, so what we read by it is about no stranger.
fn hold(pid: u32, us: Option<u32>) -> Option<File> {
    // Those above it may be dying of the same signal, and then it is below another.
    const TRIES: u32 = 8;
    let held = proc::open(pid).ok()?;
    (0..TRIES).any(|_| is_below(pid, us, MAX_DEPTH)).then_some(held)
}

/// Is this process below us, not more levels than these? Sure if it has been the same one all the time: a parent is older than its
/// children, so whoever is called their parent before and after has been the same one in between too. Another task's supervisor,
/// and what that has started, is not ours to end before it is our child.
fn is_below(pid: u32, us: Option<u32>, levels: u32) -> bool {
    let parent = proc::parent_of(pid);
    match parent {
        Some(above) if levels > 0 && !proc::is_supervisor(pid) => {
            parent == us || is_below(above, us, levels - 1) && proc::parent_of(pid) == parent
        }
        _ => false,
    }
}

/// How many live besides the leader, and whether there is still a child to wait for.
pub(crate) fn count_others() -> (u64, bool) {
    let until = process::monotonic_ns().saturating_add(NAMESPACE_ENDS_NS);
    while are_first_processes() && process::monotonic_ns() < until {
        process::pause(process::NS_PER_MS / 2);
        if !reap_others() {
            return (0, false);
        }
    }
    let live = count();
    if live > 0 {
        return (live, true);
    }
    // They ended while we were looking.
    if reap_others() { (count().max(1), true) } else { (0, false) }
}

/// Takes all children that have ended, the leader being none of them. Is there still one to wait for?
fn reap_others() -> bool {
    loop {
        match process::reap() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// The live processes of this tree, zombies not counted. 1 where there is no `/proc` to look.
fn count() -> u64 {
    let Ok(mut listed) = Listed::new() else { return 1 };
    if !proc::each_own_child(&mut |child| listed.push(child)) {
        return 1;
    }
    let mut live = 0;
    listed.go_down(&mut |pid| {
        let lives = proc::lives(pid);
        live += u64::from(lives);
        lives
    });
    live
}

/// Is each of our children the first process of a pid namespace, with which all in it end?
fn are_first_processes() -> bool {
    let (mut all, mut first) = (0u32, 0u32);
    proc::each_own_child(&mut |child| {
        all = all.saturating_add(1);
        first = first.saturating_add(u32::from(proc::is_first(child)));
    });
    all > 0 && all == first
}

/// Processes of this tree by their numbers in `/proc`, those above before those below.
struct Listed {
    pids: Region<u32>,
    count: usize,
}

impl Listed {
    fn new() -> Result<Listed> {
        Ok(Listed { pids: Region::new(MANY)?, count: 0 })
    }

    /// Those of our children who pass, and everybody below them.
    fn below(passes: &dyn Fn(u32) -> bool) -> Option<Listed> {
        let mut listed = Listed::new().ok()?;
        proc::each_own_child(&mut |child| {
            if passes(child) {
                listed.push(child);
            }
        });
        listed.go_down(&mut |pid| !proc::is_supervisor(pid));
        Some(listed)
    }

    fn push(&mut self, pid: u32) {
        if let Some(slot) = self.pids.get_mut(self.count) {
            *slot = pid;
            self.count += 1;
        }
    }

    /// Adds the children of each for whom `act` says so, and theirs.
    fn go_down(&mut self, act: &mut dyn FnMut(u32) -> bool) {
        let mut at = 0;
        while let Some(pid) = self.pids.get(at).copied().filter(|_| at < self.count) {
            at += 1;
            if act(pid) {
                proc::each_child(pid, &mut |child| self.push(child));
            }
        }
    }

    fn each(&self) -> impl Iterator<Item = u32> {
        self.pids.iter().take(self.count).copied()
    }
}
