//! How a tree is ended: at an order, at the deadline, whatever its shape.

use std::time::{Duration, Instant};

use crate::task::{Asked, Task, compiled, eventually, how};

/// A leader and a grandchild in a session of its own, both deaf to SIGTERM.
const STUBBORN: &str = "exec 9>alive; trap '' TERM; setsid sh -c 'sh -c \"echo x >ready; while :; do sleep 60; done\" & wait' & \
                        while :; do sleep 60; done";

fn is_over(task: &mut Task, cause: &str) {
    assert_eq!(task.ended()["cause"], cause);
    assert!(task.gone().success());
    assert!(task.is_dead(), "a guest outlived its supervisor");
}

#[test]
fn who_ignores_sigterm_is_dead_soon_after_the_grace() {
    // P1
    let mut task = Asked::new(STUBBORN).start();
    task.line();
    let start = Instant::now();
    task.kill(libc::SIGTERM, 300);
    is_over(&mut task, "kill");
    let took = start.elapsed();
    assert!((Duration::from_millis(290)..Duration::from_millis(1300)).contains(&took), "{took:?}");
    assert_eq!(how(&task.ended()), ("kill", None, Some(9)));
}

#[test]
fn who_ignores_sigterm_is_dead_soon_after_the_deadline_and_its_grace() {
    // P1 P14
    let mut asked = Asked::new(STUBBORN);
    asked.settings.timeout_ms = 700;
    asked.settings.grace_ms = 300;
    let mut task = asked.start();
    is_over(&mut task, "timeout");
    let took = task.ended()["durationMs"].as_u64().expect("a number");
    assert!((999..2000).contains(&took), "{took}");
}

#[test]
fn a_deadline_that_passes_while_the_supervisor_is_stopped_holds_as_soon_as_it_goes_on() {
    // P14
    let timeout = Duration::from_millis(3000);
    let mut asked = Asked::new("exec 9>alive; echo x >ready; exec sleep 300");
    asked.settings.timeout_ms = timeout.as_millis() as u64;
    let mut task = asked.start();
    let start = Instant::now();
    task.line();
    let is = |task: &Task, state: &str| task.status("State").contains(state);
    eventually("the supervisor sleeps", || is(&task, "S (sleeping)"));
    task.signal_supervisor(libc::SIGSTOP);
    eventually("it is stopped", || is(&task, "T (stopped)"));
    std::thread::sleep(timeout.saturating_sub(start.elapsed()));
    task.signal_supervisor(libc::SIGCONT);
    is_over(&mut task, "timeout");
    let took = task.ended()["durationMs"].as_u64().expect("a number");
    assert!((2999..4000).contains(&took), "{took}");
}

#[test]
fn a_fifo_in_the_place_of_a_file_of_its_task_stops_no_supervisor() {
    // P14
    let mut asked = Asked::new(
        "exec 9>alive; task=$(dirname \"$(readlink /proc/$$/fd/1)\"); for name in command task.json; do \
         rm -f $task/$name; mkfifo $task/$name; done; exec sleep 300",
    );
    // What was asked is sent to the disk a second after the start.
    asked.settings.timeout_ms = 1500;
    is_over(&mut asked.start(), "timeout");
}

#[test]
fn a_plain_command_ends_at_the_first_signal() {
    // P1
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGKILL] {
        let mut task = Asked::new("exec 9>alive; echo x >ready; exec sleep 300").start();
        task.line();
        task.kill(signal, 60_000);
        is_over(&mut task, "kill");
        assert_eq!(how(&task.ended()), ("kill", None, Some(signal as u64)));
    }
}

#[test]
fn a_grace_of_zero_is_sigkill_at_once() {
    // P1
    let mut task = Asked::new(STUBBORN).start();
    task.line();
    task.kill(libc::SIGTERM, 0);
    is_over(&mut task, "kill");
    assert_eq!(how(&task.ended()), ("kill", None, Some(9)));
}

#[test]
fn descendants_that_live_on_are_still_within_reach() {
    // P8
    for command in ["sleep 300 &", "setsid sleep 300 &", "(setsid sh -c 'sleep 300 & sleep 300' &)"] {
        let mut task = Asked::new(format!("exec 9>alive; {command}")).start();
        assert_eq!(how(&task.ended()), ("exit", Some(0), None));
        task.kill(libc::SIGTERM, 60_000);
        assert!(task.gone().success());
        assert!(task.is_dead(), "{command}");
    }
}

