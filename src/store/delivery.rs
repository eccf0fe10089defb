//! Who has heard of an end. The acknowledgement is a hard link: it is made whole or not at all, one maker wins, and it
//! needs no inode on a full disk, but for tmpfs, where each name takes one.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, UNIX_EPOCH};

use outlive_protocol::names;

use super::{FORGOTTEN, TaskDir};
use crate::error::{Error, Result};
use crate::platform::{clock, failpoint, files};

/// Whether the completion was accepted, by whichever host.
pub fn is_delivered(dir: &TaskDir) -> bool {
    fs::symlink_metadata(dir.file(names::DELIVERED)).is_ok()
}

/// Whether a host has removed the task, which it does when the completion was accepted or is very old. Where its session is gone too, and it
/// had not ended long ago, somebody else has taken away what nobody has heard of.
pub fn is_removed(dir: &TaskDir, ended_at: Option<u64>) -> bool {
    let session = dir.path().with_file_name(names::SESSION.as_str());
    let is_old = |ended_at| clock::unix_ms().saturating_sub(ended_at) > FORGOTTEN.as_millis() as u64;
    files::is_missing(&dir.task()) && (!files::is_missing(&session) || ended_at.is_some_and(is_old))
}

/// Since when a host has known of an end without a record, in Unix milliseconds: `now` for the first that asks. That is kept as the time of
/// a file that was made before `task.json` and that nobody writes any more. Neither the last output nor the start of the machine says when
/// the task ended.
pub fn known_since(dir: &TaskDir, now: u64) -> u64 {
    let known = files::open_to_read(&dir.file(names::COMMAND)).and_then(|(command, about)| {
        let noted = about.modified()?;
        if noted > fs::symlink_metadata(dir.task())?.modified()? {
            return Ok(clock::to_unix_ms(noted));
        }
        command.set_modified(UNIX_EPOCH + Duration::from_millis(now))?;
        Ok(now)
    });
    // What cannot be noted is not known for long.
    known.unwrap_or(now)
}

/// Accepts the completion for good. `false` when it was accepted before.
pub fn acknowledge(dir: &TaskDir) -> Result<bool> {
    let path = dir.file(names::DELIVERED);
    let linked = failpoint::pass("host.before_delivered").and_then(|()| fs::hard_link(dir.task(), &path));
    drop(failpoint::pass("host.after_delivered"));
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::storage("acknowledge a completion in", path)(error)),
    }
}

/// More than any completion is handed out. A longer file is none of ours; it counts as so many.
const MAX_COUNTED: u64 = 1_000_000;

/// How often the completion was handed to a callback, by whichever host.
pub fn attempts(dir: &TaskDir) -> u32 {
    let leases = fs::symlink_metadata(dir.file(names::LEASES)).ok().filter(fs::Metadata::is_file);
    leases.map_or(0, |about| about.len().min(MAX_COUNTED) as u32)
}

/// Makes the file that [`note_attempt`] changes, which costs more than the change. That makes it too where it is not there.
pub fn prepare_attempt(dir: &TaskDir) {
    drop(files::open_or_create(&dir.file(names::LEASES)));
}

/// Notes that a callback is about to be called with the completion: the file becomes longer, which takes no room on the disk.
pub fn note_attempt(dir: &TaskDir) {
    // If it fails, the next host may call its attempt the first; that is better than not telling at all. This one counts by itself.
    drop(
        failpoint::pass("host.before_lease")
            .and_then(|()| files::open_or_create(&dir.file(names::LEASES)))
            .and_then(|(leases, about)| leases.set_len(about.len() + 1)),
    );
    drop(failpoint::pass("host.after_lease"));
}
