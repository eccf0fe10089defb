//! A task directory, a supervisor with its eight descriptors, and the waits for both. The only place with unsafe.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use outlive_protocol::orders::{MAX_ORDER, Order};
use outlive_protocol::records::ENDED_RESERVED;
use outlive_protocol::settings::{Cleanup, MAX_SETTINGS, Settings};
use outlive_protocol::{fds, names};
use serde_json::Value;

/// No other test's: a store's clean-up kills whoever carries the mark of a task that has a directory in it.
pub(crate) const TASK_ID: &str = "bash-5afe5afe5afe5afe";

pub(crate) const SUPERVISOR: &str = env!("OUTLIVE_SUPERVISOR_BIN");
/// Far more than anything here takes, so that only what hangs meets it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What is asked of a supervisor. The command's directory holds three FIFOs: `ready`, for lines to the test, `go`, for lines
/// from the test, and `alive`, which is open as long as one of those processes lives that inherited it.
pub(crate) struct Asked {
    pub(crate) command: Vec<u8>,
    pub(crate) shell: PathBuf,
    pub(crate) settings: Settings<'static>,
    pub(crate) merged: bool,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) umask: u32,
    /// A signal that the supervisor finds ignored.
    pub(crate) ignored: Option<i32>,
    /// Where the task's directories are made.
    pub(crate) base: PathBuf,
    /// Changes the task's directory before the start.
    pub(crate) before: fn(&Path),
}

impl Asked {
    pub(crate) fn new(command: impl Into<Vec<u8>>) -> Asked {
        Asked {
            command: command.into(),
            shell: "/bin/bash".into(),
            settings: Settings {
                timeout_ms: 0,
                grace_ms: 500,
                max_output_bytes: 0,
                cleanup: Cleanup::Keep,
                boot_id: b"this-boot",
            },
            merged: false,
            environment: Vec::new(),
            umask: 0o022,
            ignored: None,
            base: std::env::temp_dir(),
            before: |_| {},
        }
    }

    pub(crate) fn start(self) -> Task {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = self.base.join(format!("outlive-supervisor-{}-{number}", std::process::id()));
        let (directory, work) = (root.join("task"), root.join("work"));
        for path in [&root, &directory, &work] {
            fs::create_dir(path).expect("a fresh directory");
        }
        fs::write(directory.join(names::COMMAND.as_str()), &self.command).expect("command");
        for name in [names::CONTROL, names::EVENTS] {
            make_fifo(&directory.join(name.as_str()));
        }
        for name in ["ready", "go", "alive"] {
            make_fifo(&work.join(name));
        }
        let go = open_fifo(&work.join("go"), true);
        let ready = open_fifo(&work.join("ready"), true);
        let alive = open_fifo(&work.join("alive"), false);
        let events = open_fifo(&directory.join(names::EVENTS.as_str()), false);
        (self.before)(&directory);
        let files = self.files(&directory, &work);
        let child = self.spawn(&files);
        Task { root, directory, work, child, events: Some(events), ready, go, alive, said: String::new() }
    }

    fn files(&self, directory: &Path, work: &Path) -> [File; 8] {
        let append = |name: &str| {
            let path = directory.join(name);
            OpenOptions::new().append(true).create(true).mode(0o600).open(path).expect("capture file")
        };
        let stdout = append(if self.merged { names::OUTPUT.as_str() } else { names::STDOUT.as_str() });
        let stderr = if self.merged { stdout.try_clone().expect("dup") } else { append(names::STDERR.as_str()) };
        [
            File::open("/dev/null").expect("/dev/null"),
            stdout,
            stderr,
            File::open(directory).expect("task directory"),
            open_fifo(&directory.join(names::CONTROL.as_str()), true),
            open_fifo(&directory.join(names::EVENTS.as_str()), true),
            File::open(work).expect("working directory"),
            reserved(&directory.join(names::ENDED.as_str())),
        ]
    }

    fn spawn(&self, files: &[File; 8]) -> Child {
        // Above the numbers that they get in the child, so that none covers another on the way.
        let high: Vec<OwnedFd> = files.iter().map(duplicate_high).collect();
        let numbers: Vec<i32> = high.iter().map(AsRawFd::as_raw_fd).collect();
        let mut buffer = [0; MAX_SETTINGS];
        let settings = self.settings.write(&mut buffer);
        let mut command = Command::new(SUPERVISOR);
        command.arg0("outlive-supervisor").arg(TASK_ID);
        command.arg(std::ffi::OsStr::from_bytes(settings)).arg(&self.shell);
        command.env(names::TASK_ID_VARIABLE, TASK_ID);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let (umask, ignored) = (self.umask, self.ignored);
        // SAFETY: the closure makes system calls only.
        unsafe { command.pre_exec(move || prepare(&numbers, umask, ignored)) };
        command.spawn().expect("the supervisor starts")
    }
}

/// One running supervisor. Dropped, it dies with its leader.
pub(crate) struct Task {
    pub(crate) root: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) child: Child,
    events: Option<File>,
    ready: File,
    go: File,
    alive: File,
    said: String,
}