#[test]
fn a_second_order_makes_it_faster_and_the_first_cause_stays() {
    // P10
    let mut asked = Asked::new("exec 9>alive; trap 'echo term >ready' TERM; while :; do sleep 0.01; done");
    asked.settings.timeout_ms = 200;
    asked.settings.grace_ms = 600_000;
    let mut task = asked.start();
    assert_eq!(task.line(), "term");
    task.kill(libc::SIGTERM, 600_000);
    task.kill(libc::SIGTERM, 50);
    is_over(&mut task, "timeout");
}

#[test]
fn only_whole_and_known_lines_are_orders() {
    // P10
    let mut task = Asked::new("exec 9>alive; trap 'echo got >ready' USR1; echo x >ready; while :; do sleep 0.01; done").start();
    task.line();
    task.say(b"\n\nkill\nkill 9 x\nstop 9 0\nkill 99 0\n");
    task.say(&[b'k'; 4000]);
    task.say(b"ill 9 0\nkil");
    task.say(b"l 10 600000\nkill 9");
    // Nothing above was an order but the one for SIGUSR1, which the command answers.
    assert_eq!(task.line(), "got");
    task.say(b" 0\n");
    is_over(&mut task, "kill");
}

#[test]
fn a_line_that_somebody_left_unfinished_spoils_no_order() {
    // P10
    let mut task = Asked::new("exec 9>alive; echo x >ready; exec sleep 300").start();
    task.line();
    task.say(b"kill 9");
    task.kill(libc::SIGINT, 60_000);
    is_over(&mut task, "kill");
    assert_eq!(how(&task.ended()), ("kill", None, Some(2)));
}

#[test]
fn who_becomes_an_orphan_after_the_first_signal_gets_it_too() {
    // P1 P29
    // The signal ends the subshell; its child, in a session of its own, is ours then, and only the leader is told of the
    // death. The leader and `cat` wait for that child, as `npm` waits for a closed pipe.
    let mut task = Asked::new(
        "exec 9>alive; trap : TERM; mkfifo pipe; (setsid sh -c 'exec 8>pipe; echo x >ready; exec sleep 300' & wait) & \
         (trap '' TERM; exec cat pipe); exit 5",
    )
    .start();
    task.line();
    task.kill(libc::SIGTERM, 20_000);
    is_over(&mut task, "kill");
    assert_eq!(how(&task.ended()), ("kill", Some(5), None));
}

/// A leader that waits for `guest`, this script, whatever it is told, and then for what else it is to do. It ends with code 5.
fn waiting_for(guest: &str, started_by: &str) -> String {
    format!("cat >guest <<'END'\n{guest}\nEND\nexec 9>alive; trap : TERM INT; {started_by}; exit 5")
}

const SAVES: &str = "trap 'echo saved >ready; exit' TERM INT; echo x >ready; while :; do sleep 0.01; done";

#[test]
fn who_is_in_a_group_of_its_own_below_a_leader_that_lives_on_gets_the_chosen_signal() {
    // P1 P29
    for signal in [libc::SIGTERM, libc::SIGINT] {
        for above in ["timeout 600", "setsid --wait", "setsid --wait setsid --wait setsid --wait"] {
            let mut task = Asked::new(waiting_for(SAVES, &format!("{above} bash ./guest"))).start();
            task.line();
            task.kill(signal, 600_000);
            assert_eq!(task.line(), "saved", "{above}");
            is_over(&mut task, "kill");
            assert_eq!(how(&task.ended()), ("kill", Some(5), None));
        }
    }
}

#[test]
fn who_was_told_below_a_leader_is_not_told_again_when_that_has_ended() {
    // P1
    let counts = "trap 'echo term >ready' TERM; trap 'echo last >ready; exit' XCPU; echo x >ready; while :; do sleep 0.01; done";
    let mut task = Asked::new(waiting_for(counts, "setsid bash ./guest & read line <go")).start();
    task.line();
    task.kill(libc::SIGTERM, 600_000);
    assert_eq!(task.line(), "term");
    task.go();
    task.ended();
    // Before this the supervisor looks at whoever has become its child, and bash runs its traps in the order of the signals' numbers.
    task.kill(libc::SIGXCPU, 600_000);
    assert_eq!(task.line(), "last");
    is_over(&mut task, "kill");
}

