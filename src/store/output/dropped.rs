//! What the output limit removed of a capture file. `dropped.json` says it; where that cannot be read, the file's own hole does:
//! its zeros were never written, so they are not shown as output.

use outlive_protocol::names;

use super::{Capture, Stream};
use crate::platform::files;
use crate::store::records::{DroppedRecord, Record, read};

impl Capture<'_> {
    /// The range that is gone of what was there when the file was opened; empty when it begins where it ends.
    pub(super) fn dropped(&self) -> (u64, u64) {
        let recorded = match read::<DroppedRecord>(&self.dir.file(names::DROPPED)) {
            Record::Absent => return (0, 0),
            Record::Complete(record) if self.stream == Stream::Stdout => Some(record.stdout),
            Record::Complete(record) => Some(record.stderr),
            Record::Torn | Record::Unreadable(_) => None,
        };
        let (mut from, mut to) = recorded.filter(|(from, to)| from <= to).unwrap_or((0, u64::MAX));
        // Where the record says nothing, or more than there is: the command has emptied the file, and the supervisor will say so.
        if to > self.len() && to > self.len_now() {
            // The supervisor makes one hole. A file system that cannot tell of holes cannot make them either.
            let hole = files::largest_hole(&self.file).unwrap_or((0, 0));
            (from, to) = (from.max(hole.0), to.min(hole.1));
        }
        let (from, to) = (from.min(self.len()), to.min(self.len()));
        if from < to { (from, to) } else { (0, 0) }
    }

    /// Its length by now, for what was recorded after it was opened.
    fn len_now(&self) -> u64 {
        self.file.metadata().map_or(0, |about| about.len())
    }
}
