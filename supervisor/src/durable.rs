//! What a power cut must not take. What a process has written survives the end of every process, but the disk has it up to half
//! a minute later: until then a file is there and empty, or its name is not there either. A journal takes along every name that is
//! older than what it is asked for; the log of Btrfs has what it is asked for, and the directories above that.
//!
//! As long as something of the task lives an order can come, and nobody waits for the disk: what is written is only sent on its
//! way. The journal's next write takes it along, another task's or the one that the file system makes every few seconds. When
//! nothing is left to do, all of it has to arrive.

use core::ffi::CStr;

use outlive_protocol::fds;
use outlive_protocol::names;

use crate::failpoint;
use crate::sys::files::{self, File};
use crate::sys::process::{self, NS_PER_MS};
use crate::sys::{Result, ignore};

/// Without these nobody knows whose end `ended.json` tells.
const ASKED: [&CStr; 3] = [names::TASK.as_c_str(), names::COMMAND.as_c_str(), names::SESSION_FROM_TASK.as_c_str()];

/// How old a command is when what was asked is sent off. At once it would delay what the command and its host do first, and most
/// have ended by then.
pub(crate) const SEND_AFTER_NS: u64 = 1000 * NS_PER_MS;
/// By then the host has told its news. The disk's work in the kernel would share the processors with it.
const AFTER_NS: u64 = 5 * NS_PER_MS;
/// The clock's beat on which all supervisors sync: for what ends in one beat the disk writes its journal once.
const BEAT_NS: u64 = 25 * NS_PER_MS;

/// What was asked.
pub(crate) fn send_asked() {
    for file in asked().iter().flatten() {
        // If it fails, the kernel does the same later.
        ignore(files::start_writing(file.number()));
    }
}

/// How the command ended, while others of the task live.
pub(crate) fn send_end() {
    // The same.
    ignore(files::start_writing(fds::ENDED));
}

/// All of it is on the disk when this returns.
pub(crate) fn sync_all() {
    ignore(failpoint::pass("supervisor.before_sync"));
    let now = process::monotonic_ns();
    let beat = now.saturating_add(AFTER_NS).next_multiple_of(BEAT_NS);
    process::pause(beat.saturating_sub(now));
    let asked = asked();
    let each = |step: fn(i32) -> Result<()>| {
        for file in asked.iter().flatten().map(File::number).chain([fds::ENDED]) {
            // A disk that refuses has refused more than this, and nobody is left to be told.
            ignore(step(file));
        }
    };
    // All of it before any of it is waited for, the contents before the journal, and of that first the part which is the latest: the
    // host has just made names in the directory. So the disk writes its journal once.
    each(files::start_writing);
    each(files::finish_writing);
    // And the names of the capture files are there, whatever the disk has of their contents.
    ignore(files::sync(fds::TASK_DIR));
    each(files::sync);
    ignore(failpoint::pass("supervisor.after_sync"));
}

fn asked() -> [Result<File>; ASKED.len()] {
    ASKED.map(|name| File::open(fds::TASK_DIR, name))
}
