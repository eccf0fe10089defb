//! What stands in a task's directory: whatever it is, it is read to its end, and only a whole ending is one. An input is the
//! files in the order of `FILES`, separated by 0xFF, which is in no JSON; an empty file is left out.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use outlive::store::{self, PageRequest, PreviewRequest, Store, Stream, TaskDir};
use outlive::task::{SessionId, StderrMode, TaskId};
use outlive_protocol::names::{self, Name};

const FILES: [Name; 6] = [names::TASK, names::STARTED, names::ENDED, names::CLOSED, names::DROPPED, names::STDOUT];

struct Place {
    store: Store,
    session: SessionId,
    task: TaskId,
    dir: TaskDir,
}

/// One directory for all inputs of a process.
static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("outlive-fuzz-{}", std::process::id()));
    let store = Store::open(&root, None).expect("the directory takes a store");
    let session = SessionId::default_session();
    let task = TaskId::new(1);
    let dir = store.task_dir(&session, &task);
    fs::create_dir_all(dir.path()).expect("the store takes a task");
    Place { store, session, task, dir }
});

fuzz_target!(|bytes: &[u8]| {
    let place = &*PLACE;
    let mut contents = bytes.splitn(FILES.len(), |byte| *byte == 0xff);
    for name in FILES {
        let path = place.dir.file(name);
        match contents.next() {
            Some(content) if !content.is_empty() || name == names::STDOUT => fs::write(path, content).expect("there is room"),
            _ if name == names::STDOUT => fs::write(path, []).expect("there is room"),
            _ => drop(fs::remove_file(path)),
        }
    }
    fs::write(place.dir.file(names::STDERR), []).expect("there is room");

    drop(store::load(&place.store, &place.session, &place.task, &mut |_| Ok(()), &mut store::supervised()));
    if let Ok(look) = store::look(&place.dir, true)
        && look.ended.is_some()
    {
        let record = fs::read(place.dir.file(names::ENDED)).expect("an ending was read from it");
        assert_eq!(record.last(), Some(&b'\n'), "a torn record was an ending");
    }
    let [first, last] = [bytes.first(), bytes.last()].map(|byte| byte.copied().unwrap_or(0));
    read_output(&place.dir, i64::from(first) - 64, 16 + 4 * u64::from(last));
});

/// A preview and every page, from the beginning and from somewhere: each goes on, and none is of more than there is.
fn read_output(dir: &TaskDir, somewhere: i64, max_bytes: u64) {
    let shown = store::preview(dir, StderrMode::Separate, PreviewRequest { max_bytes: 100, complete: true }).expect("the output can be read");
    assert!(shown.dropped_bytes <= shown.stdout_bytes);
    for mut from in [0, somewhere] {
        loop {
            let request = PageRequest { stream: Stream::Stdout, from, max_bytes, whole_lines: false, complete: true };
            let chunk = store::page(dir, StderrMode::Separate, request).expect("the output can be read");
            assert!(chunk.next_offset <= chunk.total_bytes);
            if chunk.eof {
                break;
            }
            assert!(chunk.next_offset > chunk.from, "a page that does not go on: {chunk:?}");
            from = i64::try_from(chunk.next_offset).expect("a file is not that long");
        }
    }
}
