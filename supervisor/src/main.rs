//! The night watch: one small process that stays with one task until the last of its processes is gone. It starts the
//! command, waits, ends the whole tree when asked or when the time is over, keeps the output within its limit, and writes
//! how it ended. It never writes to a terminal, opens no path outside its session and `/proc`, and signals nothing but its own
//! unreaped children, the groups that they hold, and processes that it holds itself and has seen to be below it.
//!
//! * `leader`: the command's first process.
//! * `watch`: the loop.
//! * `ending`: what was sent to a tree that is being ended, and what is due next.
//! * `tree`: who lives, and how all of it is ended.
//! * `proc`: what `/proc` shows.
//! * `output`: the limit.
//! * `durable`: what a power cut must not take.
//! * `failpoint`: where tests make it fail; nothing in a release.
//! * `sys`: every system call.
#![no_std]
#![no_main]

mod durable;
mod ending;
mod failpoint;
mod leader;
mod output;
mod proc;
mod sys;
mod tree;
mod watch;

use outlive_protocol::fds;
use outlive_protocol::records::{Ended, MAX_RECORD};
use outlive_protocol::settings::Settings;

use sys::launch::Arguments;
use sys::{Errno, files, ignore, process};
use watch::Watch;

/// We were started by something that does not know how.
const NOT_STARTED_BY_A_HOST: u8 = 100;

fn main(arguments: &Arguments) -> u8 {
    let (Some(settings), Some(shell)) = (arguments.get(2), arguments.get(3)) else { return NOT_STARTED_BY_A_HOST };
    let Some(settings) = Settings::parse(settings.to_bytes()) else { return NOT_STARTED_BY_A_HOST };
    process::block_signals();
    ignore(failpoint::pass("supervisor.at_start"));
    // Without it another task's supervisor takes us for any process of its own.
    ignore(process::take_name());
    // A parent that ignores it would leave us children that vanish before their end is read.
    process::default_signal(process::SIGCHLD);
    // It fails when the host has made a session for us already.
    ignore(process::new_session());
    // Without it (before Linux 3.4) an orphan leaves the tree, and everything else still holds.
    ignore(process::adopt_orphans());
    files::close_range(fds::FIRST_UNEXPECTED, i32::MAX);
    if files::change_directory(fds::TASK_DIR).is_err() {
        return NOT_STARTED_BY_A_HOST;
    }
    // First what can fail, so that a command that runs is also watched.
    let started = process::can_watch()
        .and_then(|()| process::signal_file())
        .and_then(|signals| Ok((leader::start(shell, arguments.environment(), &settings)?, signals)));
    ignore(failpoint::pass("supervisor.after_leader"));
    match started {
        Ok((leader, signals)) => {
            // The user's directory can be removed or unmounted from now on.
            files::close(fds::CWD);
            announce();
            process::give_way();
            ignore(failpoint::pass("supervisor.after_start_told"));
            Watch::new(leader, &settings, signals).stay();
        }
        Err(errno) => record_failure(errno),
    }
    0
}

/// Wakes every host that looks at this task.
fn announce() {
    // Linux 5.5 to 5.13 wakes by a write only who watches an empty FIFO. If we are killed in between, the hang-up wakes them.
    ignore(files::read(fds::EVENTS, &mut [0; 64]));
    ignore(files::write(fds::EVENTS, b"\n"));
}

/// The same if the bell that was rung is gone: no host takes it, but who reads all files of a directory does, maybe before any host has
/// heard it. Whether it was.
fn announce_if_taken() -> bool {
    let was_taken = process::sleep([fds::EVENTS; 2], 0) == [false; 2];
    if was_taken {
        announce();
    }
    was_taken
}

fn record_failure(errno: Errno) {
    let ended = Ended::spawn_error(Some(u64::from(errno.0)), process::unix_ms(), process::monotonic_ns());
    // What cannot be written stays unwritten: the host sees the hang-up without a record.
    ignore(failpoint::pass("supervisor.before_failure"));
    ignore(files::write_at_start(fds::ENDED, ended.write(&mut [0; MAX_RECORD])));
    ignore(failpoint::pass("supervisor.after_failure"));
    announce();
    durable::sync_all();
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    process::exit(101)
}
