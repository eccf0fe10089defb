//! What one task costs where no process is started: its states, its records, its output, and its way back from disk.

use std::fs::{self, File};
use std::hint::black_box;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use outlive::platform::environment::Block;
use outlive::store::{self, Launch, PageRequest, PreviewRequest, Store, Stream, TaskDir};
use outlive::task::{Asked, Cause, EndOrder, Ending, Event, Lease, Run, SessionId, StderrMode, Task, TaskId};
use outlive_protocol::settings::Cleanup;
use outlive_protocol::{names, records};
use serde_json::value::RawValue;

const MIB: u64 = 1 << 20;

/// A store with one task in it that has run and ended, gone with its value.
struct Finished {
    root: PathBuf,
    store: Store,
    task: TaskId,
    dir: TaskDir,
}

impl Finished {
    fn new() -> Finished {
        let root = std::env::temp_dir().join(format!("outlive-bench-{}", std::process::id()));
        let store = Store::open(&root, None).expect("the temporary directory takes a store");
        let session = SessionId::default_session();
        let shell = PathBuf::from("/bin/sh");
        let launch = Launch { shell, environment: Block::default(), max_output_bytes: 100 * MIB, cleanup: Cleanup::Keep };
        let cwd = store::open_cwd(&root).expect("it is there");
        let new_id = || Ok(TaskId::new(1));
        let (task, created) =
            store::create(&store, &session, StderrMode::Separate, "true", cwd, new_id).expect("it is the first");
        let asked = Asked {
            id: task.clone(),
            session,
            cwd: root.clone(),
            timeout_ms: 60_000,
            grace_ms: 2000,
            stderr: StderrMode::Separate,
            notify: true,
            description: Some("a task".to_owned()),
            metadata: RawValue::from_string("{\"turn\":1}".to_owned()).expect("it is JSON"),
            created_at: 0,
            created_monotonic_ns: 0,
        };
        let dir = created.dir().clone();
        let published = created.publish(&store, &asked, &launch).expect("the disk has room");
        let started = published.start(&store, &asked, &launch).expect("/bin/sh runs");
        let supervisor = started.child.expect("its environment is small");
        while !store::look(&dir, true).expect("the records are ours").empty {
            sleep(Duration::from_millis(1));
        }
        supervisor.reap();
        Finished { root, store, task, dir }
    }

    /// Makes the log as long as that, without writing it.
    fn with_log(&self, length: u64) {
        let log = File::options().write(true).open(self.dir.file(names::STDOUT)).expect("the task has a log");
        log.set_len(length).expect("the disk takes sparse files");
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).expect("nobody else uses the store");
    }
}

fn ending() -> Ending {
    Ending {
        cause: Cause::Exit,
        exit_code: Some(0),
        signal: None,
        error: None,
        started_at: 1,
        finished_at: 2,
        duration_ms: 1,
        order: EndOrder { this_boot: true, at: 2 },
        is_recorded: true,
        descendants: 0,
        max_rss_bytes: Some(MIB),
        cpu_ms: Some(1),
    }
}

fn state_machine(criterion: &mut Criterion) {
    let run = Run { pid: 2, supervisor_pid: 1, started_at: 1 };
    let lease = Lease { number: 1, subscription: 1, attempt: 1, in_callback: false, on_its_way: 600 };
    let ending = ending();
    criterion.bench_function("a task's life, from its start to its acknowledgement", |bencher| {
        bencher.iter(|| {
            let mut task = Task::new(true);
            let life =
                [Event::Started(run), Event::Ended(ending.clone()), Event::TreeEmpty, Event::Leased(lease), Event::Accepted];
            life.into_iter().map(|event| task.on(event).len()).sum::<usize>()
        });
    });
}

fn written_records(criterion: &mut Criterion) {
    let ended = records::Ended {
        cause: records::Cause::Exit,
        exit_code: Some(0),
        signal: None,
        errno: None,
        started_at: 1_790_000_000_000,
        finished_at: 1_790_000_001_000,
        duration_ms: 1000,
        ended_monotonic_ns: 123_456_789_000,
        max_rss_bytes: MIB,
        cpu_ms: 7,
        descendants: 0,
    };
    criterion.bench_function("ended.json, written into memory", |bencher| {
        bencher.iter(|| black_box(&ended).write(&mut [0; records::MAX_RECORD]).len());
    });
}

fn disk(criterion: &mut Criterion) {
    let finished = Finished::new();
    criterion.bench_function("the records of a finished task, read", |bencher| {
        bencher.iter(|| store::look(&finished.dir, true));
    });
    criterion.bench_function("a finished task, back from disk", |bencher| {
        bencher.iter(|| {
            store::load(&finished.store, &SessionId::default_session(), &finished.task, &mut |_| Ok(()), &mut store::supervised())
        });
    });
    for (size, length) in [("1 KiB", 1 << 10), ("1 GiB", 1 << 30)] {
        finished.with_log(length);
        let ends = PreviewRequest { max_bytes: 5120, complete: true };
        criterion.bench_function(&format!("the tail of a log of {size}, 5 KiB"), |bencher| {
            bencher.iter(|| store::preview(&finished.dir, StderrMode::Separate, ends));
        });
        let request =
            PageRequest { stream: Stream::Stdout, from: length as i64 / 2, max_bytes: 65536, whole_lines: false, complete: true };
        criterion.bench_function(&format!("a page from the middle of a log of {size}, 64 KiB"), |bencher| {
            bencher.iter(|| store::page(&finished.dir, StderrMode::Separate, request));
        });
    }
}

criterion_group!(benches, state_machine, written_records, disk);
criterion_main!(benches);
