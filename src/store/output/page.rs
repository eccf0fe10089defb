//! Pages by absolute offset.

use std::io;

use super::characters::{MAX_CHARACTER, continuations_behind, rest_of_character, unfinished};
use super::{Capture, Chunk, PageRequest, TRIES};
use crate::error::{Error, Result};
use crate::store::TaskDir;
use crate::task::StderrMode;

/// A page of one stream.
pub fn page(dir: &TaskDir, mode: StderrMode, request: PageRequest) -> Result<Chunk> {
    for _ in 1..TRIES {
        let chunk = page_now(dir, mode, request)?;
        // The end has been dropped while it was looked for, and another one is there.
        let is_gone = request.from < 0 && chunk.text.is_empty() && chunk.dropped_bytes > 0;
        if !is_gone {
            return Ok(chunk);
        }
    }
    page_now(dir, mode, request)
}

fn page_now(dir: &TaskDir, mode: StderrMode, request: PageRequest) -> Result<Chunk> {
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
        // The rest of a character may have to be passed over before the first whole one.
        let window_end = part_end.min(begin + (MAX_CHARACTER - 1) + request.max_bytes.max(MAX_CHARACTER));
        let look_back = (begin - part_begin).min(MAX_CHARACTER - 1);
        let window = self.read(begin - look_back, window_end)?;
        let (before, bytes) = window.split_at((look_back as usize).min(window.len()));
        let is_behind_hole = begin == part_begin && begin > 0;
        let is_all_before = look_back == begin - part_begin;
        let strays = if part_begin > 0 && is_all_before { continuations_behind(before, bytes) } else { 0 };
        let may_go_on = part_end != total || !request.complete;
        let skip = if strays > 0 { strays } else { rest_of_character(before, bytes, may_go_on) };
        let part_is_over = part_end != total || request.complete;
        let is_last = part_is_over && begin + bytes.len() as u64 == part_end;
        // What is unfinished at the end of the stream stays so, and is shown; at the hole its rest was dropped.
        let usable = if is_last && part_end == total { bytes.len() } else { bytes.len() - unfinished(&bytes[skip..]) };
        let has_page = (bytes.len() - skip) as u64 >= request.max_bytes;
        let end = skip + text_end(&bytes[skip..usable], request, is_last, has_page);
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

/// How much of what follows is a page's text: it ends with a whole character, and with a whole line when that is asked for, there is
/// one, and what is here is not the last. `has_page`: there is as much as was asked for, in whole characters or not.
fn text_end(bytes: &[u8], request: &PageRequest, is_last: bool, has_page: bool) -> usize {
    let limit = bytes.len().min(request.max_bytes as usize);
    if limit == bytes.len() && is_last {
        return limit;
    }
    let mut end = limit;
    if limit < bytes.len() {
        end -= unfinished(&bytes[..limit]);
        if end == 0 {
            // Not even one character fits: a page is never empty while there is one.
            end = (limit..bytes.len()).find(|end| unfinished(&bytes[..*end]) == 0).unwrap_or(bytes.len());
        }
    }
    if request.whole_lines {
        match bytes[..end].iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => end = newline + 1,
            // A line longer than the page comes in pieces; one that is still being written is waited for.
            None if has_page => {}
            None => end = 0,
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use std::fs;

    use outlive_protocol::names;
    use outlive_protocol::records::{Dropped, MAX_RECORD};

    use super::super::scenes::{ALL, captured, read_all};
    use super::*;

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
    fn a_record_of_more_than_the_file_has_takes_nothing_that_is_there() {
        // O7
        let text = "what was written since\n".repeat(20);
        let (directory, dir) = captured(text.as_bytes(), (0, 0));
        let dropped = Dropped { stdout: (100, 200_000), stderr: (0, 0) };
        fs::write(directory.path().join(names::DROPPED.as_str()), dropped.write(&mut [0; MAX_RECORD])).unwrap();
        assert_eq!(read_all(&dir, 64), (read_all(&dir, 64).0, 0));
        assert_eq!(read_all(&dir, 1 << 20).0.concat(), text);
    }

    #[test]
    fn a_page_from_within_a_character_that_is_still_written_waits_for_the_next_one() {
        // O4
        let (_directory, dir) = captured(b"a\xe6\xbc", (0, 0));
        let request = PageRequest { from: -1, complete: false, ..ALL };
        let chunk = page(&dir, StderrMode::Separate, request).unwrap();
        assert_eq!((chunk.text.as_str(), chunk.from, chunk.next_offset, chunk.eof), ("", 3, 3, false));
    }

    #[test]
    fn a_page_from_within_a_character_that_the_hole_has_cut_begins_behind_it() {
        // O4 O7
        let text = "漢".repeat(200);
        for (hole, asked, begins) in [((31, 301), 301, 303), ((31, 301), 302, 303), ((32, 300), 31, 32)] {
            let (_directory, dir) = captured(text.as_bytes(), hole);
            let chunk = page(&dir, StderrMode::Separate, PageRequest { from: asked, max_bytes: 3, ..ALL }).unwrap();
            assert!(!chunk.text.contains('\u{fffd}'), "{asked}: {chunk:?}");
            assert!(chunk.text.is_empty() || chunk.text == "漢", "{asked}: {chunk:?}");
            assert!(chunk.from == begins || chunk.from == asked as u64, "{asked}: {chunk:?}");
        }
    }

    #[test]
    fn a_page_from_within_a_character_has_the_next_one_however_small_it_is() {
        let (_directory, dir) = captured("🦀🦀a".as_bytes(), (0, 0));
        let chunk = page(&dir, StderrMode::Separate, PageRequest { from: 1, max_bytes: 1, ..ALL }).unwrap();
        assert_eq!((chunk.text.as_str(), chunk.from, chunk.next_offset), ("🦀", 4, 8));
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
        assert_eq!(lines(8, 4, false), "");
        assert_eq!(lines(8, 3, false), "thr");
    }
}
