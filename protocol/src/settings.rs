//! What was asked of a supervisor, as the third of its arguments. The command's text is never among them:
//! a task that runs `pkill -f` must not find its own supervisor.

use crate::VERSION;
use crate::text::{Line, parse_number};

/// The longest settings in bytes.
pub const MAX_SETTINGS: usize = 192;

/// What a natural end does to descendants that still run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cleanup {
    /// They go on: a server started with `&` is wanted.
    #[default]
    Keep,
    /// They are ended like the task itself would be: SIGTERM, grace, SIGKILL.
    Kill,
}

impl Cleanup {
    /// The word in the settings, in `task.json` and in the JavaScript API.
    pub fn word(self) -> &'static str {
        match self {
            Cleanup::Keep => "keep",
            Cleanup::Kill => "kill",
        }
    }

    /// What a word says.
    pub fn of(word: &[u8]) -> Option<Cleanup> {
        [Cleanup::Keep, Cleanup::Kill].into_iter().find(|cleanup| cleanup.word().as_bytes() == word)
    }
}

/// The limits and policies of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings<'a> {
    /// Milliseconds until the deadline, by the monotonic clock; 0: none.
    pub timeout_ms: u64,
    /// Milliseconds between SIGTERM and SIGKILL at the deadline.
    pub grace_ms: u64,
    /// Bytes to keep of each capture file, half at each end; 0: all.
    pub max_output_bytes: u64,
    /// What a natural end does to descendants.
    pub cleanup: Cleanup,
    /// The kernel's boot id, for `started.json`.
    pub boot_id: &'a [u8],
}

impl<'a> Settings<'a> {
    /// The argument, without a NUL.
    pub fn write<'b>(&self, buffer: &'b mut [u8; MAX_SETTINGS]) -> &'b [u8] {
        let mut line = Line::new(buffer);
        line.number(VERSION).text(b" ").number(self.timeout_ms).text(b" ").number(self.grace_ms);
        line.text(b" ").number(self.max_output_bytes).text(b" ").text(self.cleanup.word().as_bytes());
        line.text(b" ").text(self.boot_id);
        line.done()
    }

    /// The settings in an argument, or `None` when it is not one of this version.
    pub fn parse(argument: &'a [u8]) -> Option<Settings<'a>> {
        let mut words = argument.split(|byte| *byte == b' ');
        if parse_number(words.next()?)? != VERSION {
            return None;
        }
        let settings = Settings {
            timeout_ms: parse_number(words.next()?)?,
            grace_ms: parse_number(words.next()?)?,
            max_output_bytes: parse_number(words.next()?)?,
            cleanup: Cleanup::of(words.next()?)?,
            boot_id: words.next()?,
        };
        words.next().is_none().then_some(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_as_they_were_written() {
        let settings = Settings {
            timeout_ms: u64::MAX,
            grace_ms: u64::MAX,
            max_output_bytes: u64::MAX,
            cleanup: Cleanup::Kill,
            boot_id: b"0f0f0f0f-0f0f-0f0f-0f0f-0f0f0f0f0f0f",
        };
        assert_eq!(Settings::parse(settings.write(&mut [0; MAX_SETTINGS])), Some(settings));
    }

    #[test]
    fn settings_of_another_version_are_refused() {
        assert_eq!(Settings::parse(b"2 0 0 0 keep x"), None);
        assert_eq!(Settings::parse(b"1 0 0 0 maybe x"), None);
        assert_eq!(Settings::parse(b"1 0 0 0 keep x y"), None);
    }
}
