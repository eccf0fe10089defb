//! Who lives, and how all of it is ended. We are the only one who reaps our children, and do one thing at a time: a child
//! that has not been reaped keeps its process id, and a group that has such a member keeps its number. Nothing else is
//! ever signalled, so a number that was given to a stranger meanwhile cannot be hit.
//!
//! Only direct children are signalled, with their whole groups. A process deeper down becomes a direct child when what is
//! above it dies, and that death wakes us; so a tree of any shape comes apart from the top.

use core::ffi::CStr;

use crate::sys::files::{self, File};
use crate::sys::memory::Region;
use crate::sys::process;

/// How many groups can be told to end before the rest just gets the SIGKILL, and how many processes are counted.
const MANY: usize = 16_384;

/// The groups that got a signal already: each gets it once, however often we look.
#[derive(Default)]
pub(crate) struct Told {
    targets: Option<Region<i32>>,
    count: usize,
}

impl Told {
    /// Forgets all, for another signal.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    /// Remembers a target; false when it is known, or when there is no room to remember it.
    fn add(&mut self, target: i32) -> bool {
        if self.targets.is_none() {
            self.targets = Region::new(MANY).ok();
        }
        let Some(targets) = &mut self.targets else { return false };
        if targets.iter().take(self.count).any(|known| *known == target) {
            return false;
        }
        let Some(slot) = targets.get_mut(self.count) else { return false };
        *slot = target;
        self.count += 1;
        true
    }
}

/// Sends a signal to every group that has not got it yet, and wakes what was stopped so that it can act on it.
pub(crate) fn tell(leader: u32, signal: u8, told: &mut Told) {
    each_target(leader, &mut |target, _| {
        if told.add(target) {
            process::signal(target, signal);
            process::signal(target, process::SIGCONT);
        }
    });
}

/// Sends SIGKILL to everything in reach; false when no child lives. To be repeated after each death until then.
pub(crate) fn kill(leader: u32) -> bool {
    let mut last = 0;
    let mut lives = false;
    each_target(leader, &mut |target, ended| {
        lives |= !ended;
        // There may be many of the dead; who lives in their groups is in reach when those above have died.
        if target != last && (!ended || target == -(leader as i32)) {
            process::signal(target, process::SIGKILL);
            last = target;
        }
    });
    lives
}

/// The leader's group and the group of every direct child, each proven to be ours at that moment, and whether that child
/// has ended.
fn each_target(leader: u32, act: &mut dyn FnMut(i32, bool)) {
    let own_group = process::group_of(0).unwrap_or(0);
    if let Ok(ended) = process::group_has_ended(leader) {
        act(-(leader as i32), ended);
    }
    each_own_child(&mut |child| {
        // `/proc` may be another namespace's; only a child of ours answers here.
        let Ok(ended) = process::has_ended(child) else { return };
        match process::group_of(child as i32) {
            Ok(group) if group > 1 && group != own_group => act(-group, ended),
            _ => act(child as i32, ended),
        }
    });
}