impl Task {
    /// The next line that a guest says.
    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some((line, rest)) = self.said.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.said = rest;
                return line;
            }
            wait_until_readable(&self.ready, LIMIT, "a line from a guest");
            let mut buffer = [0; 4096];
            let length = (&self.ready).read(&mut buffer).expect("ready");
            self.said.push_str(std::str::from_utf8(&buffer[..length]).expect("text"));
        }
    }

    /// Lets one guest go on that reads a line from `go`.
    pub(crate) fn go(&self) {
        (&self.go).write_all(b"x\n").expect("go");
    }

    /// Asks for the tree's end.
    pub(crate) fn kill(&self, signal: i32, grace_ms: u64) {
        let order = Order::Kill { signal: signal as u8, grace_ms };
        self.say(order.write(&mut [0; MAX_ORDER]));
    }

    /// Writes into `control`. Without a supervisor there is nobody to hear it.
    pub(crate) fn say(&self, bytes: &[u8]) {
        let control =
            OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(self.directory.join(names::CONTROL.as_str()));
        if let Ok(mut control) = control {
            // It may have ended since.
            drop(control.write_all(bytes));
        }
    }

    /// A record when it is there, whole.
    pub(crate) fn record(&self, name: &str) -> Option<Value> {
        let text = fs::read_to_string(self.directory.join(name)).ok()?;
        text.ends_with('\n').then(|| serde_json::from_str(&text).expect("a whole record"))
    }

    /// `ended.json`, waited for.
    pub(crate) fn ended(&mut self) -> Value {
        let start = Instant::now();
        loop {
            if let Some(ended) = self.record(names::ENDED.as_str()) {
                return ended;
            }
            assert!(self.next_event(start), "the supervisor is gone without a record");
        }
    }

    /// False at the hang-up. The limit holds from the start of the whole wait: events may be repeated for ever.
    fn next_event(&mut self, start: Instant) -> bool {
        let Some(events) = &self.events else { return false };
        wait_until_readable(events, LIMIT.saturating_sub(start.elapsed()), "an event");
        let length = match (&*events).read(&mut [0; 64]) {
            // It was emptied, to be written to.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            length => length.expect("events"),
        };
        if length == 0 {
            self.events = None;
        }
        length != 0
    }

    /// What is in `events`, where nobody else has read, when the supervisor has gone.
    pub(crate) fn left_in_events(&mut self) -> Vec<u8> {
        self.child.wait().expect("wait");
        let mut left = Vec::new();
        self.events.as_mut().expect("open").read_to_end(&mut left).expect("events");
        left
    }

    /// Waits for the hang-up and returns the supervisor's own exit.
    pub(crate) fn gone(&mut self) -> ExitStatus {
        let start = Instant::now();
        while self.next_event(start) {}
        self.child.wait().expect("wait")
    }

    /// Every process that had `alive` open is dead, now.
    pub(crate) fn is_dead(&self) -> bool {
        poll(&self.alive, Duration::ZERO) & libc::POLLHUP != 0
    }

    /// Waits until every process that had `alive` open is dead.
    pub(crate) fn wait_until_dead(&self) {
        assert!(poll(&self.alive, LIMIT) & libc::POLLHUP != 0, "a guest lives on");
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.directory.join(names::STDOUT.as_str())).expect("stdout")
    }

    pub(crate) fn leader(&self) -> u64 {
        self.record(names::STARTED.as_str()).expect("started.json")["pid"].as_u64().expect("pid")
    }

    /// Signals the supervisor itself, which has not been waited for.
    pub(crate) fn signal_supervisor(&self, signal: i32) {
        // SAFETY: the call takes numbers only.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// A line of the supervisor's `/proc/<pid>/status`.
    pub(crate) fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status");
        status.lines().find(|line| line.starts_with(key)).expect("a known key").to_owned()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.root));
    }
}

/// A command that compiles this C as `guest` and then is `command`.
pub(crate) fn compiled(source: &str, command: &str) -> String {
    format!("cat >guest.c <<'END'\n{source}\nEND\ncc -Wall -Werror -pthread -o guest guest.c || exit 99\n{command}")
}

/// The cause, the exit code and the signal of an `ended.json`.
pub(crate) fn how(ended: &Value) -> (&str, Option<u64>, Option<u64>) {
    (ended["cause"].as_str().expect("cause"), ended["exitCode"].as_u64(), ended["signal"].as_u64())
}

/// What must hold soon, asked again until the limit.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "never: {what}");
        std::thread::yield_now();
    }
}

fn wait_until_readable(file: &File, limit: Duration, what: &str) {
    assert!(poll(file, limit) != 0, "{what} never came");
}

fn poll(file: &File, limit: Duration) -> i16 {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one `pollfd` is passed, and its number is given.
    let ready = unsafe { libc::poll(&mut poll, 1, limit.as_millis() as i32) };
    assert!(ready >= 0, "poll: {}", std::io::Error::last_os_error());
    poll.revents
}

fn make_fifo(path: &Path) {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: a path with a NUL at its end.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

fn open_fifo(path: &Path, both_ends: bool) -> File {
    OpenOptions::new().read(true).write(both_ends).custom_flags(libc::O_NONBLOCK).open(path).expect("FIFO")
}

/// `ended.json` with its space reserved, where the file system can.
fn reserved(path: &Path) -> File {
    let file = OpenOptions::new().write(true).create_new(true).open(path).expect("ended.json");
    // SAFETY: the call takes numbers only.
    unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, ENDED_RESERVED as i64) };
    file
}

fn duplicate_high(file: &File) -> OwnedFd {
    // SAFETY: the call takes numbers only.
    let number = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100) };
    assert!(number >= 0, "dup: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor has just been made and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// In the child: the eight descriptors, every signal blocked.
fn prepare(numbers: &[i32], umask: u32, ignored: Option<i32>) -> std::io::Result<()> {
    for (target, number) in (fds::STDIN..fds::FIRST_UNEXPECTED).zip(numbers) {
        // SAFETY: the call takes numbers only.
        if unsafe { libc::dup2(*number, target) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    let all = [u64::MAX; 16];
    // SAFETY: a `sigset_t` is 128 bytes of bits.
    if unsafe { libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr().cast(), std::ptr::null_mut()) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    if let Some(signal) = ignored {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: the call takes a number only.
    unsafe { libc::umask(umask) };
    Ok(())
}
