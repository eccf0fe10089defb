//! The memory: the only room with file names and formats.
//!
//! Every record has one writer, and all but one are written once; `docs/on-disk-format.md` has the exceptions. A reader classifies a task from its directory alone, and what it
//! cannot read it leaves as it is. What is not here: what an ending means, who may be told, when to look.
//! The format is written down in `docs/on-disk-format.md`.

mod create;
mod delivery;
mod executable;
mod finished;
mod layout;
mod load;
mod look;
mod lost;
mod order;
mod output;
mod owner;
mod records;
mod remove;
#[cfg(test)]
mod scratch;
mod session;
mod unread;

pub use create::{Claim, Created, Launch, Started, create, open_cwd};
pub use delivery::{acknowledge, attempts, is_delivered, is_removed, known_since, note_attempt, prepare_attempt};
pub use executable::Executable;
pub use finished::{load_finished, load_if_over};
pub use layout::{Store, TaskDir};
pub use load::{Loaded, load, supervised};
use look::is_inhabited;
pub use look::{events, is_answered_for, look, read_command};
pub use lost::gone_unread;
pub use order::send_order;
pub use output::{Captured, Chunk, PageRequest, PreviewRequest, Stream, page, preview};
pub use owner::{OwnerBell, is_watched};
pub use records::Here;
pub use remove::{
    FORGOTTEN, is_older, remove, remove_debris, remove_old_executables, remove_session_drafts, remove_session_if_forgotten,
};
pub use session::{open_session, session_dirs, session_of, session_tasks, sessions};
pub use unread::Unread;
