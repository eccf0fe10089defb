//! The two names that everything is found by.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use outlive_protocol::names;
use serde::{Serialize, Serializer};

const PREFIX: &str = "bash-";
const DIGITS: usize = 16;

/// `bash-` and sixteen lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Arc<str>);

/// The owner of tasks and of their news: any text of 1 to 1024 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Arc<str>);

impl TaskId {
    /// The id with this number.
    pub fn new(number: u64) -> TaskId {
        TaskId(format!("{PREFIX}{number:0DIGITS$x}").into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What everything that the task starts carries in its environment.
    pub fn mark(&self) -> String {
        format!("{}={self}", names::TASK_ID_VARIABLE)
    }
}

impl FromStr for TaskId {
    type Err = ();

    fn from_str(text: &str) -> Result<TaskId, ()> {
        let digits = text.strip_prefix(PREFIX).ok_or(())?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() == DIGITS && digits.bytes().all(is_digit) { Ok(TaskId(text.into())) } else { Err(()) }
    }
}

impl SessionId {
    /// The session with this name. The door has checked its length.
    pub fn new(text: &str) -> SessionId {
        SessionId(text.into())
    }

    /// The session of those who name none.
    pub fn default_session() -> SessionId {
        SessionId::new("default")
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_is_one() {
        assert_eq!(TaskId::new(0xab).as_str().parse(), Ok(TaskId::new(0xab)));
        for text in ["", "bash-", "bash-00000000000000AB", "bash-00000000000000abc", "../00000000000000ab", "sh-00000000000000ab"]
        {
            assert_eq!(text.parse::<TaskId>(), Err(()), "{text:?}");
        }
    }
}
