//! Captured output: tails for previews, pages by absolute offset. Never more is read than is shown, so a large log costs
//! what a small one does; a character is never cut; what the output limit removed is skipped and counted.

mod characters;
mod dropped;
mod page;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenes;
mod tail;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use outlive_protocol::names;
use serde::Serialize;

use super::TaskDir;
use crate::error::{Error, Result};
use crate::platform::files;
use crate::task::StderrMode;

pub use page::page;
pub use tail::preview;

/// One of the two streams of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, and standard error too when merged.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The capture files of a task as they stand.
#[derive(Debug, Default)]
pub struct Captured {
    /// Bytes that were written to each stream, those that were dropped included.
    pub stdout_bytes: u64,
    /// As for `stdout_bytes`; 0 when merged.
    pub stderr_bytes: u64,
    /// Bytes that the output limit removed.
    pub dropped_bytes: u64,
    /// Unix milliseconds of the last write.
    pub last_output_at: Option<u64>,
    /// The tails of both streams.
    pub preview: String,
    /// There is more than the preview shows.
    pub truncated: bool,
}

/// How much of the ends a caller wants.
#[derive(Clone, Copy, Debug)]
pub struct PreviewRequest {
    /// How many bytes at the most.
    pub max_bytes: u64,
    /// Whether nothing more can come.
    pub complete: bool,
}

/// Which bytes a caller wants.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// Of which stream.
    pub stream: Stream,
    /// From which offset; negative counts from the end.
    pub from: i64,
    /// How many at the most.
    pub max_bytes: u64,
    /// Whether to stop behind the last newline.
    pub whole_lines: bool,
    /// Whether nothing more can come.
    pub complete: bool,
}

/// A page of output.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    /// The text of the bytes from `from` to `next_offset`, without those that were dropped.
    pub text: String,
    /// Where it begins.
    pub from: u64,
    /// Where to go on.
    pub next_offset: u64,
    /// Bytes of this range that the output limit removed.
    pub dropped_bytes: u64,
    /// Bytes that were written so far.
    pub total_bytes: u64,
    /// The task has ended and nothing follows.
    pub eof: bool,
}

impl TaskDir {
    /// Where a stream is captured, or `None` when it is merged into the other.
    pub fn capture(&self, stream: Stream, mode: StderrMode) -> Option<PathBuf> {
        match (stream, mode) {
            (Stream::Stdout, StderrMode::Separate) => Some(self.file(names::STDOUT)),
            (Stream::Stderr, StderrMode::Separate) => Some(self.file(names::STDERR)),
            (Stream::Stdout, StderrMode::Merge) => Some(self.file(names::OUTPUT)),
            (Stream::Stderr, StderrMode::Merge) => None,
        }
    }
}

/// How often an end is looked for that is dropped meanwhile. Nobody writes so fast that it is all gone each time; and nobody is made to
/// wait for it.
const TRIES: usize = 5;

/// One open capture file and its length when it was opened.
struct Capture<'a> {
    dir: &'a TaskDir,
    stream: Stream,
    file: File,
    about: fs::Metadata,
}

impl<'a> Capture<'a> {
    fn open(dir: &'a TaskDir, stream: Stream, mode: StderrMode) -> Result<Option<Capture<'a>>> {
        let Some(path) = dir.capture(stream, mode) else { return Ok(None) };
        let (file, about) = files::open_to_read(&path).map_err(Error::storage("read", path))?;
        Ok(Some(Capture { dir, stream, file, about }))
    }

    fn len(&self) -> u64 {
        self.about.len()
    }

    fn read(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], from + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}
