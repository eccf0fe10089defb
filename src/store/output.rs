//! Captured output: tails for previews, pages by absolute offset. Never more is read than is shown, so a large log costs
//! what a small one does; a character is never cut; what the output limit removed is skipped and counted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use outlive_protocol::names;
use serde::Serialize;

use super::TaskDir;
use super::records::{DroppedRecord, Record, read};
use crate::error::{Error, Result};
use crate::platform::{clock, files};
use crate::task::StderrMode;

/// The longest UTF-8 sequence.
const MAX_CHARACTER: u64 = 4;

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

    /// The range that was dropped of the first `length` bytes of a stream; empty when it begins where it ends.
    fn dropped(&self, stream: Stream, length: u64) -> (u64, u64) {
        let record: DroppedRecord = match read(&self.file(names::DROPPED)) {
            Record::Complete(record) => record,
            // Nothing was dropped yet, or what was cannot be told from what was written.
            _ => DroppedRecord::default(),
        };
        let (from, to) = if stream == Stream::Stdout { record.stdout } else { record.stderr };
        // Whoever empties the file does not change the record.
        (from.min(length), to.max(from).min(length))
    }
}

/// One open capture file and its length when it was opened.
struct Capture<'a> {
    dir: &'a TaskDir,
    stream: Stream,
    file: File,
    about: fs::Metadata,
}

/// A piece of a file: where it begins, and its bytes.
type Piece = (u64, Vec<u8>);

