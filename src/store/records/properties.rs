//! What holds for every content of a record.

use outlive_protocol::records as written;
use proptest::prelude::*;

use super::*;

fn cause() -> impl Strategy<Value = (written::Cause, Cause)> {
    prop::sample::select(vec![
        (written::Cause::Exit, Cause::Exit),
        (written::Cause::Signal, Cause::Signal),
        (written::Cause::Kill, Cause::Kill),
        (written::Cause::Timeout, Cause::Timeout),
        (written::Cause::OutputLimit, Cause::OutputLimit),
        (written::Cause::SpawnError, Cause::SpawnError),
    ])
}

/// An `ended.json` as a supervisor may write it, and the word for its cause here.
fn ended() -> impl Strategy<Value = (written::Ended, Cause)> {
    let outcome = (prop::option::of(0..256u64), prop::option::of(1..65u64), prop::option::of(1..134u64), any::<u32>());
    (cause(), outcome, prop::array::uniform6(any::<u64>())).prop_map(|((cause, word), outcome, numbers)| {
        let (exit_code, signal, errno, descendants) = outcome;
        let [started_at, finished_at, duration_ms, ended_monotonic_ns, max_rss_bytes, cpu_ms] = numbers;
        let ended = written::Ended {
            cause,
            exit_code: if word == Cause::Exit { exit_code.or(Some(0)) } else { exit_code },
            signal: if word == Cause::Signal { signal.or(Some(9)) } else { signal },
            errno,
            started_at,
            finished_at,
            duration_ms,
            ended_monotonic_ns,
            max_rss_bytes,
            cpu_ms,
            descendants: u64::from(descendants),
        };
        (ended, word)
    })
}

/// Reads the bytes as each kind of record; returns how many could be read.
fn read_as_every_kind(content: &[u8]) -> usize {
    let is_ended = match parse::<EndedRecord>(content) {
        // Whatever can be read can be told, or refused.
        Record::Complete(record) => record.into_ending(true).is_ok(),
        _ => false,
    };
    let is_started = matches!(parse::<StartedRecord>(content), Record::Complete(_));
    let is_closed = matches!(parse::<ClosedRecord>(content), Record::Complete(_));
    let is_dropped = matches!(parse::<DroppedRecord>(content), Record::Complete(_));
    let is_task = matches!(parse::<TaskRecord>(content), Record::Complete(_));
    [is_ended, is_started, is_closed, is_dropped, is_task].into_iter().filter(|is_one| *is_one).count()
}

