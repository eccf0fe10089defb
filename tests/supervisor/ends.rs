//! How a leader ends, and what is said about it.

use std::fs;

use outlive_protocol::names;
use outlive_protocol::settings::Cleanup;

use crate::task::{Asked, eventually, how};

fn run(command: &str) -> (String, Option<u64>, Option<u64>) {
    let mut asked = Asked::new(command);
    // bash is deaf to some signals by itself.
    asked.shell = "/bin/sh".into();
    let mut task = asked.start();
    let ended = task.ended();
    let status = task.gone();
    assert!(status.success(), "{status}");
    let (cause, code, signal) = how(&ended);
    (cause.to_owned(), code, signal)
}

#[test]
fn every_exit_code_comes_back_exactly() {
    // P4
    for code in 0..=255 {
        assert_eq!(run(&format!("exit {code}")), ("exit".into(), Some(code), None));
    }
}

#[test]
fn every_fatal_signal_comes_back_exactly() {
    // P4
    let harmless = [libc::SIGCHLD, libc::SIGCONT, libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let ignored = [libc::SIGURG, libc::SIGWINCH];
    for signal in (1..32).filter(|signal| !harmless.contains(signal) && !ignored.contains(signal)) {
        let got = run(&format!("ulimit -c 0; kill -{signal} $$; sleep 60"));
        assert_eq!(got, ("signal".into(), None, Some(signal as u64)));
    }
}

#[test]
fn a_command_that_kills_its_own_group_is_recorded() {
    // P2
    assert_eq!(run("sleep 60 & kill -9 0"), ("signal".into(), None, Some(9)));
    assert_eq!(run("sleep 60 & kill 0; sleep 60"), ("signal".into(), None, Some(15)));
}

#[test]
fn a_command_that_kills_its_supervisor_dies_with_it_and_leaves_no_record() {
    // P2
    let mut task = Asked::new("exec 9>alive; kill -9 $PPID; while :; do :; done").start();
    assert!(!task.gone().success());
    task.wait_until_dead();
    assert_eq!(task.record(names::ENDED.as_str()), None);
    assert_eq!(fs::read(task.directory.join(names::ENDED.as_str())).expect("ended.json"), b"");
}

#[test]
fn a_descendant_that_lives_on_is_counted_and_its_end_recorded() {
    // P8 P25
    let kinds = [
        ("read line <go &", 1),
        ("setsid sh -c 'read line <go; :' &", 1),
        ("(setsid sh -c 'read line <go; :' &)", 1),
        ("for i in 1 2 3; do read line <go & done", 3),
    ];
    for (command, count) in kinds {
        let mut task = Asked::new(format!("{command}\nexit 5")).start();
        let ended = task.ended();
        assert_eq!(how(&ended), ("exit", Some(5), None), "{command}");
        assert_eq!(ended["descendants"], count, "{command}");
        assert_eq!(task.record(names::CLOSED.as_str()), None);
        for _ in 0..count {
            task.go();
        }
        assert!(task.gone().success());
        assert!(task.record(names::CLOSED.as_str()).expect("closed.json")["closedAt"].is_u64());
    }
}

#[test]
fn whoever_watches_is_told_by_a_byte_in_an_empty_fifo() {
    // P25
    // Linux 5.5 to 5.13 wakes nobody by a second one.
    for command in ["exit 5", "read line <go & exit 5", "sleep 0 & wait; exit 5"] {
        let mut task = Asked::new(command).start();
        task.go();
        assert_eq!(task.left_in_events(), b"\n", "{command}");
        assert_eq!(how(&task.ended()), ("exit", Some(5), None), "{command}");
    }
}

#[test]
fn without_descendants_there_is_no_closed_record() {
    // P8
    let mut task = Asked::new("sleep 0 & wait").start();
    assert_eq!(task.ended()["descendants"], 0);
    assert!(task.gone().success());
    assert!(!task.directory.join(names::CLOSED.as_str()).exists());
}

#[test]
fn an_open_stdout_does_not_delay_the_end() {
    // P25
    let mut task = Asked::new("sleep 300 & setsid sleep 300 & exit 0").start();
    let ended = task.ended();
    assert!(ended["durationMs"].as_u64().expect("a number") < 30_000);
    task.kill(libc::SIGKILL, 0);
    assert!(task.gone().success());
}

#[test]
fn with_cleanup_kill_a_natural_end_takes_the_others_along() {
    // P8
    let mut asked = Asked::new(
        "exec 9>alive; (trap '' TERM; echo x >ready; while :; do sleep 60; done) & setsid sleep 300 & read x <ready; exit 4",
    );
    asked.settings.cleanup = Cleanup::Kill;
    asked.settings.grace_ms = 100;
    let mut task = asked.start();
    assert_eq!(how(&task.ended()), ("exit", Some(4), None));
    assert!(task.gone().success());
    assert!(task.is_dead());
    assert!(task.record(names::CLOSED.as_str()).is_some());
}

#[test]
fn what_a_command_used_is_recorded() {
    // P4
    let mut task = Asked::new("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done").start();
    let ended = task.ended();
    for key in ["cpuMs", "maxRssBytes", "startedAt", "finishedAt", "endedMonotonicNs"] {
        assert!(ended[key].as_u64().expect("a number") > 0, "{key}");
    }
    assert_eq!(ended["errno"], serde_json::Value::Null);
    assert_eq!(task.record(names::STARTED.as_str()).expect("started.json")["startedAt"], ended["startedAt"]);
}

#[test]
fn a_thousand_kills_that_race_an_exit_never_lose_its_code() {
    // P9
    let mut won = 0;
    for round in 0..1000 {
        let mut asked = Asked::new("echo x >ready; exit 3");
        asked.shell = "/bin/sh".into();
        let mut task = asked.start();
        task.line();
        for _ in 0..(round % 7) * 40 {
            std::hint::spin_loop();
        }
        task.kill(libc::SIGTERM, 5000);
        let ended = task.ended();
        match how(&ended) {
            ("exit", Some(3), None) => won += 1,
            ("kill", None, Some(15)) => {}
            other => panic!("round {round}: {other:?}"),
        }
    }
    assert!(won > 0, "no command ever won");
}

#[test]
fn a_process_that_lives_on_in_its_other_threads_is_a_descendant() {
    // P8
    // Its first thread is a zombie to `/proc`, and the child belongs to the second.
    let threads = "cat >threads.c <<'END'\n\
        #include <pthread.h>\n\
        #include <stdlib.h>\n\
        #include <unistd.h>\n\
        static void *second(void *nothing) {\n\
          if (fork() == 0) execlp(\"sleep\", \"sleep\", \"300\", NULL);\n\
          pause(); return nothing;\n\
        }\n\
        int main(void) {\n\
          pthread_t thread;\n\
          if (pthread_create(&thread, NULL, second, NULL)) abort();\n\
          pthread_exit(NULL);\n\
        }\n\
        END\n\
        cc -pthread -o threads threads.c\n\
        for i in 1 2; do ./threads & until grep -qs ') Z' /proc/$!/stat && grep -qs . /proc/$!/task/*/children; do :; done; done; exit 5";
    let mut task = Asked::new(threads).start();
    assert_eq!(task.ended()["descendants"], 4);
    task.kill(libc::SIGKILL, 0);
    assert!(task.gone().success());
}

#[test]
fn zombies_are_not_counted_as_descendants() {
    // P8
    // The lingering process becomes a program that never waits for the child that its shell has started.
    let mut task = Asked::new(
        "(read line <go & echo $! >zombie; exec sleep 300) & until grep -qs sleep /proc/$!/comm; do :; done; \
         echo x >ready; until grep -qs ') Z' /proc/$(cat zombie)/stat; do :; done",
    )
    .start();
    task.line();
    task.go();
    assert_eq!(task.ended()["descendants"], 1);
    task.kill(libc::SIGKILL, 0);
    assert!(task.gone().success());
    eventually("the zombie is reaped", || {
        let pid = fs::read_to_string(task.work.join("zombie")).expect("zombie");
        !std::path::Path::new(&format!("/proc/{}/cmdline", pid.trim())).exists()
    });
}
