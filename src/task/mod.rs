//! The heart: what a task is and how it may change. No clock, file, process, lock or thread.

mod asked;
mod delivery;
mod ending;
mod id;
#[cfg(test)]
mod properties;
mod state;

pub use asked::{Asked, StderrMode};
pub use delivery::{Delivery, Lease};
pub use ending::{Cause, EndOrder, Ending, Status};
pub use id::{SessionId, TaskId};
pub use state::{Effect, Event, Run, State, Task, Tree};
