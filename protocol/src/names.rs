//! The names in the store. Every record has one writer.

use core::ffi::CStr;

/// The name of a file in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(&'static CStr);

impl Name {
    /// The name as the kernel wants it.
    pub const fn as_c_str(self) -> &'static CStr {
        self.0
    }

    /// The name as text.
    pub const fn as_str(self) -> &'static str {
        match self.0.to_str() {
            Ok(text) => text,
            Err(_) => "",
        }
    }
}

/// The session's id, byte for byte; read back to tell a session from another with the same key. Host.
pub const SESSION: Name = Name(c"session");
/// The same, from a task's directory.
pub const SESSION_FROM_TASK: Name = Name(c"../session");
/// A FIFO: its lock says who delivers, its hang-up that the owner died, a byte in it that there is a new task. Host.
pub const OWNER: Name = Name(c"owner");

/// What was asked. Host, last of all files and before the supervisor starts.
pub const TASK: Name = Name(c"task.json");
/// The command's text, byte for byte. Host.
pub const COMMAND: Name = Name(c"command");
/// FIFO from hosts to the supervisor: orders. It has a reader exactly while the supervisor lives.
pub const CONTROL: Name = Name(c"control");
/// FIFO from the supervisor to hosts: a byte says "look again", hang-up says "the supervisor is gone".
pub const EVENTS: Name = Name(c"events");
/// What the command wrote to its standard output. The command.
pub const STDOUT: Name = Name(c"stdout");
/// What the command wrote to its standard error. The command.
pub const STDERR: Name = Name(c"stderr");
/// Both streams in their true order, when merged. The command.
pub const OUTPUT: Name = Name(c"output");
/// Complete before the command's exec. Supervisor.
pub const STARTED: Name = Name(c"started.json");
/// How the leader ended. Space is reserved by the host, the content is one write of the supervisor.
pub const ENDED: Name = Name(c"ended.json");
/// There were descendants at the leader's end, and now there are none. Supervisor.
pub const CLOSED: Name = Name(c"closed.json");
/// Which bytes the output limit removed; the one record that is rewritten, in place, with a fixed length. Supervisor.
pub const DROPPED: Name = Name(c"dropped.json");
/// One byte for each time that a callback was called with the completion. Host.
pub const LEASES: Name = Name(c"leases");
/// A hard link to `task.json`: the acknowledgement. Made atomically, and also on a disk without a free inode. Host.
pub const DELIVERED: Name = Name(c"delivered");

/// What a supervisor calls itself, as the first of its arguments.
pub const SUPERVISOR: &CStr = c"outlive-supervisor";

/// What the kernel calls a supervisor: as much of that as it keeps of a name.
pub const SUPERVISOR_COMM: &[u8] = SUPERVISOR.to_bytes().first_chunk::<15>().expect("it is longer").as_slice();

/// The environment variable that marks everything a task starts.
pub const TASK_ID_VARIABLE: &str = "OUTLIVE_TASK_ID";
