//! A command that asks its parent to trace it (`PTRACE_TRACEME`) is a command like any: it stops for nobody and ends once.

use outlive_protocol::names;
use outlive_protocol::settings::Cleanup;

use crate::task::{Asked, Task, compiled, how};

/// Says that it is traced, then does what its argument says.
const TRACED: &str = "\
    #include <signal.h>\n\
    #include <sys/ptrace.h>\n\
    #include <sys/wait.h>\n\
    #include <unistd.h>\n\
    int main(int count, char **arguments) {\n\
      if (ptrace(PTRACE_TRACEME, 0, 0, 0)) return 1;\n\
      char what = count > 1 ? *arguments[1] : 0;\n\
      if (what == 'e') execlp(\"sh\", \"sh\", \"-c\", \"echo x; read line <go; exit 6\", NULL);\n\
      if (what == 'c') {\n\
        if (fork() == 0) _exit(0);\n\
        int status; wait(&status);\n\
      }\n\
      if (what == 's') raise(SIGSTOP);\n\
      if (what == 't') raise(SIGTRAP);\n\
      char byte;\n\
      if (write(1, \"x\\n\", 2) != 2 || what == 'p') pause();\n\
      return read(0, &byte, 1) == 1 ? 5 : 2;\n\
    }";

fn traced(what: &str) -> Asked {
    Asked::new(compiled(TRACED, &format!("exec 9>alive; exec ./guest {what} <go >ready")))
}

/// It has neither ended nor stopped.
fn is_running(task: &mut Task) {
    assert_eq!(task.line(), "x");
    assert_eq!(task.record(names::ENDED.as_str()), None);
}

#[test]
fn a_traced_command_whose_child_ends_goes_on() {
    // P4
    for cleanup in [Cleanup::Keep, Cleanup::Kill] {
        let mut asked = traced("c");
        asked.settings.cleanup = cleanup;
        let mut task = asked.start();
        is_running(&mut task);
        task.go();
        assert_eq!(how(&task.ended()), ("exit", Some(5), None));
        assert!(task.gone().success());
    }
}

#[test]
fn a_traced_command_becomes_another_program() {
    // P4
    let mut task = traced("e").start();
    is_running(&mut task);
    task.go();
    assert_eq!(how(&task.ended()), ("exit", Some(6), None));
    assert!(task.gone().success());
}

#[test]
fn a_traced_command_ends_by_a_trap_of_its_own() {
    // P4
    let mut task = traced("t").start();
    assert_eq!(how(&task.ended()), ("signal", None, Some(libc::SIGTRAP as u64)));
    assert!(task.gone().success());
}

#[test]
fn a_traced_command_ends_by_the_signal_of_a_kill() {
    // P1 P9
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGKILL] {
        let mut task = traced("p").start();
        is_running(&mut task);
        task.kill(signal, 60_000);
        assert_eq!(how(&task.ended()), ("kill", None, Some(signal as u64)));
        assert!(task.gone().success());
        assert!(task.is_dead());
    }
}

#[test]
fn a_traced_command_ends_at_its_deadline() {
    // P14
    let mut asked = traced("p");
    asked.settings.timeout_ms = 1500;
    asked.settings.grace_ms = 60_000;
    let mut task = asked.start();
    assert_eq!(how(&task.ended()), ("timeout", None, Some(15)));
    assert!(task.gone().success());
    assert!(task.is_dead());
}

#[test]
fn a_traced_command_that_stops_itself_goes_on_when_it_is_told() {
    // P4
    let mut task = Asked::new(compiled(
        TRACED,
        "(while kill -0 $$ && ! grep -qs ') T' /proc/$$/stat; do :; done; kill -CONT $$) & exec ./guest s <go >ready",
    ))
    .start();
    is_running(&mut task);
    task.go();
    assert_eq!(how(&task.ended()), ("exit", Some(5), None));
}
