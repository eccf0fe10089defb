//! Whose doing an end was: what ended by itself is never called ours, nor the reverse.

use std::io::{Read, Write};
use std::process::Command;

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

/// Takes SIGTERM without a handler: blocked, and then waited for or read. Exits with 7.
const TAKES_SIGTERM: &str = "\
    #define _GNU_SOURCE\n\
    #include <pthread.h>\n\
    #include <signal.h>\n\
    #include <stdlib.h>\n\
    #include <sys/mman.h>\n\
    #include <sys/signalfd.h>\n\
    #include <unistd.h>\n\
    static sigset_t term;\n\
    static void *wait_for_it(void *nothing) {\n\
      int signal; exit(sigwait(&term, &signal) ? 3 : 7); return nothing;\n\
    }\n\
    static void by_number(int number) {\n\
    #ifdef __x86_64__\n\
      unsigned long *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);\n\
      long result = number;\n\
      *low = 1ul << (SIGTERM - 1);\n\
      __asm__ volatile(\"int $0x80\" : \"+a\"(result) : \"b\"(low), \"c\"(0), \"d\"(0), \"S\"(8) : \"memory\", \"r8\", \"r9\", \"r10\", \"r11\");\n\
      _exit(result == SIGTERM ? 7 : 4);\n\
    #endif\n\
    }\n\
    int main(int count, char **arguments) {\n\
      struct signalfd_siginfo info; pthread_t thread;\n\
      sigemptyset(&term); sigaddset(&term, SIGTERM); sigprocmask(SIG_BLOCK, &term, 0);\n\
      int file = signalfd(-1, &term, SFD_CLOEXEC), kind = count > 1 ? atoi(arguments[1]) : 0;\n\
      if (write(1, \"x\\n\", 2) != 2) return 1;\n\
      if (kind == 1) return read(file, &info, sizeof info) > 0 ? 7 : 2;\n\
      if (kind == 2 && pthread_create(&thread, 0, wait_for_it, 0) == 0) {\n\
        sigprocmask(SIG_UNBLOCK, &term, 0); pthread_exit(0);\n\
      }\n\
      if (kind > 2) by_number(kind);\n\
      wait_for_it(0);\n\
    }";

/// Takes the signal in this way, and is ended while it waits.
fn takes_sigterm(kind: &str) {
    let mut task = Asked::new(compiled(TAKES_SIGTERM, &format!("exec ./guest {kind} >ready"))).start();
    assert_eq!(task.line(), "x");
    // It has said so a moment before it waits.
    eventually("the command waits", || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", task.leader())).expect("threads").flatten();
        let stats: Vec<_> =
            threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default()).collect();
        let sleeping = stats.iter().filter(|stat| stat.contains(") S ")).count();
        sleeping == 1 && stats.iter().all(|stat| stat.contains(") S ") || stat.contains(") Z "))
    });
    task.kill(libc::SIGTERM, 60_000);
    assert_eq!(how(&task.ended()), ("kill", Some(7), None), "{kind}");
}

#[test]
fn a_command_that_waits_for_the_signal_in_place_of_a_handler_was_ended_by_us() {
    // P9
    const SIGWAIT: &str = "0";
    const SIGNALFD: &str = "1";
    const SIGWAIT_IN_A_THREAD_WITHOUT_THE_FIRST: &str = "2";
    for kind in [SIGWAIT, SIGNALFD, SIGWAIT_IN_A_THREAD_WITHOUT_THE_FIRST] {
        takes_sigterm(kind);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_program_of_32_bits_that_waits_for_the_signal_was_ended_by_us() {
    // P9
    // Where the kernel has no such calls, making one is a SIGSEGV.
    let mut probe =
        Asked::new(compiled("int main(void) { long call = 20; __asm__(\"int $0x80\" : \"+a\"(call)); }", "exec ./guest")).start();
    if probe.ended()["signal"] == libc::SIGSEGV {
        return println!("not run: this kernel runs no programs of 32 bits");
    }
    for call in ["177", "421"] {
        takes_sigterm(call);
    }
}

#[test]
fn a_command_that_cannot_be_woken_is_not_asked_what_it_waits_in() {
    // P9
    // Who asks before Linux 5.7 while it waits in an exec for a file system waits as long. The parent of a vfork waits as unwakeably.
    const GUEST: &str = "#include <unistd.h>\n\
        int main(void) {\n\
          if (vfork() == 0) { char line; if (write(1, \"x\\n\", 2) != 2 || read(0, &line, 1) != 1) _exit(1); _exit(0); }\n\
          return 5;\n\
        }";
    let mut task = Asked::new(compiled(GUEST, "mkfifo call; exec ./guest >ready <go")).start();
    assert_eq!(task.line(), "x");
    let thread = format!("/proc/{0}/task/{0}", task.leader());
    eventually("the command cannot be woken", || {
        std::fs::read_to_string(format!("{thread}/stat")).is_ok_and(|stat| stat.contains(") D "))
    });
    let path = task.work.join("call");
    let mut call = std::fs::File::options().read(true).write(true).open(&path).expect("FIFO");
    call.write_all(b"x").expect("room");
    let asked = format!("{thread}/syscall");
    if !Command::new("mount").arg("--bind").args([path.as_os_str(), asked.as_ref()]).status().is_ok_and(|status| status.success())
    {
        return println!("not run: only root can see who is asked");
    }
    task.kill(libc::SIGTERM, 60_000);
    assert_eq!(how(&task.ended()), ("kill", None, Some(15)));
    call.write_all(b"y").expect("room");
    let mut unread = [0; 8];
    let length = call.read(&mut unread).expect("FIFO");
    assert_eq!(&unread[..length], b"xy");
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