impl<'a> Capture<'a> {
    fn open(dir: &'a TaskDir, stream: Stream, mode: StderrMode) -> Result<Option<Capture<'a>>> {
        let Some(path) = dir.capture(stream, mode) else { return Ok(None) };
        let (file, about) = files::open_to_read(&path).map_err(Error::storage("read", path))?;
        Ok(Some(Capture { dir, stream, file, about }))
    }

    fn len(&self) -> u64 {
        self.about.len()
    }

    fn dropped(&self) -> (u64, u64) {
        self.dir.dropped(self.stream, self.len())
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

    /// The last bytes, `budget` at the most, from a character's start and from a line's where one is near.
    fn tail(&self, budget: u64) -> io::Result<Piece> {
        // Read first, then ask what was dropped: the record is written before the bytes go.
        let begin = self.len().saturating_sub(budget);
        let mut bytes = self.read(begin, self.len())?;
        let begin_kept = match self.dropped() {
            (from, to) if from < to => to.max(begin),
            _ => begin,
        };
        bytes.drain(..((begin_kept - begin) as usize).min(bytes.len()));
        let skip = if begin_kept == 0 { 0 } else { whole_start(&bytes) };
        bytes.drain(..skip);
        bytes.truncate(bytes.len() - unfinished(&bytes));
        Ok((begin_kept + skip as u64, bytes))
    }
}

/// Counts and tails of both streams, `budget` bytes of them at the most.
pub fn preview(dir: &TaskDir, mode: StderrMode, budget: u64) -> Result<Captured> {
    let failed = |error| Error::storage("read", dir.path())(error);
    let stdout = Capture::open(dir, Stream::Stdout, mode)?;
    let stderr = Capture::open(dir, Stream::Stderr, mode)?;
    let length = |capture: &Option<Capture<'_>>| capture.as_ref().map_or(0, Capture::len);
    let (stdout_bytes, stderr_bytes) = (length(&stdout), length(&stderr));
    // Each stream may have half, and what the other does not need.
    let for_stderr = stderr_bytes.min((budget / 2).max(budget.saturating_sub(stdout_bytes)));
    let for_stdout = stdout_bytes.min(budget - for_stderr);
    let mut captured = Captured { stdout_bytes, stderr_bytes, ..Captured::default() };
    for (capture, share) in [(stdout, for_stdout), (stderr, for_stderr)] {
        let Some(capture) = capture.filter(|capture| capture.len() > 0) else { continue };
        let (begin, bytes) = if share > 0 { capture.tail(share).map_err(failed)? } else { (capture.len(), Vec::new()) };
        captured.truncated |= begin > 0;
        if !captured.preview.is_empty() && !captured.preview.ends_with('\n') && !bytes.is_empty() {
            captured.preview.push('\n');
        }
        captured.preview.push_str(&String::from_utf8_lossy(&bytes));
        captured.last_output_at = captured.last_output_at.max(capture.about.modified().ok().map(clock::to_unix_ms));
    }
    if stdout_bytes + stderr_bytes > 0 {
        let ranges = [dir.dropped(Stream::Stdout, stdout_bytes), dir.dropped(Stream::Stderr, stderr_bytes)];
        captured.dropped_bytes = ranges.iter().map(|(from, to)| to - from).sum();
    }
    Ok(captured)
}

/// A page of one stream.
pub fn page(dir: &TaskDir, mode: StderrMode, request: PageRequest) -> Result<Chunk> {
    let nothing = |total_bytes| Chunk {
        text: String::new(),
        from: total_bytes,
        next_offset: total_bytes,
        dropped_bytes: 0,
        total_bytes,
        eof: request.complete,
    };
    let Some(capture) = Capture::open(dir, request.stream, mode)? else { return Ok(nothing(0)) };
    let total = capture.len();
    let from = match u64::try_from(request.from) {
        Ok(from) => from.min(total),
        Err(_) => total.saturating_sub(request.from.unsigned_abs()),
    };
    if from == total {
        return Ok(nothing(total));
    }
    capture.page(from, &request).map_err(Error::storage("read", dir.path()))
}

impl Capture<'_> {
    fn page(&self, asked: u64, request: &PageRequest) -> io::Result<Chunk> {
        loop {
            let hole = self.dropped();
            let chunk = self.page_beside(hole, asked, request)?;
            // If the middle moved while we read, some of the bytes may have been those of the hole.
            if self.dropped() == hole {
                return Ok(chunk);
            }
        }
    }

    /// A page of the part before or behind the hole, whichever `asked` is in. One that ends at the hole goes on behind it.
    fn page_beside(&self, hole: (u64, u64), asked: u64, request: &PageRequest) -> io::Result<Chunk> {
        let total = self.len();
        let (begin, part_begin, part_end) = match hole {
            (from, to) if from < to && asked < from => (asked, 0, from),
            (from, to) if from < to && asked < to => (to, to, total),
            (from, to) if from < to => (asked, to, total),
            _ => (asked, 0, total),
        };
        let window_end = part_end.min(begin + request.max_bytes.max(MAX_CHARACTER));
        let look_back = (begin - part_begin).min(MAX_CHARACTER - 1);
        let window = self.read(begin - look_back, window_end)?;
        let (before, bytes) = window.split_at((look_back as usize).min(window.len()));
        let is_behind_hole = begin == part_begin && begin > 0;
        let skip = if is_behind_hole { leading_continuations(bytes) } else { rest_of_character(before, bytes) };
        let part_is_over = part_end != total || request.complete;
        let is_last = part_is_over && begin + bytes.len() as u64 == part_end;
        // What is unfinished at the end of the stream stays so, and is shown; at the hole its rest was dropped.
        let usable = if is_last && part_end == total { bytes.len() } else { bytes.len() - unfinished(&bytes[skip..]) };
        let end = text_end(&bytes[..usable], skip, request, is_last);
        let reached_hole = is_last && part_end != total && end == usable;
        let text_begin = begin + skip as u64;
        let next_offset = if reached_hole { hole.1 } else { begin + end as u64 };
        let text = String::from_utf8_lossy(&bytes[skip..end]).into_owned();
        let from = if is_behind_hole && asked < text_begin { asked } else { text_begin };
        let dropped_bytes = next_offset - from - (end - skip) as u64;
        let eof = request.complete && next_offset == total;
        Ok(Chunk { text, from, next_offset, dropped_bytes, total_bytes: total, eof })
    }
}

/// Where a page's text ends: with a whole character, and with a whole line when that is asked for, there is one, and what
/// is here is not the last.
fn text_end(bytes: &[u8], skip: usize, request: &PageRequest, is_last: bool) -> usize {
    let limit = bytes.len().min(skip + request.max_bytes as usize);
    if limit == bytes.len() && is_last {
        return limit;
    }
    let mut end = limit;
    if limit < bytes.len() {
        end -= unfinished(&bytes[skip..limit]);
        if end == skip {
            // Not even one character fits: a page is never empty while there is one.
            end = (limit..bytes.len()).find(|end| unfinished(&bytes[skip..*end]) == 0).unwrap_or(bytes.len());
        }
    }
    if request.whole_lines {
        let is_full = (end - skip) as u64 + MAX_CHARACTER > request.max_bytes;
        match bytes[skip..end].iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => end = skip + newline + 1,
            // A line longer than the page comes in pieces; one that is still being written is waited for.
            None if is_full => {}
            None => end = skip,
        }
    }
    end
}

