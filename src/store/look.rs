//! What a task's directory says now.

use std::fs;
use std::io;

use outlive_protocol::names;

use super::TaskDir;
use super::lost::ending_without_record;
use super::records::{ClosedRecord, EndedRecord, Record, StartedRecord, read};
use super::unread::Unread;
use crate::platform::{errno, fifo, files, lock};
use crate::task::{Asked, Ending, Event, Run};

/// The longest command that the API takes.
const MAX_COMMAND_BYTES: usize = 8 << 20;

/// The supervisor's records.
#[derive(Debug)]
pub struct Look {
    /// Its command runs, or ran; not told of a task that is over.
    pub started: Option<Run>,
    /// Its leader has ended.
    pub ended: Option<Ending>,
    /// No process of it is left.
    pub empty: bool,
}

/// Reads the supervisor's records, as far as they are complete. An error when one of them is of a newer release, is no record, or is out
/// of reach.
pub fn look(dir: &TaskDir, this_boot: bool) -> Result<Look, Unread> {
    let record: Option<EndedRecord> = complete(read(&dir.file(names::ENDED)))?;
    let ended = record.map(|record| record.into_ending(this_boot)).transpose()?;
    let empty = match &ended {
        None => false,
        Some(ending) => ending.descendants == 0 || complete(read::<ClosedRecord>(&dir.file(names::CLOSED)))?.is_some(),
    };
    // Once all is over, who it was does not matter: the end's news is one record.
    let started = if empty { None } else { complete(read::<StartedRecord>(&dir.file(names::STARTED)))?.map(Run::from) };
    Ok(Look { started, ended, empty })
}

/// The command's text, as far as it is text.
pub fn read_command(dir: &TaskDir) -> io::Result<String> {
    let bytes = files::read_bounded(&dir.file(names::COMMAND), MAX_COMMAND_BYTES)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a supervisor lives, or a host that is about to start one. An error when the system has no room left to find out.
pub(super) fn is_inhabited(dir: &TaskDir) -> io::Result<bool> {
    let writer = errno::unless_exhausted(fifo::open_writer(&dir.file(names::CONTROL)))?;
    // Where there is no such FIFO, no supervisor has it open by this name.
    Ok(writer.flatten().is_some())
}

/// Whether a task whose supervisor is gone and whose command never ran is for the host to answer for that wanted to start it. It
/// lives, and its caller is not told yet, or it has told its caller and taken the task away. An error when the system has no room left
/// to find out.
pub fn is_answered_for(dir: &TaskDir) -> io::Result<bool> {
    let Some((task, _)) = errno::unless_exhausted(files::open_to_read(&dir.task()))? else { return Ok(true) };
    // Looked at after the lock: a host takes its task away before it lets go.
    Ok(!lock::is_free(&task).unwrap_or(true) || !dir.task().exists())
}

/// Whether the command may have run. A torn `started.json` says so too: a power cut can take what stood in it.
pub(super) fn has_trace(dir: &TaskDir) -> bool {
    fs::symlink_metadata(dir.file(names::STARTED)).is_ok()
}

/// What the disk says now of a task that this host knows, as events. That it `ran` is not forgotten when its files are gone. An
/// error as [`look`] says.
pub fn events(dir: &TaskDir, asked: &Asked, this_boot: bool, ran: Option<Run>, hung_up: bool) -> Result<Vec<Event>, Unread> {
    let seen = look(dir, this_boot)?;
    let mut events = Vec::new();
    events.extend(seen.started.map(Event::Started));
    events.extend(seen.ended.map(Event::Ended));
    if seen.empty {
        events.push(Event::TreeEmpty);
    } else if hung_up {
        let started = seen.started.or(ran);
        events.push(Event::SupervisorGone(ending_without_record(dir, asked, started, this_boot, None)));
    }
    Ok(events)
}

/// An absent or torn record is one that is not there yet.
fn complete<T>(record: Record<T>) -> Result<Option<T>, Unread> {
    match record {
        Record::Absent | Record::Torn => Ok(None),
        Record::Complete(record) => Ok(Some(record)),
        Record::Unreadable(why) => Err(why),
    }
}
