//! Which host tells. A host owns a session from the moment that somebody here subscribes to it until the last subscription and the last
//! callback are done; another host takes over when it dies.

use super::keeper::{Keeper, Timer, Watch};
use super::look::TRY_AGAIN_AFTER;
use crate::error::{Error, Result};
use crate::store::{self, OwnerBell};
use crate::task::SessionId;

impl Keeper {
    /// Starts to deliver an attached session's completions if somebody here wants them, now or when the host that does so is gone.
    pub(super) fn listen(&mut self, session: &SessionId) {
        if self.is_replaced(session) {
            // It holds nobody off, and nobody rings it.
            self.put_away_bell(session);
        }
        if self.shared.lock().subscription_of(session).is_none() {
            return;
        }
        if !self.bells.contains_key(session) && self.watch_bell(session).is_err() {
            return self.listen_again_later(session);
        }
        self.on_bell(session);
    }

    fn watch_bell(&mut self, session: &SessionId) -> Result<()> {
        let bell = OwnerBell::open(&self.shared.store, session)?;
        let token = self.ear.watch(bell.reader()).map_err(Error::storage("watch", bell.path()))?;
        self.watches.insert(token, Watch::Owner(session.clone()));
        self.bells.insert(session.clone(), (token, bell));
        Ok(())
    }

    /// The owner is gone, or there is a new task: try, look, tell.
    pub(super) fn on_bell(&mut self, session: &SessionId) {
        if self.listening_again.contains(session) {
            // A failed attempt to lock hangs up as well, and would be heard and tried again at once.
            return;
        }
        if self.is_replaced(session) {
            return self.listen(session);
        }
        match self.try_to_own(session) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return self.listen_again_later(session),
        }
        if self.rescan(session).is_err() {
            self.listen_again_later(session);
        }
        self.news.tell(session);
    }

    /// Of a session that is watched.
    fn try_to_own(&mut self, session: &SessionId) -> Result<bool> {
        self.bells.get_mut(session).map_or(Ok(false), |(_, bell)| bell.try_to_own())
    }

    pub(super) fn owns(&mut self, session: &SessionId) -> bool {
        if self.is_replaced(session) {
            self.listen(session);
        }
        self.bells.get(session).is_some_and(|(_, bell)| bell.is_owner())
    }

    /// Whether what is watched was removed from the disk, and another session stands there.
    pub(super) fn is_replaced(&self, session: &SessionId) -> bool {
        self.bells.get(session).is_some_and(|(_, bell)| bell.is_replaced())
    }

    fn put_away_bell(&mut self, session: &SessionId) {
        if let Some((token, bell)) = self.bells.remove(session) {
            self.watches.remove(&token);
            self.ear.unwatch(bell.reader());
        }
    }

    /// Makes this host the owner for a moment, unless it is one anyway or another is.
    pub(super) fn borrow_ownership(&mut self, session: &SessionId) -> Result<bool> {
        if self.bells.contains_key(session) {
            let was_owner = self.owns(session);
            let is_owner = self.try_to_own(session)?;
            if is_owner && !was_owner {
                // No hang-up tells us any more of what the last owner has left.
                self.news.tell(session);
                self.rescan(session).inspect_err(|_| self.listen_again_later(session))?;
            }
            return Ok(is_owner);
        }
        if !store::open_session(&self.shared.store, session)? {
            return Ok(false);
        }
        let mut bell = OwnerBell::open(&self.shared.store, session)?;
        let is_owner = bell.try_to_own()?;
        self.borrowed = is_owner.then_some(bell);
        Ok(is_owner)
    }

    /// The registry is closed: sessions of completions that callbacks are at work on are not left to others yet.
    pub(super) fn keep_what_callbacks_hold(&mut self) {
        let bells = self.bells.drain().map(|(session, (_, bell))| (session, bell));
        let is_in_callback = |session: &SessionId| self.shared.lock().is_in_callback(session);
        let kept: Vec<_> = bells.filter(|(session, _)| is_in_callback(session)).collect();
        self.shared.lock_kept().extend(kept);
    }

    /// Ends what [`Keeper::borrow_ownership`] began, or an ownership that nobody here needs any more.
    pub(super) fn give_up_ownership(&mut self, session: &SessionId) {
        self.borrowed = None;
        let is_needed = {
            let ledger = self.shared.lock();
            ledger.subscription_of(session).is_some() || ledger.has_leases(session)
        };
        if !is_needed {
            self.put_away_bell(session);
        }
    }

    /// Out of descriptors, the store out of reach, or a host that may die before it has answered: no ring would say so.
    pub(super) fn listen_again_later(&mut self, session: &SessionId) {
        if self.listening_again.insert(session.clone()) {
            self.ear.after(TRY_AGAIN_AFTER, Timer::ListenAgain { session: session.clone() });
        }
    }
}
