//! The output limit. Both ends of a capture file are kept and what lies between is given back to the disk: offsets stay
//! valid, nothing is copied, and the command notices nothing. `dropped.json` says which bytes are gone, and it says so
//! before they go.
//!
//! A silent task costs nothing: the kernel tells once that something in the task's directory was written (dnotify, which
//! unlike inotify has no limit per user), then a timer looks at the sizes, and the kernel is asked again.

use core::ffi::CStr;

use outlive_protocol::fds;
use outlive_protocol::names;
use outlive_protocol::records::{Dropped, MAX_RECORD, Range};

use crate::failpoint;
use crate::sys::files::{self, File};
use crate::sys::process::{self, NEVER};
use crate::sys::{Errno, Result};

const DROPPED: &CStr = names::DROPPED.as_c_str();
const OUTPUT: &CStr = names::OUTPUT.as_c_str();
const STDOUT: &CStr = names::STDOUT.as_c_str();
const STDERR: &CStr = names::STDERR.as_c_str();
const TASK: &CStr = names::TASK.as_c_str();
/// Holes begin and end at whole blocks.
const BLOCK: u64 = 4096;
/// Faster than a command can write: so long will the room that is left last at least.
const BYTES_PER_NANOSECOND: u64 = 4;
/// A writer is taken to become no more than so many times faster from one look to the next.
const TIMES_FASTER: u64 = 64;
/// How much a writer can have written unseen that becomes faster still.
const AHEAD: u64 = 64 << 20;
const SHORTEST_NS: u64 = 1_000_000;
const LONGEST_NS: u64 = 100_000_000;
/// How long nothing may be cut for want of memory or descriptors, once twice the limit is there.
const WANTING_NS: u64 = 1_000_000_000;
/// The longest pause where the kernel tells nothing about writes.
const UNTOLD_NS: u64 = 1_000_000_000;

/// The capture files of one task.
pub(crate) struct Output {
    /// 0: keep everything.
    limit: u64,
    stdout: Capture,
    /// Empty for ever when merged.
    stderr: Capture,
    record: Record,
    /// What the record says; none while it is empty.
    recorded: Option<Dropped>,
    told: bool,
    /// It has told of a write since it was last asked to.
    rung: bool,
    pause: u64,
    due: u64,
    looked_at: u64,
    /// How much was written between the last two looks, in how many nanoseconds.
    growth: (u64, u64),
    /// Since when nothing could be cut for want of memory or descriptors; [`NEVER`] when something could.
    wanting_since: u64,
    /// Set where nothing can be dropped: how long both may be together before the task has used its grace to write on.
    most: Option<u64>,
}

/// There is more than the limit, and it cannot be dropped.
pub(crate) enum Overflow {
    /// The task must be stopped.
    Begun,
    /// It has written as much again since, and must be stopped at once.
    WentOn,
}

/// `dropped.json`.
enum Record {
    /// Nothing was dropped yet.
    None,
    File(File),
    /// There was no inode for it, and its name is one more of `task.json`: readers take that for a record that says nothing, and go
    /// by the hole itself.
    NameOnly,
}

struct Capture {
    file: Option<i32>,
    name: &'static CStr,
    size: u64,
    on_disk: u64,
    dropped: Range,
    /// What it takes on the disk beyond what is kept, and no hole gives back: large blocks, and room that the file system has set aside
    /// for what is appended.
    set_aside: u64,
}

impl Capture {
    fn new(file: Option<i32>, name: &'static CStr) -> Capture {
        Capture { file, name, size: 0, on_disk: 0, dropped: (0, 0), set_aside: 0 }
    }

    /// Looks at the size; true when there is another one, or more on the disk.
    fn measure(&mut self, limit: u64) -> bool {
        let Some(stat) = self.file.and_then(|file| files::stat(file).ok()) else { return false };
        let changed = stat.size != self.size || stat.on_disk > self.on_disk;
        (self.size, self.on_disk) = (stat.size, stat.on_disk);
        if self.end_of_excess(limit) < self.dropped.1 {
            // A file that short has no such hole, so the command has truncated its own output: to nothing as a rule, and what it has
            // written since is all there; or into the hole or behind it, and there is one still, up to what it has written since.
            let end = self.first_data().unwrap_or(self.size).min(self.dropped.1);
            self.dropped = if end > self.dropped.0 { (self.dropped.0, end) } else { (0, 0) };
        }
        changed
    }

    /// Where the first bytes stand that somebody has written behind the kept beginning, if any do. Apart: its block would be one more
    /// page of every supervisor's stack.
    #[inline(never)]
    fn first_data(&self) -> Option<u64> {
        // By its name, as who reads it: where our own descriptor stands is the command's affair too.
        let file = File::open(fds::TASK_DIR, self.name).ok()?;
        let data = files::next_data(&file, self.dropped.0).ok()?;
        // Where the hole was cut off within this block, the rest of it was never written either.
        let mut block = [0; BLOCK as usize];
        let length = files::read_at(file.number(), &mut block, data).ok()?;
        let zeroes = block.iter().take(length).take_while(|byte| **byte == 0).count() as u64;
        Some(data.saturating_add(zeroes))
    }

