//! Who is told, and which host tells. A host owns a session from the moment that somebody here subscribes to it until the last
//! subscription and the last callback are done; another host takes over when it dies.

use super::Registry;
use super::keeper::{Ear, Job, Keeper, Watch};
use crate::error::{Error, Result};
use crate::store::OwnerBell;
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

    /// Ends a subscription. What its callbacks hold stays theirs until they are done.
    pub fn unsubscribe(&self, subscription: u32) -> Result<()> {
        let removed = self.shared.lock().subscriptions.remove(&subscription);
        let Some(session) = removed else { return Ok(()) };
        for session in self.shared.sessions(session.as_ref()) {
            self.send(Job::Review { session })?;
        }
        Ok(())
    }
}

impl Keeper {
    /// A new subscription hears the backlog first.
    pub(super) fn on_subscribed(&mut self, ear: &mut Ear, session: Option<SessionId>) {
        // A session that cannot be attached is reported by whatever the caller does with it next.
        let Ok(sessions) = self.attach_all(ear, session) else { return };
        for session in sessions {
            self.listen(ear, &session);
        }
    }

    /// Starts to deliver a session's completions if somebody here wants them, now or when the host that does so is gone.
    pub(super) fn listen(&mut self, ear: &mut Ear, session: &SessionId) {
        if self.shared.lock().subscription_of(session).is_none() {
            return;
        }
        if !self.bells.contains_key(session) {
            let Ok(bell) = OwnerBell::open(&self.shared.store, session) else { return };
            let Ok(token) = ear.watch(bell.reader()) else { return };
            self.watches.insert(token, Watch::Owner(session.clone()));
            self.bells.insert(session.clone(), (token, bell));
        }
        self.on_bell(ear, session);
    }

    /// The owner is gone, or there is a new task: try, look, tell.
    pub(super) fn on_bell(&mut self, ear: &mut Ear, session: &SessionId) {
        let Some((_, bell)) = self.bells.get_mut(session) else { return };
        // A lock that cannot be had for now is tried for again at the next ring.
        let is_owner = bell.try_to_own().unwrap_or(false);
        if is_owner && self.rescan(ear, session).is_ok() {
            self.deliver(session);
        }
    }

    pub(super) fn owns(&self, session: &SessionId) -> bool {
        self.bells.get(session).is_some_and(|(_, bell)| bell.is_owner())
    }

    /// Makes this host the owner for a moment, unless it is one anyway or another is.
    pub(super) fn borrow_ownership(&mut self, session: &SessionId) -> Result<bool> {
        if let Some((_, bell)) = self.bells.get_mut(session) {
            return bell.try_to_own();
        }
        if !crate::store::open_session(&self.shared.store, session)? {
            return Ok(false);
        }
        let mut bell = OwnerBell::open(&self.shared.store, session)?;
        let is_owner = bell.try_to_own()?;
        self.borrowed = is_owner.then_some(bell);
        Ok(is_owner)
    }

    /// Ends what [`Keeper::borrow_ownership`] began, or an ownership that nobody here needs any more.
    pub(super) fn give_up_ownership(&mut self, ear: &mut Ear, session: &SessionId) {
        self.borrowed = None;
        let is_needed = {
            let ledger = self.shared.lock();
            ledger.subscription_of(session).is_some() || ledger.has_leases(session)
        };
        if !is_needed && let Some((token, bell)) = self.bells.remove(session) {
            self.watches.remove(&token);
            ear.unwatch(bell.reader());
        }
    }
}
