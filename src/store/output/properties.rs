//! What holds for every output, every hole in it and every page size, beside a model that reads it all at once.

use proptest::prelude::*;

use super::scenes::{ALL, captured, ends, read_all};
use super::{PageRequest, page, preview};
use crate::task::StderrMode;

/// Bytes of which most are whole characters, without the zero that stands for what was dropped.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => prop::sample::select(vec!["a", "é", "漢", "🦀", "\n", "line\n"]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(1..=255u8, 1..4),
    ];
    prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

fn text() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "é", "漢", "🦀", "\n", "line\n"]);
    prop::collection::vec(part, 1..60).prop_map(|parts| parts.concat())
}

/// A range of what has `length` bytes.
fn range(length: usize, ends: (prop::sample::Index, prop::sample::Index)) -> (u64, u64) {
    let (one, other) = (ends.0.index(length + 1) as u64, ends.1.index(length + 1) as u64);
    (one.min(other), one.max(other))
}

/// What can be read around a hole: of a character that it cut, nothing.
fn around(content: &[u8], (from, to): (u64, u64)) -> String {
    if from == to {
        return String::from_utf8_lossy(content).into_owned();
    }
    let (head, rest) = (&content[..from as usize], &content[to as usize..]);
    // A character that is cut at the end is one that more bytes could finish.
    let cut = (1..=head.len().min(3)).find(|count| {
        let end = &head[head.len() - count..];
        end[0] >= 0xc0 && std::str::from_utf8(end).is_err_and(|error| error.error_len().is_none())
    });
    let head = &head[..head.len() - cut.unwrap_or(0)];
    let strays = if to == 0 { 0 } else { rest.iter().take(3).take_while(|byte| (0x80..0xc0).contains(*byte)).count() };
    format!("{}{}", String::from_utf8_lossy(head), String::from_utf8_lossy(&rest[strays..]))
}

/// The text without what stands for bytes that are no text: how many of those there are depends on where a page ends.
fn legible(text: &str) -> String {
    text.chars().filter(|character| *character != '\u{fffd}').collect()
}

proptest! {
    #[test]
    fn pages_one_after_the_other_give_what_is_there(content in bytes(), ends: (prop::sample::Index, prop::sample::Index), max in 1..90u64) {
        let hole = range(content.len(), ends);
        let (_directory, dir) = captured(&content, hole);
        let expected = around(&content, hole);
        if !content.is_empty() {
            prop_assert_eq!(&read_all(&dir, 1 << 20).0.concat(), &expected);
            prop_assert_eq!(legible(&read_all(&dir, max).0.concat()), legible(&expected));
        }
    }

    #[test]
    fn a_page_from_anywhere_is_of_whole_characters(text in text(), at: prop::sample::Index, max in 1..40u64) {
        let (_directory, dir) = captured(text.as_bytes(), (0, 0));
        let asked = at.index(text.len() + 1);
        let begin = (asked..).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let request = PageRequest { from: asked as i64, max_bytes: max, ..ALL };
        let chunk = page(&dir, StderrMode::Separate, request).unwrap();
        let end = chunk.next_offset as usize;
        prop_assert_eq!(chunk.from as usize, begin);
        prop_assert_eq!(&chunk.text, &text[begin..end]);
        prop_assert_eq!((chunk.total_bytes, chunk.dropped_bytes, chunk.eof), (text.len() as u64, 0, end == text.len()));
        let one = text[begin..].chars().next().map_or(0, char::len_utf8);
        prop_assert!(end - begin <= one.max(max as usize) && (end > begin || begin == text.len()));
    }

    #[test]
    fn no_page_of_what_is_still_written_has_half_a_character(text in text(), cut: prop::sample::Index, hole: (prop::sample::Index, prop::sample::Index), at: prop::sample::Index, max in 1..40u64, is_from_end: bool) {
        let content = &text.as_bytes()[..cut.index(text.len() + 1)];
        let (_directory, dir) = captured(content, range(content.len(), hole));
        let asked = at.index(content.len() + 1) as i64;
        let from_end = asked - content.len() as i64;
        let from = if is_from_end && from_end < 0 { from_end } else { asked };
        let request = PageRequest { from, max_bytes: max, complete: false, ..ALL };
        let chunk = page(&dir, StderrMode::Separate, request).unwrap();
        prop_assert!(!chunk.text.contains(['\u{fffd}', '\0']), "{:?}", chunk);
        prop_assert!(chunk.from >= asked as u64 && chunk.next_offset >= chunk.from && chunk.next_offset <= content.len() as u64);
    }

    #[test]
    fn a_page_of_whole_lines_ends_with_one_or_is_full(text in text(), max in 1..40u64, complete: bool) {
        let (_directory, dir) = captured(text.as_bytes(), (0, 0));
        let request = PageRequest { max_bytes: max, whole_lines: true, complete, ..ALL };
        let chunk = page(&dir, StderrMode::Separate, request).unwrap();
        prop_assert!(text.starts_with(&chunk.text));
        let is_full = text.len() as u64 >= max && chunk.text.len() as u64 + 4 > max;
        let is_rest = complete && chunk.text.len() == text.len();
        prop_assert!(chunk.text.ends_with('\n') || is_full || is_rest || (!complete && chunk.text.is_empty()), "{:?}", chunk);
    }

    #[test]
    fn a_preview_is_an_end_of_what_is_there(text in text(), hole: (prop::sample::Index, prop::sample::Index), budget in 0..200u64) {
        let hole = range(text.len(), hole);
        let (_directory, dir) = captured(text.as_bytes(), hole);
        let shown = preview(&dir, StderrMode::Separate, ends(budget)).unwrap();
        let kept = if hole.0 < hole.1 { &text.as_bytes()[hole.1 as usize..] } else { text.as_bytes() };
        prop_assert!(kept.ends_with(shown.preview.as_bytes()), "{:?} of {:?}", shown.preview, text);
        prop_assert!(shown.preview.len() as u64 <= budget);
        prop_assert_eq!((shown.stdout_bytes, shown.dropped_bytes), (text.len() as u64, hole.1 - hole.0));
        prop_assert_eq!(shown.truncated, shown.preview.len() < text.len());
    }

    #[test]
    fn no_record_of_what_was_dropped_shows_more_than_there_is(content in bytes(), record in prop::collection::vec(any::<u64>(), 4), max in 1..90u64) {
        let (directory, dir) = captured(&content, (0, 0));
        let [a, b, c, d] = record[..] else { unreachable!("four were asked for") };
        let dropped = outlive_protocol::records::Dropped { stdout: (a % 400, b), stderr: (c, d) };
        let mut buffer = [0; outlive_protocol::records::MAX_RECORD];
        let path = directory.path().join(outlive_protocol::names::DROPPED.as_str());
        std::fs::write(path, dropped.write(&mut buffer)).unwrap();
        let shown = preview(&dir, StderrMode::Separate, ends(max)).unwrap();
        prop_assert!(shown.dropped_bytes <= shown.stdout_bytes);
        if !content.is_empty() {
            prop_assert!(read_all(&dir, max).1 <= content.len() as u64 + 6);
        }
    }
}
