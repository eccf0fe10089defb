//! What a command finds when it starts, and what is said when it does not start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use outlive_protocol::names;

use crate::task::{Asked, SUPERVISOR, TASK_ID, eventually, how};

#[test]
fn the_executable_is_small_static_and_needs_no_loader() {
    // P32
    let executable = fs::read(SUPERVISOR).expect("the supervisor");
    assert!(executable.len() <= 36 << 10, "{} bytes", executable.len());
    let half = |at: usize| usize::from(u16::from_le_bytes([executable[at], executable[at + 1]]));
    let (entry_size, entries) = (half(54), half(56));
    let table = u64::from_le_bytes(executable[32..40].try_into().expect("8 bytes")) as usize;
    let (interpreter, dynamic) = (3, 2);
    for entry in 0..entries {
        let kind = half(table + entry * entry_size);
        assert!(kind != interpreter && kind != dynamic, "segment {entry} is of kind {kind}");
    }
}

#[test]
fn a_command_finds_default_signals_whatever_its_host_ignored() {
    // P26
    for signal in [libc::SIGPIPE, libc::SIGINT, libc::SIGCHLD, libc::SIGTERM] {
        let mut asked = Asked::new("exec cat /proc/self/status");
        asked.ignored = Some(signal);
        let mut task = asked.start();
        assert_eq!(how(&task.ended()), ("exit", Some(0), None));
        for key in ["SigIgn", "SigBlk", "SigPnd", "ShdPnd"] {
            let none = format!("{key}:\t0000000000000000");
            assert!(task.stdout().lines().any(|line| line == none), "{key} after {signal}");
        }
    }
}

#[test]
fn a_command_finds_three_descriptors_and_nothing_to_read() {
    // P26
    let mut asked = Asked::new("i=0; while [ $i -lt 300 ]; do [ -e /proc/$$/fd/$i ] && echo $i; i=$((i+1)); done; cat; echo end");
    asked.shell = "/bin/sh".into();
    let mut task = asked.start();
    task.ended();
    assert_eq!(task.stdout(), "0\n1\n2\nend\n");
}

#[test]
fn a_command_leads_a_session_without_a_terminal() {
    // P26
    let mut task = Asked::new("exec cat /proc/self/stat").start();
    task.ended();
    let stdout = task.stdout();
    let fields: Vec<&str> = stdout.split_whitespace().collect();
    let (pid, group, session, terminal) = (fields[0], fields[4], fields[5], fields[6]);
    assert_eq!((group, session, terminal), (pid, pid, "0"));
    assert_eq!(pid, task.leader().to_string());
}

#[test]
fn a_command_finds_the_umask_directory_and_environment_that_were_asked() {
    // P26
    let mut asked = Asked::new("umask; pwd -P; echo $ASKED $OUTLIVE_TASK_ID; echo x >file");
    asked.umask = 0o027;
    asked.environment.push(("ASKED".into(), "a b".into()));
    let mut task = asked.start();
    task.ended();
    let work = task.work.canonicalize().expect("work");
    assert_eq!(task.stdout(), format!("0027\n{}\na b {TASK_ID}\n", work.display()));
    assert_eq!(fs::metadata(task.work.join("file")).expect("file").permissions().mode() & 0o777, 0o640);
}

