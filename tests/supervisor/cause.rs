//! Whose doing an end was: what ended by itself is never called ours, nor the reverse.

use outlive_protocol::names;

use crate::task::{Asked, compiled, eventually, how};

#[test]
fn the_code_of_a_command_that_answers_the_signal_is_kept_and_the_cause_is_ours() {
    // P9
    let mut task = Asked::new("exec 9>alive; trap 'exit 7' TERM; echo x >ready; while :; do sleep 0.01; done").start();
    task.line();
    task.kill(libc::SIGTERM, 60_000);
    task.ended();
    assert!(task.gone().success());
    assert!(task.is_dead());
    assert_eq!(how(&task.ended()), ("kill", Some(7), None));
}

/// Takes SIGTERM without a handler: blocked, and then waited for or read.
const TAKES_SIGTERM: &str = "cat >takes.c <<'END'\n\
    #include <signal.h>\n\
    #include <sys/signalfd.h>\n\
    #include <unistd.h>\n\
    int main(int count, char **arguments) {\n\
      sigset_t term; int signal; struct signalfd_siginfo info;\n\
      sigemptyset(&term); sigaddset(&term, SIGTERM); sigprocmask(SIG_BLOCK, &term, 0);\n\
      int file = signalfd(-1, &term, SFD_CLOEXEC);\n\
      if (write(1, \"x\\n\", 2) != 2) return 1;\n\
      if (count > 1) return read(file, &info, sizeof info) > 0 ? 7 : 2;\n\
      return sigwait(&term, &signal) ? 3 : 7;\n\
    }\n\
    END\n\
    cc -o takes takes.c && exec ./takes >ready";

#[test]
fn a_command_that_waits_for_the_signal_in_place_of_a_handler_was_ended_by_us() {
    // P9
    for how_taken in ["", " file"] {
        let mut task = Asked::new(format!("{TAKES_SIGTERM}{how_taken}")).start();
        assert_eq!(task.line(), "x");
        // It has said so a moment before it waits.
        eventually("the command waits", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", task.leader())).expect("stat");
            stat.contains(") S ")
        });
        task.kill(libc::SIGTERM, 60_000);
        assert_eq!(how(&task.ended()), ("kill", Some(7), None), "{how_taken}");
    }
}

#[test]
fn a_real_exit_code_survives_a_late_kill() {
    // P9
    let mut task = Asked::new("exec 9>alive; sleep 300 & exit 3").start();
    assert_eq!(how(&task.ended()), ("exit", Some(3), None));
    task.kill(libc::SIGTERM, 60_000);
    assert!(task.gone().success());
    assert!(task.is_dead());
    assert_eq!(how(&task.ended()), ("exit", Some(3), None));
    assert!(task.record(names::CLOSED.as_str()).is_some());
}

#[test]
fn a_signal_that_does_nothing_to_the_leader_is_not_its_end() {
    // P9
    // SIGWINCH is at its default, which is to do nothing.
    let mut task = Asked::new("echo x >ready; read line <go; exit 6").start();
    task.line();
    task.kill(libc::SIGWINCH, 60_000);
    task.go();
    assert_eq!(how(&task.ended()), ("exit", Some(6), None));
}

#[test]
fn the_cause_is_right_for_a_member_of_many_groups() {
    // P9
    // Its `/proc/<pid>/status` is longer than a page. Only root may join groups; for others this is the test above.
    let waits = "sh -c 'echo x >ready; read line <go; exit 6'";
    let many = format!("exec setpriv --groups=$(seq -s, 2000000001 2000000900) {waits}");
    let mut task = Asked::new(format!("[ $(id -u) != 0 ] && exec {waits}; {many}")).start();
    task.line();
    task.kill(libc::SIGWINCH, 60_000);
    task.go();
    assert_eq!(how(&task.ended()), ("exit", Some(6), None));
}

/// Has a handler and so much memory that its end takes a while: its own, or with an argument by a signal, which writes a core.
const LARGE: &str = "\
    #include <signal.h>\n\
    #include <stdlib.h>\n\
    #include <sys/mman.h>\n\
    #include <unistd.h>\n\
    static void nothing(int signal) { (void)signal; }\n\
    int main(int count, char **arguments) {\n\
      signal(SIGTERM, nothing);\n\
      int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;\n\
      if (mmap(0, (count > 1 ? 100 : 600) << 20, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) return 1;\n\
      if (write(1, \"x\\n\", 2) != 2) return 1;\n\
      if (count > 1) abort();\n\
      _exit(3);\n\
    }";

fn is_on_its_way_out(pid: u64) -> bool {
    const EXITING_OR_SIGNALED: u64 = 0x404;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags = stat.rsplit(')').next().and_then(|fields| fields.split(' ').nth(7)?.parse::<u64>().ok());
    flags.is_none_or(|flags| flags & EXITING_OR_SIGNALED != 0)
}

#[test]
fn a_command_that_was_on_its_way_out_keeps_its_end_whatever_it_handled() {
    // P9
    let by_itself = ["exec ./guest >ready"; 4].map(|command| (command, ("exit", Some(3), None)));
    let by_a_signal = ("ulimit -c unlimited; exec ./guest dump >ready", ("signal", None, Some(6)));
    for (command, end) in by_itself.into_iter().chain([by_a_signal]) {
        let mut task = Asked::new(compiled(LARGE, command)).start();
        assert_eq!(task.line(), "x");
        eventually("its end has begun", || is_on_its_way_out(task.leader()));
        task.kill(libc::SIGTERM, 60_000);
        assert_eq!(how(&task.ended()), end);
    }
}
