//! The ends of both streams, for previews.

use std::io;

use super::characters::{leading_continuations, unfinished};
use super::{Capture, Captured, PreviewRequest, Stream, TRIES};
use crate::error::{Error, Result};
use crate::platform::clock;
use crate::store::TaskDir;
use crate::task::StderrMode;

/// The end of a file, and what is gone of its middle.
struct Tail {
    bytes: Vec<u8>,
    dropped: (u64, u64),
}

/// Counts and tails of both streams. A file that somebody has removed or put something else in the place of is as good as empty, and
/// does not hide the other one.
pub fn preview(dir: &TaskDir, mode: StderrMode, request: PreviewRequest) -> Result<Captured> {
    let budget = request.max_bytes;
    let failed = |error| Error::storage("read", dir.path())(error);
    let open = |stream| match Capture::open(dir, stream, mode) {
        Err(error) if !error.is_exhaustion() => Ok(None),
        opened => opened,
    };
    let (stdout, stderr) = (open(Stream::Stdout)?, open(Stream::Stderr)?);
    let length = |capture: &Option<Capture<'_>>| capture.as_ref().map_or(0, Capture::len);
    let (stdout_bytes, stderr_bytes) = (length(&stdout), length(&stderr));
    // Each stream may have half, and what the other does not need.
    let for_stderr = stderr_bytes.min((budget / 2).max(budget.saturating_sub(stdout_bytes)));
    let for_stdout = stdout_bytes.min(budget - for_stderr);
    let mut captured = Captured::default();
    let mut texts = [const { String::new() }; 2];
    for ((capture, share), text) in [(stdout, for_stdout), (stderr, for_stderr)].into_iter().zip(&mut texts) {
        let Some(mut capture) = capture.filter(|capture| capture.len() > 0) else { continue };
        let Tail { mut bytes, dropped: (from, to) } = capture.tail(share).map_err(failed)?;
        if !request.complete {
            bytes.truncate(bytes.len() - unfinished(&bytes));
        }
        match capture.stream {
            Stream::Stdout => captured.stdout_bytes = capture.len(),
            Stream::Stderr => captured.stderr_bytes = capture.len(),
        }
        captured.truncated |= (bytes.len() as u64) < capture.len();
        captured.dropped_bytes += to - from;
        *text = String::from_utf8_lossy(&bytes).into_owned();
        captured.last_output_at = captured.last_output_at.max(capture.about.modified().ok().map(clock::to_unix_ms));
    }
    let (preview, is_shortened) = joined(texts, budget as usize);
    captured.preview = preview;
    captured.truncated |= is_shortened;
    Ok(captured)
}

/// Both texts, a line between them, in `budget` bytes; and whether something went for that: what stands for bytes that are no text is
/// longer than they are.
fn joined([mut stdout, mut stderr]: [String; 2], budget: usize) -> (String, bool) {
    let between = if stdout.is_empty() || stdout.ends_with('\n') || stderr.is_empty() { "" } else { "\n" };
    let for_stderr = (budget / 2).max(budget.saturating_sub(stdout.len() + between.len()));
    let is_shorter = keep_end(&mut stderr, for_stderr);
    let for_stdout = budget.saturating_sub(stderr.len() + between.len());
    let is_shorter = keep_end(&mut stdout, for_stdout) || is_shorter;
    if stdout.is_empty() { (stderr, is_shorter) } else { (stdout + between + &stderr, is_shorter) }
}

/// Shortens a text to so many bytes from its end, in whole characters, from a line's start where one is near; true when something
/// went.
fn keep_end(text: &mut String, room: usize) -> bool {
    let least = text.len().saturating_sub(room);
    if least > 0 {
        let (before, kept) = text.as_bytes().split_at(least);
        let start = whole_start(before.last(), kept);
        text.drain(..least + start);
    }
    least > 0
}

impl Capture<'_> {
    /// The last bytes, `budget` at the most, from a character's start and from a line's where one is near.
    fn tail(&mut self, budget: u64) -> io::Result<Tail> {
        for _ in 1..TRIES {
            let tail = self.tail_as_opened(budget)?;
            if budget == 0 || !tail.bytes.is_empty() {
                return Ok(tail);
            }
            let about = self.file.metadata()?;
            if about.len() <= self.len() {
                return Ok(tail);
            }
            // All of it was dropped while it was read, and more was written.
            self.about = about;
        }
        self.tail_as_opened(budget)
    }

    fn tail_as_opened(&self, budget: u64) -> io::Result<Tail> {
        let begin = self.len().saturating_sub(budget);
        // And the byte before: a line may begin just here.
        let read_from = begin.saturating_sub(1);
        // Read first, then ask what was dropped: the record is written before the bytes go.
        let mut bytes = self.read(read_from, self.len())?;
        let dropped = self.dropped();
        let kept_from = if dropped.0 < dropped.1 { dropped.1.max(read_from) } else { read_from };
        bytes.drain(..((kept_from - read_from) as usize).min(bytes.len()));
        let (before, shown) = bytes.split_at(bytes.len().min(begin.saturating_sub(kept_from) as usize));
        let is_start = kept_from.max(begin) == 0;
        let skip = if is_start { 0 } else { before.len() + whole_start(before.last(), shown) };
        bytes.drain(..skip);
        Ok(Tail { bytes, dropped })
    }
}