proptest! {
    #[test]
    fn no_bytes_are_more_than_one_record(mut content in prop::collection::vec(any::<u8>(), 0..400)) {
        content.push(b'\n');
        prop_assert!(read_as_every_kind(&content) <= 1);
    }

    #[test]
    fn an_ending_reads_back_as_it_was_written((ended, cause) in ended(), this_boot: bool) {
        let mut buffer = [0; written::MAX_RECORD];
        let line = ended.write(&mut buffer);
        prop_assert_eq!(read_as_every_kind(line), 1);
        let Record::Complete(record) = parse::<EndedRecord>(line) else { panic!("{}", String::from_utf8_lossy(line)) };
        let ending = record.into_ending(this_boot).unwrap();
        let ran = cause != Cause::SpawnError;
        let number = |number: Option<u64>| number.map(|number| number as i32);
        prop_assert_eq!(ending.cause, cause);
        prop_assert_eq!((ending.exit_code, ending.signal), (number(ended.exit_code), number(ended.signal)));
        prop_assert_eq!((ending.started_at, ending.finished_at), (ended.started_at, ended.finished_at));
        prop_assert_eq!((ending.duration_ms, u64::from(ending.descendants)), (ended.duration_ms, ended.descendants));
        prop_assert_eq!((ending.max_rss_bytes, ending.cpu_ms), (ran.then_some(ended.max_rss_bytes), ran.then_some(ended.cpu_ms)));
        prop_assert_eq!(ending.order.at, if this_boot { ended.ended_monotonic_ns } else { ended.finished_at });
        prop_assert_eq!(ending.error.is_some(), !ran);
    }

    #[test]
    fn an_ending_cut_off_anywhere_is_none((ended, _) in ended()) {
        let mut buffer = [0; written::MAX_RECORD];
        let line = ended.write(&mut buffer);
        for length in 0..line.len() {
            prop_assert!(matches!(parse::<EndedRecord>(&line[..length]), Record::Torn), "the first {} bytes", length);
        }
        // A cut-off record in reserved space, and one whose rest a power cut has zeroed.
        for length in 0..line.len() - 1 {
            let mut zeroed = line.to_vec();
            zeroed[length..line.len() - 1].fill(0);
            prop_assert!(matches!(parse::<EndedRecord>(&zeroed), Record::Unreadable(_)), "zeros from {}", length);
        }
    }

    #[test]
    fn a_flipped_bit_makes_no_other_ending((ended, _) in ended(), bit: prop::sample::Index) {
        // R10
        let mut buffer = [0; written::MAX_RECORD];
        let line = ended.write(&mut buffer);
        let mut spoilt = line.to_vec();
        let bit = bit.index(8 * line.len());
        spoilt[bit / 8] ^= 1 << (bit % 8);
        if let Record::Complete(record) = parse::<EndedRecord>(&spoilt) {
            let Record::Complete(whole) = parse::<EndedRecord>(line) else { panic!("{}", String::from_utf8_lossy(line)) };
            prop_assert_eq!(format!("{record:?}"), format!("{whole:?}"), "bit {}", bit);
        }
    }

    #[test]
    fn a_start_and_dropped_ranges_read_back_as_they_were_written(numbers in prop::array::uniform4(any::<u64>()), pids: (u32, u32)) {
        let [a, b, c, d] = numbers;
        let mut buffer = [0; written::MAX_RECORD];
        let started = written::Started { pid: pids.0.into(), supervisor_pid: pids.1.into(), started_at: a, boot_id: b"boot" };
        let Record::Complete(record) = parse::<StartedRecord>(started.write(&mut buffer)) else { panic!("no start") };
        prop_assert_eq!(Run::from(record), Run { pid: pids.0, supervisor_pid: pids.1, started_at: a });
        let dropped = written::Dropped { stdout: (a, b), stderr: (c, d) };
        let Record::Complete(record) = parse::<DroppedRecord>(dropped.write(&mut buffer)) else { panic!("no ranges") };
        prop_assert_eq!((record.stdout, record.stderr), ((a, b), (c, d)));
    }

    #[test]
    fn what_was_asked_reads_back_as_it_was_written(cwd: String, description: Option<String>, metadata: String, numbers in prop::array::uniform5(any::<u64>())) {
        let [timeout_ms, grace_ms, max_output_bytes, created_at, created_monotonic_ns] = numbers;
        let asked = Asked {
            id: TaskId::new(7),
            session: SessionId::default_session(),
            cwd: PathBuf::from(cwd),
            timeout_ms,
            grace_ms,
            stderr: StderrMode::Merge,
            notify: true,
            description,
            metadata: serde_json::value::to_raw_value(&metadata).unwrap(),
            created_at,
            created_monotonic_ns,
        };
        let launch = crate::store::Launch { shell: "/bin/sh".into(), environment: Default::default(), max_output_bytes, cleanup: outlive_protocol::settings::Cleanup::Kill };
        let here = Here { boot_id: "boot".to_owned(), machine: "machine".to_owned(), alone: false };
        let line = TaskRecord::new(&asked, &launch, &here).to_line();
        let Record::Complete(record) = parse::<TaskRecord>(&line) else { panic!("{}", String::from_utf8_lossy(&line)) };
        prop_assert!(record.is_of(&asked.session, &asked.id) && record.is_of_this_boot(&here) && record.is_of_this_machine(&here));
        prop_assert_eq!(record.to_line(), line.clone());
        let read = record.into_asked(asked.session.clone(), asked.id.clone());
        prop_assert_eq!((read.cwd, read.description, read.metadata.get()), (asked.cwd, asked.description, asked.metadata.get()));
        prop_assert!((0..line.len()).all(|length| matches!(parse::<TaskRecord>(&line[..length]), Record::Torn)));
    }
}