#[test]
fn records_are_for_their_owner_only_whatever_the_umask() {
    // R14
    for umask in [0, 0o777] {
        let mut asked = Asked::new("read line <go & exit 0");
        asked.umask = umask;
        let mut task = asked.start();
        task.ended();
        task.kill(libc::SIGKILL, 0);
        task.gone();
        for name in [names::STARTED.as_str(), names::CLOSED.as_str()] {
            let mode = fs::metadata(task.directory.join(name)).expect("record").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}

#[test]
fn the_start_is_recorded_before_the_command_runs() {
    // P23
    let mut task = Asked::new("cat ../task/started.json").start();
    task.ended();
    let started = task.record(names::STARTED.as_str()).expect("started.json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&task.stdout()).expect("the same"), started);
    assert_eq!(started["bootId"], "this-boot");
    assert_eq!(started["supervisorPid"], u64::from(task.child.id()));
}

#[test]
fn the_supervisor_does_not_hold_the_users_directory() {
    // P20
    let mut task = Asked::new("echo x >ready; exec sleep 300").start();
    task.line();
    let supervisor = format!("/proc/{}", task.child.id());
    assert_eq!(fs::read_link(format!("{supervisor}/cwd")).expect("cwd"), task.directory.canonicalize().expect("task"));
    // The command may run before its supervisor does again.
    eventually("nothing in the user's directory is open", || {
        let held = fs::read_dir(format!("{supervisor}/fd")).expect("fd").flatten();
        held.filter_map(|entry| fs::read_link(entry.path()).ok()).all(|file| !file.starts_with(&task.work))
    });
}

#[test]
fn a_command_of_a_mebibyte_runs_and_stays_out_of_the_supervisors_arguments() {
    // P19
    let mut text = b"echo x >ready; read line <go; exit 9\n".to_vec();
    text.splice(0..0, b"# a needle for pkill -f\n".repeat(44_000));
    assert!(text.len() > 1 << 20);
    let mut task = Asked::new(text).start();
    task.line();
    let arguments = fs::read(format!("/proc/{}/cmdline", task.child.id())).expect("cmdline");
    assert!(!String::from_utf8_lossy(&arguments).contains("needle"));
    task.go();
    assert_eq!(how(&task.ended()), ("exit", Some(9), None));
}

#[test]
fn a_text_that_begins_like_an_option_is_a_command_all_the_same() {
    // P18
    let mut longest = "-x 2>/dev/null; exit 8 #".to_owned();
    longest.push_str(&"x".repeat((128 << 10) - 1 - longest.len()));
    for shell in ["/bin/bash", "/bin/sh"] {
        let is_as_ever = format!("[ \"$0\" = {shell} ] && exit 8");
        for text in [format!("-x 2>/dev/null; {is_as_ever}"), format!("+o 2>/dev/null; {is_as_ever}"), longest.clone()] {
            let mut asked = Asked::new(text.as_bytes());
            asked.shell = shell.into();
            assert_eq!(how(&asked.start().ended()), ("exit", Some(8), None), "{shell} {}", text.get(..50).unwrap_or(&text));
        }
    }
}

#[test]
fn the_longest_text_for_one_argument_and_the_next_longer_one_run() {
    // P19
    for length in [(128 << 10) - 1, 128 << 10] {
        let mut text = b"exit 8 #".to_vec();
        text.resize(length, b'x');
        let mut task = Asked::new(text).start();
        assert_eq!(how(&task.ended()), ("exit", Some(8), None), "{length}");
    }
}

#[test]
fn a_text_that_does_not_fit_beside_its_environment_runs_as_a_script() {
    // P30
    let mut text = b"exit 8 #".to_vec();
    text.resize(120 << 10, b'x');
    let mut asked = Asked::new(text);
    asked.environment = (0..15).map(|number| (format!("LARGE{number}"), "x".repeat(127 << 10))).collect();
    asked.environment.push(("LARGE".into(), "x".repeat(100 << 10)));
    let mut task = asked.start();
    assert_eq!(how(&task.ended()), ("exit", Some(8), None));
}

/// The error number of a start that fails.
fn errno(asked: Asked) -> u64 {
    let mut task = asked.start();
    let ended = task.ended();
    assert_eq!(how(&ended), ("spawn_error", None, None));
    assert!(task.gone().success());
    assert_eq!(task.stdout(), "");
    ended["errno"].as_u64().expect("errno")
}

#[test]
fn a_shell_that_cannot_be_executed_is_a_spawn_error_with_the_systems_number() {
    // P30
    let shell = |name: &str, content: &str, mode: u32| {
        let path = std::env::temp_dir().join(format!("outlive-shell-{name}-{}", std::process::id()));
        fs::write(&path, content).expect("shell");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        path
    };
    let cases = [
        (shell("none", "", 0o755).with_extension("missing"), libc::ENOENT),
        (shell("plain", "#!/bin/sh\n", 0o644), libc::EACCES),
        (shell("garbage", "garbage", 0o755), libc::ENOEXEC),
    ];
    for (shell, expected) in cases {
        let mut asked = Asked::new("echo never");
        asked.shell = shell.clone();
        assert_eq!(errno(asked), expected as u64, "{}", shell.display());
    }
}

#[test]
fn without_its_start_record_a_command_does_not_run() {
    // P23
    let mut asked = Asked::new("echo never");
    asked.before = |directory| fs::write(directory.join(names::STARTED.as_str()), "somebody was here").expect("started.json");
    assert_eq!(errno(asked), libc::EEXIST as u64);
}

#[test]
fn a_command_text_behind_a_link_is_refused() {
    // R15
    let mut asked = Asked::new("echo never");
    asked.before = |directory| {
        let command = directory.join(names::COMMAND.as_str());
        fs::rename(&command, directory.join("elsewhere")).expect("rename");
        std::os::unix::fs::symlink("elsewhere", &command).expect("symlink");
    };
    assert_eq!(errno(asked), libc::ELOOP as u64);
}

#[test]
fn a_supervisor_that_no_host_started_says_so() {
    // P32
    for arguments in [&[][..], &["id"], &["id", "1 0 0 0 keep boot"], &["id", "2 0 0 0 keep boot", "/bin/sh"]] {
        let status = Command::new(SUPERVISOR).args(arguments).status().expect("it starts");
        assert_eq!(status.code(), Some(100), "{arguments:?}");
    }
}