#[test]
fn who_comes_later_into_a_group_that_was_told_one_by_one_is_told_as_an_orphan() {
    // P1
    let first = "[ \"$1\" ] || trap 'bash ./guest later & read line <go; exit' TERM\n\
                 [ \"$1\" ] && trap 'echo told >ready; exit' TERM\n\
                 echo x >ready; while :; do sleep 0.01; done";
    let mut task = Asked::new(waiting_for(first, "setsid --wait bash ./guest")).start();
    task.line();
    task.kill(libc::SIGTERM, 600_000);
    task.line();
    task.go();
    assert_eq!(task.line(), "told");
    is_over(&mut task, "kill");
}

#[test]
fn what_is_started_in_answer_to_the_signal_is_left_to_its_work() {
    // P1
    let cleans = "[ \"$1\" ] || trap 'setsid --wait bash ./guest up; exit' TERM\n\
                  [ \"$1\" ] || { echo x >ready; while :; do sleep 0.01; done; }\n\
                  echo cleaning >ready; until [ -e looked ]; do sleep 0.01; done; echo cleaned >ready";
    // Each orphan that ends makes the supervisor look for whom it has not told.
    let orphans = "for i in {1..9}; do (true &); done; echo >looked; wait";
    let mut task = Asked::new(waiting_for(cleans, &format!("setsid bash ./guest & read line <go; {orphans}"))).start();
    task.line();
    task.kill(libc::SIGTERM, 600_000);
    assert_eq!(task.line(), "cleaning");
    task.go();
    assert_eq!(task.line(), "cleaned");
    is_over(&mut task, "kill");
}

#[test]
fn another_tasks_supervisor_below_a_leader_that_lives_on_is_left_alone_and_what_it_has_started_too() {
    // P9
    let named = "echo outlive-supervisor >/proc/$$/comm\n\
                 bash -c \"trap 'echo told >ready' TERM; echo x >ready; read line <go; echo left >ready; echo >left\"; exit 0";
    let waits = "trap 'echo leader >ready' USR1; setsid bash ./guest & until [ -e left ]; do sleep 0.01; done";
    let mut task = Asked::new(waiting_for(named, waits)).start();
    task.line();
    task.kill(libc::SIGTERM, 600_000);
    // The leader gets it when all that the other signal is for have had that.
    task.kill(libc::SIGUSR1, 600_000);
    assert_eq!(task.line(), "leader");
    task.go();
    assert_eq!(task.line(), "left");
    is_over(&mut task, "kill");
}

#[test]
fn a_fork_storm_of_a_thousand_is_dead_at_once() {
    // P29
    let mut task = Asked::new(
        "exec 9>alive; trap '' TERM; i=0; while [ $i -lt 1000 ]; do (while :; do sleep 600; done) & i=$((i+1)); done; echo x >ready; wait",
    )
    .start();
    task.line();
    task.kill(libc::SIGTERM, 100);
    is_over(&mut task, "kill");
}

/// Everybody forks all the time into a session of its own; the first says when there is no more room. Only root can give it a
/// user of its own with so few processes; for others this is a command like any.
const BOMB: &str = "exec 9>alive; cat >bomb.c <<'END'\n\
    #include <unistd.h>\n\
    int main(void) {\n\
      for (int first = 1;;) {\n\
        int child = fork();\n\
        if (child == 0) first = setsid() < 0;\n\
        if (child < 0 && first) first = write(1, \"x\\n\", 2) < 0;\n\
      }\n\
    }\n\
    END\n\
    [ $(id -u) = 0 ] || { echo x >ready; exec sleep 300; }\n\
    cc -o bomb bomb.c && exec setpriv --reuid=54321 --clear-groups prlimit --nproc=100 ./bomb >ready";

#[test]
fn who_forks_faster_than_it_can_be_killed_runs_out_of_places() {
    // P29
    let mut task = Asked::new(BOMB).start();
    task.line();
    task.kill(libc::SIGKILL, 0);
    is_over(&mut task, "kill");
}

