//! What `/proc` shows. Its numbers are those of the pid namespace that it was mounted in, which may be one around ours.

use core::ffi::CStr;

use outlive_protocol::names;

use crate::sys::Result;
use crate::sys::files::{self, File};
use crate::sys::process;

/// By which number of ours a process goes whose number in `/proc` is known.
pub(crate) enum Numbers {
    /// By the same.
    Same,
    /// `/proc` is of a namespace around ours; ours stands in this place of a process's `NSpid`.
    At(usize),
    /// Nobody can tell.
    Unknown,
}

impl Numbers {
    /// Looks at ourselves; `listed` is our number in `/proc`.
    pub(crate) fn look(listed: Option<u32>) -> Numbers {
        if listed == Some(process::id()) {
            return Numbers::Same;
        }
        let mut numbers = Numbers::Unknown;
        each_number_of(&Path::new().text(b"/proc/self/status"), &mut |place, _| numbers = Numbers::At(place));
        numbers
    }

    /// Our number of the process that `/proc` lists under this one.
    pub(crate) fn ours(&self, listed: u32) -> Option<u32> {
        let mut ours = None;
        match *self {
            Numbers::Same => ours = Some(listed),
            Numbers::At(wanted) => each_number_of(&path_of(listed, b"/status"), &mut |place, number| {
                if place == wanted {
                    ours = Some(number);
                }
            }),
            Numbers::Unknown => {}
        }
        ours
    }
}

/// Our own number in `/proc`, if it knows us.
pub(crate) fn own_number() -> Option<u32> {
    let mut buffer = [0; 16];
    let number = files::read_link(c"/proc/self", &mut buffer).ok()?;
    Some(number.iter().fold(0, decimal))
}

/// The directory of a process, which stays its own when its number is another's.
pub(crate) fn open(pid: u32) -> Result<File> {
    File::open_directory(path_of(pid, b"").text_with_nul())
}

/// The parent of a process, both by their numbers in `/proc`. None for who is gone, and for whose parent is not listed.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    let mut parent = 0;
    each_line(&path_of(pid, b"/status"), &mut |line| {
        if let Some(digits) = line.strip_prefix(b"PPid:\t") {
            parent = digits.iter().fold(0, decimal);
        }
    });
    (parent != 0).then_some(parent)
}

/// The numbers of a process in each namespace, from that of `/proc` to its own.
fn each_number_of(status: &Path, act: &mut dyn FnMut(usize, u32)) {
    each_line(status, &mut |line| {
        let numbers = line.strip_prefix(b"NSpid:\t").into_iter().flat_map(|numbers| numbers.split(|byte| *byte == b'\t'));
        numbers.enumerate().for_each(|(place, digits)| act(place, digits.iter().fold(0, decimal)));
    });
}

/// Is this the first process of a pid namespace below that of `/proc`?
pub(crate) fn is_first(pid: u32) -> bool {
    let mut last = (0, 0);
    each_number_of(&path_of(pid, b"/status"), &mut |place, number| last = (place, number));
    matches!(last, (1.., 1))
}

/// Is this process a task's supervisor? By its number in `/proc`: false for one of ours where that has others. Its arguments say so
/// too, but they stand in its memory, and there the kernel lets nobody look while it waits in an `mmap` for a file system that does not
/// answer.
pub(crate) fn is_supervisor(pid: u32) -> bool {
    let mut buffer = [0; 16];
    let name = read_start(&path_of(pid, b"/comm"), &mut buffer);
    name.and_then(|name| name.strip_suffix(b"\n")).is_some_and(|name| name == names::SUPERVISOR_COMM)
}

/// Does this process do something else with this signal than what it does by default? True when nobody can tell.
pub(crate) fn handles(pid: u32, signal: u8) -> bool {
    if is_in_exec(pid) {
        return true;
    }
    let mut answers = false;
    let first = stat_of(pid, pid);
    if first.is_some_and(ends) {
        // A signal is the first thread's to take unless that has ended.
        each_thread(pid, &mut |thread| {
            let stat = stat_of(pid, thread);
            answers |= !stat.is_none_or(ends) && answers_to(pid, thread, stat, signal);
        });
    } else {
        answers = answers_to(pid, pid, first, signal);
    }
    // The masks stay until it is a zombie, and that can take a second where much memory is given back. So this comes last: what
    // was on its way out then had no answer to a signal that is still to be sent.
    answers && !is_on_its_way_out(pid)
}

