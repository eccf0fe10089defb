//! What commands do to their own output behind the supervisor's back: they cut it off, start over, and write into what is gone.

use std::fs;
use std::os::unix::fs::MetadataExt;

use outlive_protocol::names;

use crate::output::{LINE, MIB, check_content, dropped};
use crate::task::{Asked, Task, eventually};

#[test]
fn a_command_that_truncates_its_output_starts_over() {
    // O7
    let mut asked = Asked::new(format!(
        "yes {LINE} | head -c 4194304; echo x >ready; read line <go; : >../task/stdout; yes {LINE} | head -c 1048576"
    ));
    asked.settings.max_output_bytes = MIB;
    let mut task = asked.start();
    task.line();
    eventually("the middle is dropped", || {
        task.record(names::DROPPED.as_str()).is_some_and(|record| record["stdout"][1].as_u64() > Some(0))
    });
    task.go();
    task.ended();
    task.gone();
    check_content(&task.directory.join(names::STDOUT.as_str()), dropped(&task, "stdout"));
}

#[test]
fn what_is_written_into_the_hole_is_given_back_too() {
    // O1
    let fill = "dd if=/dev/zero of=/dev/stdout bs=1M seek=1 count=30 conv=notrunc 2>/dev/null";
    let mut asked = Asked::new(format!("yes {LINE} | head -c 41943040; {fill}; echo x >ready; exec sleep 1000"));
    asked.settings.max_output_bytes = 2 * MIB;
    let mut task = asked.start();
    task.line();
    let path = task.directory.join(names::STDOUT.as_str());
    eventually("the hole is a hole again", || fs::metadata(&path).expect("stdout").blocks() * 512 < 3 * MIB);
    assert_eq!(fs::metadata(&path).expect("stdout").len(), 40 * MIB);
    task.kill(libc::SIGTERM, 60_000);
    task.gone();
    check_content(&path, dropped(&task, "stdout"));
}

#[test]
fn an_output_that_was_cut_off_in_its_hole_shows_no_zeroes() {
    // O1
    let mut asked = Asked::new(format!("yes {LINE} | head -c 8388608; echo x >ready; exec sleep 1000"));
    asked.settings.max_output_bytes = MIB;
    let mut task = asked.start();
    task.line();
    let path = task.directory.join(names::STDOUT.as_str());
    let is_cut =
        |task: &Task| task.record(names::DROPPED.as_str()).is_some_and(|record| record["stdout"][1].as_u64() > Some(6 * MIB));
    eventually("the middle is gone", || is_cut(&task));
    let file = fs::OpenOptions::new().write(true).open(&path).expect("stdout");
    file.set_len(2 * MIB).expect("it is ours");
    eventually("the record says so", || dropped(&task, "stdout") == (MIB / 2, 2 * MIB));
    task.kill(libc::SIGTERM, 60_000);
    task.gone();
    check_content(&path, (MIB / 2, 2 * MIB));
}

/// Starts a task with a limit of 64 KiB that writes so many bytes, is cut up to `end`, and changes its output; its supervisor is stopped
/// meanwhile each time, and sees only what has come of it. The task is over when this returns.
fn change_behind_its_back(first: u64, end: u64, change: &str) -> Task {
    let mut asked = Asked::new(format!(
        "echo x >ready; read line <go; yes {LINE} | head -c {first}; echo x >ready; read line <go; {change}; \
         echo x >ready; exec sleep 1000"
    ));
    asked.settings.max_output_bytes = 65536;
    let mut task = asked.start();
    task.line();
    go_on_unseen(&mut task);
    let is_cut = |task: &Task| task.record(names::DROPPED.as_str()).is_some_and(|record| record["stdout"][1] == end);
    eventually("the middle is gone", || is_cut(&task));
    go_on_unseen(&mut task);
    task.kill(libc::SIGTERM, 60_000);
    task.gone();
    task
}

/// The hole is recorded, and the output is as written around it.
fn check_hole(task: &Task, hole: (u64, u64)) {
    assert_eq!(dropped(task, "stdout"), hole);
    check_content(&task.directory.join(names::STDOUT.as_str()), hole);
}

/// Lets the command go on to its next line while the supervisor is stopped.
fn go_on_unseen(task: &mut Task) {
    task.signal_supervisor(libc::SIGSTOP);
    eventually("the supervisor is stopped", || task.status("State").contains("T (stopped)"));
    task.go();
    task.line();
    task.signal_supervisor(libc::SIGCONT);
}

#[test]
fn an_output_that_was_cut_off_in_its_hole_and_written_on_shows_no_zeroes() {
    // O1: somewhere in it, and in its first block, of which nothing is left then
    for cut in [150_000, 32_960] {
        // So that it looks when both has happened.
        let change = format!("truncate -s {cut} ../task/stdout; yes {LINE} | head -c 11200");
        check_hole(&change_behind_its_back(300_000, 266_240, &change), (32_768, cut));
    }
}

/// A change that the supervisor never sees as a file that is shorter than its hole.
fn start_over(bytes: u64) -> String {
    format!(": >../task/stdout; yes {LINE} | head -c {bytes}")
}

#[test]
fn an_output_that_starts_over_within_its_limit_loses_nothing() {
    // O1
    check_hole(&change_behind_its_back(76_800, 40_960, &start_over(46_080)), (0, 0));
}

#[test]
fn an_output_that_starts_over_and_grows_past_its_old_hole_keeps_its_own_end() {
    // O1
    check_hole(&change_behind_its_back(300_000, 266_240, &start_over(270_000)), (32_768, 233_472));
}

#[test]
fn an_output_that_was_cut_off_behind_its_hole_keeps_the_hole() {
    // O1
    let change = format!("truncate -s 280000 ../task/stdout; yes {LINE} | head -c 8000");
    check_hole(&change_behind_its_back(300_000, 266_240, &change), (32_768, 266_240));
}
