//! Who is told: each session has one subscription at most in a registry.

use super::Registry;
use super::keeper::{Job, Keeper};
use crate::error::{Error, Result};
use crate::task::SessionId;

impl Registry {
    /// Subscribes to a session, or to every attached one. Returns the subscription's number.
    pub fn subscribe(&self, session: Option<SessionId>) -> Result<u32> {
        let number = {
            let mut ledger = self.open_ledger()?;
            let overlaps = |of: &&Option<SessionId>| of.is_none() || session.is_none() || **of == session;
            if let Some(other) = ledger.subscriptions.values().find(overlaps) {
                let whose = |of: &Option<SessionId>| of.as_ref().map_or("every session".to_owned(), |s| format!("{s:?}"));
                return Err(Error::InvalidArgument(format!(
                    "onCompletion: a session has one subscription; {} was asked for, and there is one for {}",
                    whose(&session),
                    whose(other)
                )));
            }
            ledger.next_subscription += 1;
            let number = ledger.next_subscription;
            ledger.subscriptions.insert(number, session.clone());
            number
        };
        self.send(Job::Subscribed { session })?;
        Ok(number)
    }

    /// Ends a subscription. What its callbacks are at work on stays theirs until they are done; what else was handed to it is pending
    /// again, also what was to be accepted by hand.
    pub fn unsubscribe(&self, subscription: u32) -> Result<()> {
        let removed = {
            let mut ledger = self.shared.lock();
            let removed = ledger.subscriptions.remove(&subscription);
            // Before those that end later are handed to the next one.
            ledger.take_back(subscription);
            removed
        };
        let Some(session) = removed else { return Ok(()) };
        for session in self.shared.sessions(session.as_ref()) {
            self.send(Job::Review { session })?;
        }
        self.let_on()
    }
}

impl Keeper {
    /// A new subscription hears the backlog first.
    pub(super) fn on_subscribed(&mut self, session: Option<SessionId>) {
        for session in self.shared.sessions(session.as_ref()) {
            // A session that cannot be attached is reported by whatever the caller does with it next.
            self.attach_and_listen(&session);
        }
    }

    /// What is listened to is attached: the end of a subscription gives back the sessions that are.
    pub(super) fn attach_and_listen(&mut self, session: &SessionId) {
        let is_to_be_attached = {
            let ledger = self.shared.lock();
            !ledger.attached.contains(session) && ledger.subscription_of(session).is_some()
        };
        if !is_to_be_attached {
            self.listen(session);
        } else if self.attach(session).is_err() {
            self.listen_again_later(session);
        }
    }
}
