//! The descriptors that a supervisor is born with. It opens no path of its own to reach its task:
//! whoever starts it holds the FIFOs open, so that "control has a reader" is true from before
//! `task.json` exists until the supervisor is gone.

/// `/dev/null`, the command's standard input.
pub const STDIN: i32 = 0;
/// The capture file of standard output, for appending.
pub const STDOUT: i32 = 1;
/// The capture file of standard error, for appending; the same file as [`STDOUT`] when merged.
pub const STDERR: i32 = 2;
/// The task directory.
pub const TASK_DIR: i32 = 3;
/// `control`, opened for reading and writing.
pub const CONTROL: i32 = 4;
/// `events`, opened for reading and writing.
pub const EVENTS: i32 = 5;
/// The command's working directory.
pub const CWD: i32 = 6;
/// `ended.json`, empty, with its space reserved.
pub const ENDED: i32 = 7;
/// The first descriptor that the supervisor does not expect; it closes this and all above.
pub const FIRST_UNEXPECTED: i32 = 8;
