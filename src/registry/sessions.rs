//! `sessions`: whose tasks the store holds. It reads names and attaches nothing.

use super::Registry;
use crate::error::Result;
use crate::store;
use crate::task::SessionId;

impl Registry {
    /// The sessions on disk, sorted; also those whose tasks were all removed.
    pub fn sessions(&self) -> Result<Vec<SessionId>> {
        drop(self.open_ledger()?);
        store::sessions(&self.shared.store)
    }
}