#[test]
fn a_thousand_sessions_are_dead_at_once() {
    // P29
    let mut task =
        Asked::new("exec 9>alive; i=0; while [ $i -lt 1000 ]; do setsid sleep 600 & i=$((i+1)); done; echo x >ready; exit 0")
            .start();
    task.line();
    assert_eq!(task.ended()["descendants"], 1000);
    task.kill(libc::SIGTERM, 600_000);
    assert!(task.gone().success());
    assert!(task.is_dead());
}

/// A script that calls itself in a new session, as deep as it is told.
const DEEP: &str = "cat >deep <<'END'\n\
    [ $1 = 0 ] && { echo x >ready; exec sleep 600; }\n\
    setsid sh ./deep $(($1 - 1)) & wait\n\
    END\nexec 9>alive; sh ./deep 20";

#[test]
fn a_tree_of_twenty_sessions_is_dead_after_one_signal_each() {
    // P29
    let mut task = Asked::new(DEEP).start();
    task.line();
    task.kill(libc::SIGTERM, 600_000);
    is_over(&mut task, "kill");
}

#[test]
fn a_stubborn_tree_of_twenty_sessions_is_dead_after_the_grace() {
    // P29
    let mut task = Asked::new(format!("trap '' TERM; {DEEP}")).start();
    task.line();
    task.kill(libc::SIGTERM, 50);
    is_over(&mut task, "kill");
}

#[test]
fn a_chain_of_processes_that_fork_and_exit_is_caught() {
    // P29
    let chains = [
        "exec 9>alive; trap '' TERM; f() { f & }; f; echo x >ready; sleep 600; :",
        "exec 9>alive; trap '' TERM; echo 'setsid sh ./chain &' >chain; sh ./chain; echo x >ready; sleep 600; :",
    ];
    for chain in chains {
        let mut task = Asked::new(chain).start();
        task.line();
        task.kill(libc::SIGTERM, 100);
        is_over(&mut task, "kill");
    }
}

#[test]
fn stopped_processes_end_too() {
    // P29
    let stopped = "exec 9>alive; sh -c 'kill -STOP $$' & p=$!; until grep -qs ') T' /proc/$p/stat; do :; done; \
                   setsid sh -c 'echo x >ready; kill -STOP $$' & wait";
    for grace_ms in [0, 600_000] {
        let mut task = Asked::new(stopped).start();
        task.line();
        task.kill(libc::SIGTERM, grace_ms);
        is_over(&mut task, "kill");
    }
}

/// As many processes as its argument says, each in a session of its own and by the name of a supervisor, which write down when they are
/// told that their time is over, and stay.
const UNDER_ITS_NAME: &str = "\
    #include <fcntl.h>\n\
    #include <signal.h>\n\
    #include <stdlib.h>\n\
    #include <sys/prctl.h>\n\
    #include <unistd.h>\n\
    static int told;\n\
    static void note(int signal) { if (write(told, \"x\", 1) != 1) _exit(1); }\n\
    int main(int count, char **arguments) {\n\
      told = open(\"told\", O_WRONLY | O_CREAT | O_APPEND, 0600);\n\
      signal(64, note);\n\
      for (int left = count > 1 ? atoi(arguments[1]) : 0; left > 0; left--) {\n\
        if (fork()) continue;\n\
        prctl(PR_SET_NAME, \"outlive-supervisor\");\n\
        if (setsid() < 0 || write(1, \"x\\n\", 2) != 2) return 1;\n\
        for (;;) pause();\n\
      }\n\
      for (;;) pause();\n\
    }";

#[test]
fn of_those_who_go_by_a_supervisors_name_so_many_are_spared_and_not_for_long() {
    // P29
    let started = 80;
    let mut task = Asked::new(compiled(UNDER_ITS_NAME, &format!("exec 9>alive; exec ./guest {started} >ready"))).start();
    for _ in 0..started {
        assert_eq!(task.line(), "x");
    }
    task.kill(libc::SIGKILL, 0);
    is_over(&mut task, "kill");
    // Whoever had no processor in that time could not write it down.
    let told = std::fs::read(task.work.join("told")).expect("told").len();
    assert!((1..=64).contains(&told), "{told} were told that their time is over");
}
