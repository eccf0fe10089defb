//! `pending` and `drain`: completions for who has no callback, shown or taken.

use super::keeper::{Job, Keeper};
use super::{Completion, Registry};
use crate::error::Result;
use crate::task::SessionId;

impl Registry {
    /// The session's pending completions, all attached sessions' without one. Nothing changes.
    pub fn pending(&self, session: Option<SessionId>) -> Result<Vec<Completion>> {
        let sessions = self.attach(session)?;
        let entries = sessions.iter().flat_map(|session| self.shared.undelivered(session));
        let completions = entries.filter_map(|entry| {
            let completion = self.shared.completion(&entry, entry.next_attempt());
            entry.unless_removed(completion)
        });
        completions.filter_map(Result::transpose).collect()
    }

    /// Takes the session's pending completions, all attached sessions' without one, and delivers them.
    pub fn drain(&self, session: Option<SessionId>) -> Result<Vec<Completion>> {
        self.ask(|reply| Job::Drain { session, reply })
    }
}

impl Keeper {
    /// Delivers what is pending in sessions that no other host delivers.
    pub(super) fn drain(&mut self, session: Option<SessionId>) -> Result<Vec<Completion>> {
        let mut drained = Vec::new();
        for session in self.attach_all(session)? {
            let outcome = self.drain_session(&session, &mut drained);
            self.give_up_ownership(&session);
            match outcome {
                Ok(()) => {}
                // What was accepted so far must reach the caller; the rest stays pending.
                Err(error) if drained.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(drained)
    }

    fn drain_session(&mut self, session: &SessionId, drained: &mut Vec<Completion>) -> Result<()> {
        let is_empty = self.shared.lock().pending(session).next().is_none();
        if is_empty || !self.borrow_ownership(session)? {
            return Ok(());
        }
        for entry in self.shared.undelivered(session) {
            let completion = self.shared.completion(&entry, entry.next_attempt())?;
            if self.shared.accept(&entry)? {
                drained.extend(completion);
            }
        }
        Ok(())
    }
}