/// Is this process in an exec that has given it its new memory? It closes its files then, for which a file system may let it wait for ever,
/// and who reads its `stat`, or asks for its call, waits as well. That memory has no code yet.
fn is_in_exec(pid: u32) -> bool {
    let mut buffer = [0; 128];
    let sizes = read_start(&path_of(pid, b"/statm"), &mut buffer).unwrap_or_default();
    let mut sizes = sizes.split(|byte| *byte == b' ').map(|size| size.iter().fold(0, decimal));
    // All of it, what is in use, what is shared, code. A zombie has none.
    sizes.next().is_some_and(|all| all > 0) && sizes.nth(2) == Some(0)
}

/// Is this signal in one of a thread's masks, or may the thread be waiting for it? What is blocked may be taken from a queue, as
/// tini and systemd do; while `sigwait` waits, the mask does not show it.
fn answers_to(pid: u32, thread: u32, stat: Option<Stat>, signal: u8) -> bool {
    const MASKS: [&[u8]; 3] = [b"SigBlk:\t", b"SigIgn:\t", b"SigCgt:\t"];
    let mut buffer = [0; 16];
    // Who cannot be woken is in no `sigwait`. It may be in an exec that waits for a file system, and before Linux 5.7 whoever asks then for
    // its call waits too.
    if stat.is_none_or(|stat| stat.state != b'D') {
        let call = read_start(&file_of(pid, thread, b"/syscall"), &mut buffer);
        // Who has made itself unreadable (`PR_SET_DUMPABLE`) may be in any.
        if call.is_none_or(|call| process::IN_SIGWAIT.iter().any(|number| call.starts_with(number))) {
            return true;
        }
    }
    let (mut found, mut is_in_one) = (0, false);
    each_line(&file_of(pid, thread, b"/status"), &mut |line| {
        if let Some(digits) = MASKS.iter().find_map(|name| line.strip_prefix(*name)) {
            let mask = digits.iter().fold(0, |mask, digit| (mask << 4) | u64::from(hexadecimal(*digit)));
            is_in_one |= mask & process::bit(signal) != 0;
            found += 1;
        }
    });
    is_in_one || found < MASKS.len()
}

/// Has every thread of this process begun to end? False when nobody can tell.
fn is_on_its_way_out(pid: u32) -> bool {
    let (mut ending, mut others) = (0, 0);
    // A thread that is gone meanwhile has ended.
    each_thread(pid, &mut |thread| *(if stat_of(pid, thread).is_none_or(ends) { &mut ending } else { &mut others }) += 1);
    ending > 0 && others == 0
}

/// What a thread does, as its `stat` shows it.
#[derive(Clone, Copy)]
struct Stat {
    state: u8,
    flags: u32,
}

/// Has such a thread begun to end, or been hit by a signal that ends it?
fn ends(stat: Stat) -> bool {
    const EXITING: u32 = 0x4;
    const SIGNALED: u32 = 0x400;
    stat.flags & (EXITING | SIGNALED) != 0
}

/// The name before the state stands in parentheses and may hold any character, so the last one closes it.
fn stat_of(pid: u32, thread: u32) -> Option<Stat> {
    let mut buffer = [0; 512];
    let stat = read_start(&file_of(pid, thread, b"/stat"), &mut buffer)?;
    let mut fields = stat.rsplit(|byte| *byte == b')').next()?.strip_prefix(b" ")?.split(|byte| *byte == b' ');
    let state = *fields.next()?.first()?;
    Some(Stat { state, flags: fields.nth(5)?.iter().fold(0, decimal) })
}

