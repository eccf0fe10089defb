//! Why something of a task cannot be read, as far as it matters for what is done about it.

use std::fmt;
use std::io;

use crate::platform::errno;

/// What stands between us and a task's files.
#[derive(Debug)]
pub enum Unread {
    /// Descriptors or memory are wanting. It says nothing about the task, and passes.
    Exhausted(io::Error),
    /// The system refuses, and may not do so for ever: nothing is wrong with the task.
    Refused(io::Error),
    /// A later release wrote it, and that one can read it.
    Newer,
    /// It is not what was written, or not by whom.
    Spoilt(io::Error),
}

impl Unread {
    /// Something is wrong with what was read.
    pub(super) fn spoilt(why: &'static str) -> Unread {
        Unread::Spoilt(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        if errno::is_exhaustion(&error) {
            Unread::Exhausted(error)
        } else if errno::is_the_systems(&error) {
            Unread::Refused(error)
        } else {
            Unread::Spoilt(error)
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Newer => f.write_str("a newer release wrote it"),
            Unread::Exhausted(error) | Unread::Refused(error) | Unread::Spoilt(error) => error.fmt(f),
        }
    }
}
