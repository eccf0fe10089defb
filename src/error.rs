//! What *we* could not do. How a task ends is a value, not an error.

use std::error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use crate::platform::errno;
use crate::task::{SessionId, TaskId};

/// A situation that the caller has to hear of.
#[derive(Debug)]
pub enum Error {
    /// The arguments make no sense together; the face has checked each one alone.
    InvalidArgument(String),
    /// The working directory is missing, is no directory, or may not be entered.
    CwdNotFound {
        /// As it was asked for.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The shell is missing or may not be executed.
    ShellNotFound {
        /// As it was asked for; a name with the directories in which it was looked for.
        shell: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The registry runs as many tasks as it may.
    TaskLimitExceeded {
        /// How many it may run.
        limit: usize,
        /// What it runs.
        running: Vec<TaskId>,
        /// How many more are on their way.
        starting: usize,
    },
    /// The system refused what one more process takes.
    SpawnFailed {
        /// The task that was to be, unless it had no name yet.
        task: Option<TaskId>,
        /// What happened, in words.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The store could not be used.
    StorageFailed {
        /// What was attempted, in words.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No copy of the supervisor could be executed.
    SupervisorUnavailable {
        /// Each way that was tried, and why it failed.
        tried: Vec<(String, io::Error)>,
    },
    /// No such task, or another session's.
    TaskNotFound {
        /// The id as it was given.
        task: String,
        /// The session that was named.
        session: Option<SessionId>,
    },
    /// What a vanished supervisor has left lives on, and the system does not let us signal it.
    KillRefused {
        /// Whose it is.
        task: TaskId,
        /// The system's reason.
        source: io::Error,
    },
    /// `detach` or `shutdown` came before.
    RegistryClosed,
    /// A defect of ours: a panic that was caught.
    Internal,
}

/// The outcome of something that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the store could not be used for want of descriptors or memory: later it may.
    pub fn is_exhaustion(&self) -> bool {
        matches!(self, Error::StorageFailed { source, .. } if errno::is_exhaustion(source))
    }

    /// The contract with JavaScript: a short closed list.
    pub fn code(&self) -> &'static str {
        match self {
            Error::InvalidArgument(_) => "INVALID_ARGUMENT",
            Error::CwdNotFound { .. } => "CWD_NOT_FOUND",
            Error::ShellNotFound { .. } => "SHELL_NOT_FOUND",
            Error::TaskLimitExceeded { .. } => "TASK_LIMIT_EXCEEDED",
            Error::SpawnFailed { .. } => "SPAWN_FAILED",
            Error::StorageFailed { .. } => "STORAGE_FAILED",
            Error::SupervisorUnavailable { .. } => "SUPERVISOR_UNAVAILABLE",
            Error::TaskNotFound { .. } => "TASK_NOT_FOUND",
            Error::KillRefused { .. } => "KILL_REFUSED",
            Error::RegistryClosed => "REGISTRY_CLOSED",
            Error::Internal => "INTERNAL",
        }
    }

    /// A failure of the store, to be used with `map_err`.
    pub fn storage(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::StorageFailed { what, path, source }
    }

    /// Whether what it was about is not there.
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Error::StorageFailed { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The error as it crosses into JavaScript.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.to_value()).expect("strings and numbers always serialise")
    }

    /// The error as a part of a larger message.
    pub fn to_value(&self) -> ErrorValue {
        ErrorValue { code: self.code(), message: self.to_string(), cause: self.cause().map(CauseValue::from) }
    }

    fn cause(&self) -> Option<&io::Error> {
        match self {
            Error::CwdNotFound { source, .. }
            | Error::ShellNotFound { source, .. }
            | Error::SpawnFailed { source, .. }
            | Error::StorageFailed { source, .. }
            | Error::KillRefused { source, .. } => Some(source),
            Error::SupervisorUnavailable { tried } => tried.last().map(|(_, source)| source),
            _ => None,
        }
    }
}

/// An error in the shape that the face turns into an `Error`.
#[derive(Debug, Serialize)]
pub struct ErrorValue {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<CauseValue>,
}

#[derive(Debug, Serialize)]
struct CauseValue {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    message: String,
}

impl From<&io::Error> for CauseValue {
    fn from(error: &io::Error) -> Self {
        let errno = error.raw_os_error();
        CauseValue { code: errno.map(errno::error_name), errno, message: error.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidArgument(message) => f.write_str(message),
            Error::CwdNotFound { path, source } => {
                write!(f, "the working directory {} cannot be entered: {source}", path.display())
            }
            Error::ShellNotFound { shell, source } => write!(f, "the shell {shell} cannot be executed: {source}"),
            Error::TaskLimitExceeded { limit, running, starting } => {
                let count = running.len();
                write!(f, "this registry may run {limit} tasks at once (maxRunning); starting: {starting}, running: {count}")?;
                f.write_str(if running.is_empty() { "" } else { "," })?;
                running.iter().try_for_each(|task| write!(f, " {task}"))
            }
            Error::SpawnFailed { task, what, source } => {
                let name = task.as_ref().map_or("a task", TaskId::as_str);
                write!(f, "{name} could not be started: {what}: {source}")
            }
            Error::StorageFailed { what, path, source } => {
                write!(f, "the store could not {what} {}: {source}", path.display())
            }
            Error::SupervisorUnavailable { tried } => {
                write!(f, "no copy of the supervisor can be executed.")?;
                tried.iter().try_for_each(|(way, source)| write!(f, " {way}: {source}."))
            }
            Error::TaskNotFound { task, .. } if task.parse::<TaskId>().is_err() => {
                let start: String = task.chars().take(60).collect();
                let more = if start.len() < task.len() { "…" } else { "" };
                write!(f, "there is no task {start:?}{more}: a task id is \"bash-\" and 16 hexadecimal digits, in full")
            }
            Error::TaskNotFound { task, session: None } => {
                write!(f, "there is no task {task} in the sessions that this registry has attached; name its session")
            }
            Error::TaskNotFound { task, session: Some(session) } => {
                write!(f, "there is no task {task} in the session {session:?}", session = session.as_str())
            }
            Error::KillRefused { task, source } => {
                write!(
                    f,
                    "processes of {task} live on: its supervisor is gone, and the system does not let this host signal them: {source}"
                )
            }
            Error::RegistryClosed => f.write_str("the registry is closed: detach or shutdown was called"),
            Error::Internal => f.write_str("a defect of outlive stopped this call; what it was about may have happened or not"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.cause().map(|cause| cause as _)
    }
}