/// Where a tail that begins anywhere should begin: at a character, and at a line when one starts in its first quarter, or at it:
/// `before` is the byte before, if it is there.
fn whole_start(before: Option<&u8>, bytes: &[u8]) -> usize {
    if before == Some(&b'\n') {
        return 0;
    }
    let near = &bytes[..bytes.len() / 4];
    near.iter().position(|byte| *byte == b'\n').map_or_else(|| leading_continuations(bytes), |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use outlive_protocol::names;
    use outlive_protocol::records::{Dropped, MAX_RECORD};

    use super::super::scenes::{captured, ends};
    use super::*;

    #[test]
    fn neither_stream_hides_the_other_in_a_preview() {
        // O3
        let (directory, dir) = captured(&b"o".repeat(1000), (0, 0));
        fs::write(directory.path().join(names::STDERR.as_str()), b"e".repeat(1000)).unwrap();
        let shown = preview(&dir, StderrMode::Separate, ends(300)).unwrap();
        assert_eq!(shown.preview, format!("{}\n{}", "o".repeat(149), "e".repeat(150)));
        assert!(shown.truncated);
        fs::write(directory.path().join(names::STDERR.as_str()), b"e".repeat(10)).unwrap();
        let shown = preview(&dir, StderrMode::Separate, ends(300)).unwrap();
        assert_eq!(shown.preview, format!("{}\n{}", "o".repeat(289), "e".repeat(10)));
    }

    #[test]
    fn a_preview_is_as_long_as_was_asked_for_also_where_bytes_are_no_text() {
        let (directory, dir) = captured(&b"\xff".repeat(1000), (0, 0));
        for (stderr, budget) in [(0, 100), (1000, 100), (1000, 7), (1, 1), (1, 2)] {
            fs::write(directory.path().join(names::STDERR.as_str()), b"e".repeat(stderr)).unwrap();
            let shown = preview(&dir, StderrMode::Separate, ends(budget)).unwrap();
            assert!(shown.preview.len() as u64 <= budget, "{} bytes of {budget}", shown.preview.len());
            assert!(shown.truncated);
        }
    }

    #[test]
    fn a_preview_starts_with_a_character_and_with_a_line_when_one_is_near() {
        // O4
        let (_directory, dir) = captured("漢字\nsecond line\n".as_bytes(), (0, 0));
        let shown = |budget| preview(&dir, StderrMode::Separate, ends(budget)).unwrap().preview;
        assert_eq!(shown(13), "second line\n");
        assert_eq!(shown(15), "second line\n");
        assert_eq!(shown(5), "line\n");
        assert_eq!(shown(100), "漢字\nsecond line\n");
    }

    #[test]
    fn a_preview_that_begins_where_a_line_does_has_that_line() {
        // O4
        let lines = "one line\n".repeat(10);
        let (directory, dir) = captured(lines.as_bytes(), (0, 0));
        let shown = |budget| preview(&dir, StderrMode::Separate, ends(budget)).unwrap().preview;
        assert_eq!([shown(36), shown(37), shown(35)], ["one line\n".repeat(4), "one line\n".repeat(4), "one line\n".repeat(3)]);
        fs::write(directory.path().join(names::STDERR.as_str()), &lines).unwrap();
        assert_eq!(shown(72), "one line\n".repeat(8));
    }

    #[test]
    fn a_character_that_nothing_can_finish_any_more_is_shown_and_one_that_is_still_being_written_is_not() {
        // O9
        let (_directory, dir) = captured(b"caf\xe9", (0, 0));
        let shown = |complete| {
            let shown = preview(&dir, StderrMode::Separate, PreviewRequest { max_bytes: 100, complete }).unwrap();
            (shown.preview, shown.truncated)
        };
        assert_eq!(shown(true), ("caf\u{fffd}".to_owned(), false));
        assert_eq!(shown(false), ("caf".to_owned(), true));
    }

    #[test]
    fn a_tail_that_is_dropped_while_it_is_read_is_read_anew() {
        // O3
        let (directory, dir) = captured(&b"o".repeat(1000), (0, 0));
        let mut capture = Capture::open(&dir, Stream::Stdout, StderrMode::Separate).unwrap().unwrap();
        let (file, record) = [names::STDOUT, names::DROPPED].map(|name| directory.path().join(name.as_str())).into();
        fs::write(file, [&[0; 2000][..], b"the end"].concat()).unwrap();
        let dropped = Dropped { stdout: (100, 2000), stderr: (0, 0) };
        fs::write(record, dropped.write(&mut [0; MAX_RECORD])).unwrap();
        assert_eq!(capture.tail(100).unwrap().bytes, b"the end");
        assert_eq!(capture.len(), 2007);
    }
}