/// How many bytes at the end are the beginning of a character whose rest is not there.
fn unfinished(bytes: &[u8]) -> usize {
    (1..MAX_CHARACTER as usize)
        .filter(|count| *count <= bytes.len())
        .find(|count| {
            let rest = &bytes[bytes.len() - count..];
            is_lead(rest[0]) && std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none())
        })
        .unwrap_or(0)
}

/// How many bytes at the start finish a character that began `before` them.
fn rest_of_character(before: &[u8], bytes: &[u8]) -> usize {
    let begun = unfinished(before);
    if begun == 0 {
        return 0;
    }
    let mut character = before[before.len() - begun..].to_vec();
    character.extend(bytes.iter().take(MAX_CHARACTER as usize - begun));
    let length = match std::str::from_utf8(&character) {
        Ok(text) => text.chars().next().map_or(0, char::len_utf8),
        Err(error) if error.valid_up_to() > 0 => {
            String::from_utf8_lossy(&character[..error.valid_up_to()]).chars().next().map_or(0, char::len_utf8)
        }
        Err(_) => 0,
    };
    length.saturating_sub(begun)
}

/// How many bytes at the start belong to a character whose beginning is gone.
fn leading_continuations(bytes: &[u8]) -> usize {
    bytes.iter().take(MAX_CHARACTER as usize - 1).take_while(|byte| is_continuation(**byte)).count()
}

