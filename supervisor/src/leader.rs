//! The command's first process: a shell that is given the command's text. `started.json` is complete before its exec, so
//! that no command ever runs unrecorded; a failure up to and including the exec comes back as the system's error number.

use core::ffi::CStr;

use outlive_protocol::fds;
use outlive_protocol::names;
use outlive_protocol::records::{MAX_RECORD, Started};
use outlive_protocol::settings::Settings;

use crate::failpoint;
use crate::sys::files::{self, File};
use crate::sys::launch::{self, Argument, Environment};
use crate::sys::memory::Region;
use crate::sys::{Errno, Result, ignore, process};

/// A leader that runs, or has run: who it is and since when.
pub(crate) struct Leader {
    pub(crate) pid: u32,
    pub(crate) started_at: u64,
    pub(crate) started_ns: u64,
}

const STACK: usize = 32 << 10;
const PATH: usize = 4096 + 16;
/// What the kernel takes as one argument, its NUL included.
const MAX_ARGUMENT: usize = 128 << 10;

const COMMAND: &CStr = names::COMMAND.as_c_str();
const STARTED: &CStr = names::STARTED.as_c_str();

/// Everything the child needs, made ready before it exists.
struct Plan<'a> {
    shell: &'a CStr,
    environment: Environment,
    /// The command's text, when it fits into one argument.
    text: Option<&'a CStr>,
    /// The file that holds the text: the shell runs it as a script when the text is too long.
    script: &'a CStr,
    umask: usize,
    supervisor: u32,
    started_at: u64,
    boot_id: &'a [u8],
}

/// Starts the command. The current directory is the task's.
pub(crate) fn start(shell: &CStr, environment: Environment, settings: &Settings<'_>) -> Result<Leader> {
    let command = File::open(fds::TASK_DIR, COMMAND)?;
    let length = files::stat(command.number())?.size as usize;
    let in_argument = length < MAX_ARGUMENT;
    let mut memory = Region::<u8>::new(STACK + PATH + if in_argument { length + 2 } else { 0 })?;
    let (stack, rest) = memory.split_at_mut_checked(STACK).ok_or(Errno::E2BIG)?;
    let (path, text) = rest.split_at_mut_checked(PATH).ok_or(Errno::E2BIG)?;
    let text = if in_argument { Some(read_text(&command, text)?) } else { None };
    drop(command);
    let plan = Plan {
        shell,
        environment,
        text,
        script: script_path(path)?,
        // Our own records are for their owner only, whatever the command's files are to be.
        umask: files::set_umask(0o077),
        supervisor: process::id(),
        started_at: process::unix_ms(),
        boot_id: settings.boot_id,
    };
    let started_ns = process::monotonic_ns();
    failpoint::pass("supervisor.before_leader")?;
    let pid = launch::spawn(&|| become_command(&plan), stack)?;
    Ok(Leader { pid, started_at: plan.started_at, started_ns })
}

/// The whole file with a NUL behind it. What follows a NUL in the text itself cannot be said in an argument and is cut.
fn read_text<'a>(command: &File, buffer: &'a mut [u8]) -> Result<&'a CStr> {
    let (space, text) = buffer.split_first_mut().ok_or(Errno::EIO)?;
    let mut filled = 0;
    while let Some(room) = text.get_mut(filled..).filter(|room| room.len() > 1) {
        let length = room.len() - 1;
        match files::read_at(command.number(), room.get_mut(..length).unwrap_or_default(), filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    // A shell would take it for options of its own. Not every shell knows `--` here, and none minds a space.
    let looks_like_options = matches!(text.first(), Some(b'-' | b'+'));
    *space = b' ';
    let argument = if looks_like_options { buffer } else { buffer.get_mut(1..).unwrap_or_default() };
    CStr::from_bytes_until_nul(argument).map_err(|_| Errno::EIO)
}

fn script_path(buffer: &mut [u8]) -> Result<&CStr> {
    let length = files::current_directory(buffer.get_mut(..4096).unwrap_or_default())?.len();
    let name = COMMAND.to_bytes();
    // The region is fresh, so the NUL is there already.
    let slots = buffer.get_mut(length..).ok_or(Errno::ENAMETOOLONG)?;
    for (slot, byte) in slots.iter_mut().zip(b"/".iter().chain(name)) {
        *slot = *byte;
    }
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::ENAMETOOLONG)
}

/// In the child, with the supervisor asleep. Returns only when the command does not run.
fn become_command(plan: &Plan<'_>) -> Errno {
    let Err(errno) = prepare(plan) else {
        let environment = plan.environment;
        let [shell, script] = [plan.shell, plan.script].map(Argument::new);
        if let Some(text) = plan.text {
            let arguments = [shell, Argument::new(c"-c"), Argument::new(text), Argument::END];
            let errno = launch::execute(plan.shell, &arguments, environment);
            // The text fits into an argument, but not beside this environment.
            if errno != Errno::E2BIG {
                return errno;
            }
        }
        return launch::execute(plan.shell, &[shell, script, Argument::END], environment);
    };
    errno
}

/// A session without a terminal, the asked directory and umask, default signals, descriptors 0, 1 and 2 and no others.
fn prepare(plan: &Plan<'_>) -> Result<()> {
    process::new_session()?;
    files::change_directory(fds::CWD)?;
    process::die_with_parent()?;
    // The supervisor may have died before the line above.
    if process::parent() != plan.supervisor {
        return Err(Errno::ESRCH);
    }
    failpoint::pass("supervisor.before_started_json")?;
    record_start(plan)?;
    failpoint::pass("supervisor.before_exec")?;
    files::set_umask(plan.umask);
    process::default_signals();
    // All that the supervisor has opened itself closes at the exec.
    files::close_range(fds::STDERR + 1, fds::FIRST_UNEXPECTED - 1);
    Ok(())
}

fn record_start(plan: &Plan<'_>) -> Result<()> {
    let started = Started {
        pid: u64::from(process::id()),
        supervisor_pid: u64::from(plan.supervisor),
        started_at: plan.started_at,
        boot_id: plan.boot_id,
    };
    let file = File::create(fds::TASK_DIR, STARTED)?;
    let written = failpoint::pass("supervisor.before_started_json_content")
        .and_then(|()| files::write(file.number(), started.write(&mut [0; MAX_RECORD])));
    written.inspect_err(|_| {
        // A torn record would say less than none; on a disk that is full it may well be torn.
        ignore(files::unlink(fds::TASK_DIR, STARTED));
    })
}