    fn kept(&self) -> u64 {
        self.kept_of(self.size)
    }

    fn kept_of(&self, size: u64) -> u64 {
        size.saturating_sub(self.dropped.1.saturating_sub(self.dropped.0))
    }

    /// Where the kept end of a file of this size begins.
    fn end_of_excess(&self, limit: u64) -> u64 {
        self.size.saturating_sub(limit.div_ceil(2)) / BLOCK * BLOCK
    }

    /// What is to be dropped in all, when it is more than now.
    fn excess(&self, limit: u64) -> Option<Range> {
        if self.kept() <= most(limit) {
            return None;
        }
        let head = (limit / 2).next_multiple_of(BLOCK);
        let end = self.end_of_excess(limit);
        (end > head.max(self.dropped.1)).then_some((head, end))
    }

    /// What was dropped, when somebody has written into it since: a writer with an offset of its own.
    fn refilled(&self, limit: u64) -> Option<Range> {
        let most = self.kept().saturating_add(self.set_aside).saturating_add(slack(limit));
        (self.dropped.0 < self.dropped.1 && self.on_disk > most).then_some(self.dropped)
    }

    /// What an old hole does not give back when it is made once more, it never does. Who tried again each time would change the file
    /// each time, and be told of that.
    fn punched_again(&mut self) {
        let Some(stat) = self.file.and_then(|file| files::stat(file).ok()) else { return };
        let before = self.on_disk.saturating_sub(self.kept());
        let after = stat.on_disk.saturating_sub(self.kept_of(stat.size));
        self.set_aside = if after < before { 0 } else { after };
    }
}

/// How far the kept bytes may grow over the limit before they are cut back: a cut for every block would cost more.
fn slack(limit: u64) -> u64 {
    (limit / 8).max(BLOCK)
}

/// How many bytes are not cut back.
fn most(limit: u64) -> u64 {
    limit.saturating_add(slack(limit))
}

/// How long so many bytes last at least.
fn time_to_write(bytes: u64) -> u64 {
    (bytes / BYTES_PER_NANOSECOND).clamp(SHORTEST_NS, LONGEST_NS)
}

impl Output {
    /// The files behind the descriptors that the command writes to.
    pub(crate) fn new(limit: u64) -> Output {
        let files = [fds::STDOUT, fds::STDERR].map(|file| files::stat(file).map(|stat| (stat.device, stat.inode)));
        let merged = files[0] == files[1];
        Output {
            // Half of what would overflow below is more than any disk holds.
            limit: limit.min(u64::MAX / 4),
            stdout: Capture::new(Some(fds::STDOUT), if merged { OUTPUT } else { STDOUT }),
            stderr: Capture::new(if merged { None } else { Some(fds::STDERR) }, STDERR),
            record: Record::None,
            recorded: None,
            told: true,
            rung: false,
            pause: SHORTEST_NS,
            due: if limit == 0 { NEVER } else { 0 },
            looked_at: 0,
            growth: (0, 0),
            wanting_since: NEVER,
            most: None,
        }
    }

    /// When to call [`Output::check`] next.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// The kernel told of a write.
    pub(crate) fn written(&mut self, now: u64) {
        self.rung = true;
        if self.limit != 0 && self.due == NEVER && self.most.is_none() {
            if now.saturating_sub(self.looked_at) > LONGEST_NS {
                // It was silent, so nobody knows how fast it is now.
                self.growth = (0, 0);
            }
            self.due = now.saturating_add(self.interval());
        }
    }

    /// Cuts the files back, and sees to it that the next write is noticed.
    pub(crate) fn check(&mut self, now: u64) -> core::result::Result<(), Overflow> {
        if let Some(most) = self.most {
            return self.check_without_holes(most, now);
        }
        let (before, looked_at) = (self.total(), core::mem::replace(&mut self.looked_at, now));
        let is_cut = self.cut().map_err(|_| Overflow::Begun)?;
        if self.limit == 0 {
            return Ok(());
        }
        let rung = core::mem::replace(&mut self.rung, false);
        self.told = self.told && files::notify_once(fds::TASK_DIR).is_ok();
        // What was written before the kernel was asked it does not tell, so the sizes are read after that. Where a hole was made nobody
        // can tell what has been written into it since from what was there before, so that is looked at once more.
        let growing = self.measure() || is_cut && rung;
        self.growth = (self.total().saturating_sub(before), now.saturating_sub(looked_at));
        let over = [&self.stdout, &self.stderr].iter().any(|capture| capture.excess(self.limit).is_some());
        let pause = if growing {
            self.interval()
        } else if over {
            // It could not be cut for now.
            LONGEST_NS
        } else if self.told {
            NEVER
        } else {
            self.pause = if self.total() == before { self.pause.saturating_mul(2).min(UNTOLD_NS) } else { SHORTEST_NS };
            self.pause.max(self.interval())
        };
        self.due = now.saturating_add(pause);
        Ok(())
    }