/// Where a tail that begins anywhere should begin: at a character, and at a line when one starts in its first quarter.
fn whole_start(bytes: &[u8]) -> usize {
    let near = &bytes[..bytes.len() / 4];
    near.iter().position(|byte| *byte == b'\n').map_or_else(|| leading_continuations(bytes), |newline| newline + 1)
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

fn is_lead(byte: u8) -> bool {
    byte >= 0b1100_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    const ALL: PageRequest =
        PageRequest { stream: Stream::Stdout, from: 0, max_bytes: 1 << 20, whole_lines: false, complete: true };

    /// A task directory with one capture file and, with `hole`, that range of it zeroed and recorded as dropped.
    fn captured(content: &[u8], hole: (u64, u64)) -> (Scratch, TaskDir) {
        let directory = Scratch::new();
        let mut content = content.to_vec();
        content[hole.0 as usize..hole.1 as usize].fill(0);
        fs::write(directory.path().join(names::STDOUT.as_str()), content).unwrap();
        fs::write(directory.path().join(names::STDERR.as_str()), "").unwrap();
        if hole.0 < hole.1 {
            let record = outlive_protocol::records::Dropped { stdout: hole, stderr: (0, 0) };
            let mut buffer = [0; outlive_protocol::records::MAX_RECORD];
            fs::write(directory.path().join(names::DROPPED.as_str()), record.write(&mut buffer)).unwrap();
        }
        let dir = TaskDir::at(directory.path().to_owned());
        (directory, dir)
    }

    /// Pages from 0 to the end; returns the texts and the bytes that were dropped.
    fn read_all(dir: &TaskDir, max_bytes: u64) -> (Vec<String>, u64) {
        let (mut texts, mut dropped, mut from) = (Vec::new(), 0, 0);
        loop {
            let chunk = page(dir, StderrMode::Separate, PageRequest { from, max_bytes, ..ALL }).unwrap();
            assert_eq!(chunk.from as i64, from);
            texts.push(chunk.text);
            dropped += chunk.dropped_bytes;
            from = chunk.next_offset as i64;
            if chunk.eof {
                return (texts, dropped);
            }
            assert!(chunk.next_offset > chunk.from);
        }
    }

    #[test]
    fn pages_of_any_size_give_every_character_once_and_whole() {
        // O4 O7
        let text = "aé漢🦀\n".repeat(50);
        let (_directory, dir) = captured(text.as_bytes(), (0, 0));
        for max_bytes in 1..40 {
            assert_eq!(read_all(&dir, max_bytes).0.concat(), text, "{max_bytes} bytes a page");
        }
    }

    #[test]
    fn pages_skip_what_was_dropped_and_count_it() {
        // O7
        let text = "aé漢🦀\n".repeat(50);
        for begin in 90..101 {
            for end in 300..311 {
                let (_directory, dir) = captured(text.as_bytes(), (begin, end));
                for max_bytes in [1, 3, 7, 64, 1000] {
                    let (texts, dropped) = read_all(&dir, max_bytes);
                    let kept = texts.concat();
                    assert!(!kept.contains(['\u{fffd}', '\0']), "{begin}..{end} by {max_bytes}: {kept:?}");
                    assert_eq!(kept.len() as u64 + dropped, text.len() as u64, "{begin}..{end} by {max_bytes}");
                    assert!(dropped - (end - begin) <= 6);
                }
            }
        }
    }

    #[test]
    fn invalid_bytes_are_shown_as_such_and_none_is_lost() {
        // O9
        let bytes = b"\x80\xff\0ok\xe6\xbc\n\x80\x80\x80\x80\xf0\x9f";
        let (_directory, dir) = captured(bytes, (0, 0));
        let whole = String::from_utf8_lossy(bytes);
        assert_eq!(read_all(&dir, 1 << 20).0.concat(), whole);
        let count = |text: &str| text.chars().filter(|c| *c != '\u{fffd}').collect::<String>();
        for max_bytes in 1..20 {
            assert_eq!(count(&read_all(&dir, max_bytes).0.concat()), count(&whole), "{max_bytes} bytes a page");
        }
    }

    #[test]
    fn a_negative_offset_counts_from_the_end_and_starts_with_a_character() {
        let (_directory, dir) = captured("x漢漢".as_bytes(), (0, 0));
        let text = |from| page(&dir, StderrMode::Separate, PageRequest { from, ..ALL }).unwrap().text;
        assert_eq!([text(-3), text(-4), text(-5), text(-100)], ["漢", "漢", "漢", "x漢漢"]);
    }

    #[test]
    fn whole_lines_wait_for_their_newline_while_the_task_runs() {
        let (_directory, dir) = captured(b"one\ntwo\nthr", (0, 0));
        let lines = |from, max_bytes, complete| {
            let request = PageRequest { from, max_bytes, whole_lines: true, complete, ..ALL };
            page(&dir, StderrMode::Separate, request).unwrap().text
        };
        assert_eq!(lines(0, 100, false), "one\ntwo\n");
        assert_eq!(lines(0, 100, true), "one\ntwo\nthr");
        assert_eq!(lines(8, 100, false), "");
        assert_eq!(lines(0, 6, false), "one\n");
        assert_eq!(lines(0, 3, false), "one");
    }

    #[test]
    fn neither_stream_hides_the_other_in_a_preview() {
        // O3
        let (directory, dir) = captured(&b"o".repeat(1000), (0, 0));
        fs::write(directory.path().join(names::STDERR.as_str()), b"e".repeat(1000)).unwrap();
        let shown = preview(&dir, StderrMode::Separate, 300).unwrap();
        assert_eq!(shown.preview, format!("{}\n{}", "o".repeat(150), "e".repeat(150)));
        assert!(shown.truncated);
        fs::write(directory.path().join(names::STDERR.as_str()), b"e".repeat(10)).unwrap();
        let shown = preview(&dir, StderrMode::Separate, 300).unwrap();
        assert_eq!(shown.preview, format!("{}\n{}", "o".repeat(290), "e".repeat(10)));
    }

    #[test]
    fn a_preview_starts_with_a_character_and_with_a_line_when_one_is_near() {
        // O4
        let (_directory, dir) = captured("漢字\nsecond line\n".as_bytes(), (0, 0));
        let shown = |budget| preview(&dir, StderrMode::Separate, budget).unwrap().preview;
        assert_eq!(shown(13), "second line\n");
        assert_eq!(shown(15), "second line\n");
        assert_eq!(shown(5), "line\n");
        assert_eq!(shown(100), "漢字\nsecond line\n");
    }
}
