//! The names in the store. Every file has one writer.

/// The session's id, byte for byte; read back to tell a session from another with the same key. Host.
pub const SESSION: &str = "session";
/// A FIFO: its lock says who delivers, its hang-up that the owner died, a byte in it that there is a new task. Host.
pub const OWNER: &str = "owner";

/// What was asked. Host, last of all files and before the supervisor starts.
pub const TASK: &str = "task.json";
/// The command's text, byte for byte. Host.
pub const COMMAND: &str = "command";
/// FIFO from hosts to the supervisor: orders. It has a reader exactly while the supervisor lives.
pub const CONTROL: &str = "control";
/// FIFO from the supervisor to hosts: a byte says "look again", hang-up says "the supervisor is gone".
pub const EVENTS: &str = "events";
/// What the command wrote to its standard output. The command.
pub const STDOUT: &str = "stdout";
/// What the command wrote to its standard error. The command.
pub const STDERR: &str = "stderr";
/// Both streams in their true order, when merged. The command.
pub const OUTPUT: &str = "output";
/// Complete before the command's exec. Supervisor.
pub const STARTED: &str = "started.json";
/// How the leader ended. Space is reserved by the host, the content is one write of the supervisor.
pub const ENDED: &str = "ended.json";
/// There were descendants at the leader's end, and now there are none. Supervisor.
pub const CLOSED: &str = "closed.json";
/// Which bytes the output limit removed; the one record that is rewritten, in place, with a fixed length. Supervisor.
pub const DROPPED: &str = "dropped.json";
/// One byte for each time the completion was handed to a callback. Host.
pub const LEASES: &str = "leases";
/// A hard link to `task.json`: the acknowledgement. Made atomically, and also on a disk without a free inode. Host.
pub const DELIVERED: &str = "delivered";

/// The environment variable that marks everything a task starts.
pub const TASK_ID_VARIABLE: &str = "OUTLIVE_TASK_ID";
