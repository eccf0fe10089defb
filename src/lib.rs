//! outlive: background shell tasks that outlive their host.
//!
//! * [`js`](self): the door. The only room that says `napi`; translates, decides nothing.
//! * [`registry`]: the ledger. Which tasks this host knows; one lock; one verb per file.
//! * [`task`]: the heart. What a task is and how it may change, as a pure function.
//! * [`store`]: the memory. The only room with file names and formats.
//! * [`reactor`]: the ear. One thread that sleeps until the kernel, a timer or a caller has something for it.
//! * [`platform`]: the ground. The only room with `libc` and `unsafe`.
//! * [`error`]: what we could not do, and its code.
//!
//! `tests/rooms.rs` says who may name whom. Nobody points back.

pub mod error;
#[cfg(not(test))]
mod js;
pub mod platform;
pub mod reactor;
pub mod registry;
pub mod store;
pub mod task;