/// A process's directory, or a file in it.
#[inline(never)]
fn path_of(pid: u32, name: &[u8]) -> Path {
    Path::new().text(b"/proc/").number(pid).text(name)
}

/// A file of one thread.
fn file_of(pid: u32, thread: u32, name: &[u8]) -> Path {
    path_of(pid, b"/task/").number(thread).text(name)
}

fn decimal(number: u32, digit: &u8) -> u32 {
    number.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0')))
}

fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.wrapping_sub(b'a').wrapping_add(10) & 15,
    }
}

/// False for a zombie and for who is gone. A process whose first thread has ended shows as a zombie with others.
pub(crate) fn lives(pid: u32) -> bool {
    let (mut state, mut threads) = (None, 0);
    each_line(&path_of(pid, b"/status"), &mut |line| {
        if let Some(word) = line.strip_prefix(b"State:\t") {
            state = word.first().copied();
        } else if let Some(digits) = line.strip_prefix(b"Threads:\t") {
            threads = digits.iter().fold(0, decimal);
        }
    });
    match state {
        Some(b'Z') => threads > 1,
        state => !matches!(state, None | Some(b'X')),
    }
}

/// Calls `act` for each direct child of ours, ended ones included. False when there is no list to read.
pub(crate) fn each_own_child(act: &mut dyn FnMut(u32)) -> bool {
    // Not by `/proc/thread-self`: proot knows `/proc/self` alone, and follows that link as its own.
    own_number().is_some_and(|own| each_number(&file_of(own, own, b"/children"), act))
}

/// Calls `act` for each child of a process.
pub(crate) fn each_child(pid: u32, act: &mut dyn FnMut(u32)) {
    each_thread(pid, &mut |thread| {
        each_number(&file_of(pid, thread, b"/children"), act);
    });
}

/// Reads a list of process ids. It is exact for our own children: they leave the list only when we reap them.
fn each_number(path: &Path, act: &mut dyn FnMut(u32)) -> bool {
    let mut pid = 0u32;
    each_byte(path, &mut |byte| match byte {
        b'0'..=b'9' => pid = decimal(pid, &byte),
        _ if pid != 0 => act(core::mem::take(&mut pid)),
        _ => {}
    })
}

/// Calls `act` for each line, cut off where it is longer than any that is looked at: who is in many groups has one of any length.
fn each_line(path: &Path, act: &mut dyn FnMut(&[u8])) {
    let mut line = [0; 128];
    let mut length = 0;
    each_byte(path, &mut |byte| match (byte, line.get_mut(length)) {
        (b'\n', _) => act(line.get(..core::mem::take(&mut length)).unwrap_or_default()),
        (_, Some(slot)) => (*slot, length) = (byte, length + 1),
        (_, None) => {}
    });
}

/// Reads a file by pieces. False when it cannot be opened.
fn each_byte(path: &Path, act: &mut dyn FnMut(u8)) -> bool {
    let Ok(file) = File::open(-1, path.text_with_nul()) else { return false };
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = files::read(file.number(), &mut buffer) {
        buffer.iter().take(length).for_each(|byte| act(*byte));
    }
    true
}

fn read_start<'a>(path: &Path, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = File::open(-1, path.text_with_nul()).ok()?;
    let length = files::read(file.number(), buffer).ok()?;
    buffer.get(..length)
}

/// Calls `act` for each thread of a process: each has children of its own.
fn each_thread(pid: u32, act: &mut dyn FnMut(u32)) {
    let path = path_of(pid, b"/task");
    let Ok(directory) = File::open_directory(path.text_with_nul()) else { return };
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = files::read_directory(&directory, &mut buffer) {
        let mut entries = buffer.get(..length).unwrap_or_default();
        // Two 64-bit numbers, the entry's length in two bytes, its kind in one, its name with a NUL.
        while let (Some([low, high]), Some(name)) = (entries.get(16..18), entries.get(19..)) {
            let digits = name.iter().take_while(|byte| byte.is_ascii_digit());
            let thread = digits.fold(0, decimal);
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

    #[inline(never)]
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