/// The live processes of this tree, zombies not counted. 1 where there is no `/proc` to look.
pub(crate) fn count() -> u64 {
    let Ok(mut queue) = Region::<u32>::new(MANY) else { return 1 };
    let mut filled = 0;
    let readable = each_own_child(&mut |child| push(&mut queue, &mut filled, child));
    if !readable {
        return 1;
    }
    let mut live = 0;
    let mut at = 0;
    while at < filled {
        let Some(pid) = queue.get(at).copied() else { break };
        at += 1;
        if lives(pid) {
            live += 1;
            each_thread(pid, &mut |thread| {
                let path = Path::new().text(b"/proc/").number(pid).text(b"/task/").number(thread).text(b"/children");
                each_child(&path, &mut |child| push(&mut queue, &mut filled, child));
            });
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

/// Does this process do something else with this signal than what it does by default? True when nobody can tell.
pub(crate) fn handles(pid: u32, signal: u8) -> bool {
    if !is_proc_ours() {
        // Who has this number there is another.
        return true;
    }
    // What is blocked may be taken from a queue, as tini and systemd do. While `sigwait` waits, the mask does not show it.
    let mut buffer = [0; 16];
    let call = read_start(&Path::new().text(b"/proc/").number(pid).text(b"/syscall"), &mut buffer);
    call.is_some_and(|call| call.starts_with(process::IN_SIGWAIT)) || masks(pid, signal)
}

/// Does `/proc` number the processes as we do? That of another pid namespace does not.
fn is_proc_ours() -> bool {
    let mut buffer = [0; 16];
    let own = Path::new().number(process::id()).text(b" ");
    let stat = read_start(&Path::new().text(b"/proc/self/stat"), &mut buffer);
    stat.is_some_and(|stat| stat.starts_with(own.text_with_nul().to_bytes()))
}

/// Is this signal in one of the masks of a process?
fn masks(pid: u32, signal: u8) -> bool {
    const MASKS: [[u8; 8]; 3] = [*b"SigBlk:\t", *b"SigIgn:\t", *b"SigCgt:\t"];
    let Ok(status) = File::open(-1, Path::new().text(b"/proc/").number(pid).text(b"/status").text_with_nul()) else {
        return true;
    };
    let mut found = 0;
    let (mut name, mut column, mut mask) = (0u64, 0, 0u64);
    let mut buffer = [0; 512];
    // By pieces: who is in many groups has lines of any length.
    while let Ok(length @ 1..) = files::read(status.number(), &mut buffer) {
        for byte in buffer.iter().take(length) {
            match (*byte, column) {
                (b'\n', _) => {
                    let is_mask = MASKS.contains(&name.to_be_bytes());
                    if is_mask && mask & process::bit(signal) != 0 {
                        return true;
                    }
                    found += usize::from(is_mask);
                    (name, column, mask) = (0, 0, 0);
                }
                (byte, 0..8) => (name, column) = ((name << 8) | u64::from(byte), column + 1),
                (byte, _) => mask = (mask << 4) | u64::from(hexadecimal(byte)),
            }
        }
    }
    found < MASKS.len()
}

fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.wrapping_sub(b'a').wrapping_add(10) & 15,
    }
}

/// False for a zombie and for who is gone. A process whose first thread has ended shows as a zombie with others.
fn lives(pid: u32) -> bool {
    let mut buffer = [0; 512];
    let stat = read_start(&Path::new().text(b"/proc/").number(pid).text(b"/stat"), &mut buffer).unwrap_or_default();
    // The name stands in parentheses and may hold any character, so the last one closes it.
    let mut fields = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default().split(|byte| *byte == b' ').skip(1);
    match fields.next() {
        // The number of threads stands 17 fields behind the state.
        Some(b"Z") => fields.nth(16).is_some_and(|threads| !matches!(threads, b"0" | b"1")),
        state => !matches!(state, None | Some(b"" | b"X")),
    }
}

fn read_start<'a>(path: &Path, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = File::open(-1, path.text_with_nul()).ok()?;
    let length = files::read(file.number(), buffer).ok()?;
    buffer.get(..length)
}

/// Calls `act` for each direct child, ended ones included. False when there is no list to read.
fn each_own_child(act: &mut dyn FnMut(u32)) -> bool {
    each_child(&Path::new().text(b"/proc/thread-self/children"), act)
}

/// Reads a list of process ids. It is exact for our own children: they leave the list only when we reap them.
fn each_child(path: &Path, act: &mut dyn FnMut(u32)) -> bool {
    let Ok(file) = File::open(-1, path.text_with_nul()) else { return false };
    let mut buffer = [0; 512];
    let mut pid = 0u32;
    while let Ok(length @ 1..) = files::read(file.number(), &mut buffer) {
        for byte in buffer.iter().take(length) {
            match byte {
                b'0'..=b'9' => pid = pid.wrapping_mul(10).wrapping_add(u32::from(*byte - b'0')),
                _ if pid != 0 => {
                    act(pid);
                    pid = 0;
                }
                _ => {}
            }
        }
    }
    true
}

/// Calls `act` for each thread of a process: each has children of its own.
fn each_thread(pid: u32, act: &mut dyn FnMut(u32)) {
    let path = Path::new().text(b"/proc/").number(pid).text(b"/task");
    let Ok(directory) = File::open_directory(path.text_with_nul()) else { return };
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = files::read_directory(&directory, &mut buffer) {
        let mut entries = buffer.get(..length).unwrap_or_default();
        // Two 64-bit numbers, the entry's length in two bytes, its kind in one, its name with a NUL.
        while let (Some([low, high]), Some(name)) = (entries.get(16..18), entries.get(19..)) {
            let digits = name.iter().take_while(|byte| byte.is_ascii_digit());
            let thread = digits.fold(0u32, |number, digit| number.wrapping_mul(10).wrapping_add(u32::from(*digit - b'0')));
            if thread != 0 {
                act(thread);
            }
            entries = entries.get(usize::from(u16::from_le_bytes([*low, *high])).max(1)..).unwrap_or_default();
        }
    }
}

/// A path under `/proc`, with room for the longest that is built here.
struct Path {
    bytes: [u8; 64],
    length: usize,
}

impl Path {
    fn new() -> Path {
        Path { bytes: [0; 64], length: 0 }
    }

    fn text(mut self, text: &[u8]) -> Path {
        for byte in text {
            if let Some(slot) = self.bytes.get_mut(self.length) {
                *slot = *byte;
                self.length += 1;
            }
        }
        self
    }

    fn number(self, number: u32) -> Path {
        let mut digits = [0; 10];
        let mut rest = number;
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        let from = digits.len().saturating_sub(used);
        self.text(digits.get(from..).unwrap_or_default())
    }

    fn text_with_nul(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}