    /// The grace of a task that is being stopped is not for writing on.
    fn check_without_holes(&mut self, most: u64, now: u64) -> core::result::Result<(), Overflow> {
        self.measure();
        if self.total() > most {
            self.due = NEVER;
            return Err(Overflow::WentOn);
        }
        self.due = now.saturating_add(time_to_write(most.saturating_sub(self.total())));
        Ok(())
    }

    /// Cuts the files back if they are too long; true when they were. An error: this file system cannot, and the task must be stopped.
    pub(crate) fn cut(&mut self) -> Result<bool> {
        if self.limit == 0 || self.most.is_some() {
            return Ok(false);
        }
        self.measure();
        match self.write_record().or_else(|errno| self.unless_empty(errno)).and_then(|()| self.trim()) {
            Ok(is_cut) => {
                self.wanting_since = NEVER;
                Ok(is_cut)
            }
            Err(errno) if self.passes(errno) => Ok(false),
            Err(errno) => {
                self.most = Some(self.total().saturating_add(self.limit));
                self.due = 0;
                Err(errno)
            }
        }
    }

    /// Whether the files may stay too long for now. There will be room again, and a disk that is full grows no file either; where memory or
    /// descriptors are wanting for long, the command fills it.
    fn passes(&mut self, errno: Errno) -> bool {
        if errno.is_full_disk() {
            return true;
        }
        if !errno.is_shortage() {
            return false;
        }
        let now = process::monotonic_ns();
        self.wanting_since = self.wanting_since.min(now);
        let is_twice = self.stdout.kept().max(self.stderr.kept()) > self.limit.saturating_mul(2);
        !is_twice || now.saturating_sub(self.wanting_since) < WANTING_NS
    }

    fn total(&self) -> u64 {
        self.stdout.size.saturating_add(self.stderr.size)
    }

    fn measure(&mut self) -> bool {
        let stdout = self.stdout.measure(self.limit);
        self.stderr.measure(self.limit) || stdout
    }

    /// How long the room that is left lasts: whatever is written, or longer where little was written lately.
    fn interval(&self) -> u64 {
        let room = most(self.limit).saturating_sub(self.stdout.kept().max(self.stderr.kept()));
        let (bytes, nanoseconds) = self.growth;
        let at_this_pace = room.saturating_mul(nanoseconds).checked_div(bytes.saturating_mul(TIMES_FASTER)).unwrap_or(0);
        at_this_pace.clamp(time_to_write(room), time_to_write(room.saturating_add(AHEAD)))
    }

    fn capture(&mut self, stream: i32) -> &mut Capture {
        if stream == fds::STDOUT { &mut self.stdout } else { &mut self.stderr }
    }

    fn trim(&mut self) -> Result<bool> {
        let mut is_cut = false;
        for stream in [fds::STDOUT, fds::STDERR] {
            let limit = self.limit;
            let capture = self.capture(stream);
            let Some((head, end)) = capture.excess(limit).or_else(|| capture.refilled(limit)) else { continue };
            let before = core::mem::replace(&mut capture.dropped, (head, end));
            let punched = self
                .write_record()
                .or_else(|errno| self.unless_empty(errno))
                .and_then(|()| failpoint::pass("supervisor.before_punch"))
                .and_then(|()| files::punch(stream, head, end));
            if punched.is_err() {
                self.capture(stream).dropped = before;
                self.write_record()?;
                return punched.map(|()| is_cut);
            }
            self.write_record()?;
            if before == (head, end) {
                self.capture(stream).punched_again();
            }
            is_cut = true;
        }
        Ok(is_cut)
    }

    /// A disk can be full of just the bytes that are to go. While the record is empty readers go by the hole itself, so there
    /// it may be written when they are gone.
    fn unless_empty(&self, errno: Errno) -> Result<()> {
        let is_empty = matches!(self.record, Record::File(_)) && self.recorded.is_none();
        if errno.is_shortage() && is_empty { Ok(()) } else { Err(errno) }
    }

    /// What is dropped, if the file does not say so already. Without any there is no file.
    fn write_record(&mut self) -> Result<()> {
        let dropped = Dropped { stdout: self.stdout.dropped, stderr: self.stderr.dropped };
        if dropped == self.recorded.unwrap_or_default() {
            return Ok(());
        }
        if let Record::None = self.record {
            failpoint::pass("supervisor.before_dropped_json")?;
            self.record = match File::create(fds::TASK_DIR, DROPPED) {
                // The directory was removed, and with it whoever would read this.
                Err(Errno::ENOENT) => return Ok(()),
                Err(errno) if errno.is_full_disk() => {
                    files::link(fds::TASK_DIR, TASK, DROPPED)?;
                    Record::NameOnly
                }
                made => Record::File(made?),
            };
            failpoint::pass("supervisor.before_dropped_json_content")?;
        }
        if let Record::File(file) = &self.record {
            files::write_at_start(file.number(), dropped.write(&mut [0; MAX_RECORD]))?;
            self.recorded = Some(dropped);
        }
        Ok(())
    }
}
