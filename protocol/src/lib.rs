//! What the host and the supervisor agree on, and nothing else.
//!
//! * [`names`]: the files of a task directory, and who writes each.
//! * [`fds`]: the descriptors that a supervisor is born with.
//! * [`settings`]: what was asked of the supervisor, as one argument.
//! * [`orders`]: the lines that a host writes into `control`.
//! * [`records`]: `started.json`, `ended.json`, `closed.json` and `dropped.json` as the supervisor writes them.
//! * [`check`]: how a record that is not what was written is told from one that is.
//! * [`failpoints`]: where tests make either side fail, and how; not in a release.
//!
//! No allocation, no unsafe, no operating system: the supervisor can use all of it, and plain tests can run all of it.
#![no_std]
#![forbid(unsafe_code)]

pub mod check;
#[cfg(any(feature = "failpoints", test))]
pub mod failpoints;
pub mod fds;
pub mod names;
pub mod orders;
pub mod records;
pub mod settings;
mod text;

/// The version that every record and the settings carry. A reader leaves what is newer untouched.
pub const VERSION: u64 = 1;
