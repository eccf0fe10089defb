//! A task's captured output for one test.

use std::fs;

use outlive_protocol::{names, records};

use super::{PageRequest, PreviewRequest, Stream, page};
use crate::store::TaskDir;
use crate::store::scratch::Scratch;
use crate::task::StderrMode;

/// A whole stream of a task that has ended.
pub(super) const ALL: PageRequest =
    PageRequest { stream: Stream::Stdout, from: 0, max_bytes: 1 << 20, whole_lines: false, complete: true };

/// Both ends of a task that has ended.
pub(super) fn ends(max_bytes: u64) -> PreviewRequest {
    PreviewRequest { max_bytes, complete: true }
}

/// A task directory with one capture file and, with `hole`, that range of it zeroed and recorded as dropped.
pub(super) fn captured(content: &[u8], hole: (u64, u64)) -> (Scratch, TaskDir) {
    let directory = Scratch::new();
    let mut content = content.to_vec();
    content[hole.0 as usize..hole.1 as usize].fill(0);
    fs::write(directory.path().join(names::STDOUT.as_str()), content).unwrap();
    fs::write(directory.path().join(names::STDERR.as_str()), "").unwrap();
    if hole.0 < hole.1 {
        let record = records::Dropped { stdout: hole, stderr: (0, 0) };
        let mut buffer = [0; records::MAX_RECORD];
        fs::write(directory.path().join(names::DROPPED.as_str()), record.write(&mut buffer)).unwrap();
    }
    let dir = TaskDir::at(directory.path().to_owned());
    (directory, dir)
}

/// Pages from 0 to the end; returns the texts and the bytes that were dropped.
pub(super) fn read_all(dir: &TaskDir, max_bytes: u64) -> (Vec<String>, u64) {
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
