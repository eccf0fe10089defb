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
        let (from, to) = match recorded {
            Some(range) if range.0 <= range.1 => range,
            // The supervisor makes one hole. A file system that cannot tell of holes cannot make them either.
            _ => files::largest_hole(&self.file).unwrap_or((0, 0)),
        };
        // Whoever empties the file does not change the record.
        (from.min(self.len()), to.min(self.len()))
    }
}
