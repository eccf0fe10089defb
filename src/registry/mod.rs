//! The ledger: which tasks this host knows, where each stands, and who waits for what.
//!
//! There is one rule: only the reactor's thread, the [`keeper`], moves a task's state, so that the news of a task has one order.
//! Callers read the ledger, and settle deliveries, from any thread. The ledger's lock is held to look or to move, never
//! across disk, signals, waiting or a call into JavaScript.

mod attach;
mod cleanup;
mod completion;
mod cwd;
mod delivery;
mod drain;
mod exit;
mod find;
mod forgotten;
mod keeper;
mod kill;
mod ledger;
mod list;
mod look;
mod news;
mod outbox;
mod output;
mod ownership;
mod replay;
mod sessions;
mod shell;
mod shutdown;
mod snapshot;
mod spawn;
mod status;
mod subscriptions;
mod sweep;
mod wait;
mod window;

pub use crate::store::{PageRequest, Stream};
pub use completion::Completion;
pub use delivery::Refusal;
pub use find::TaskRef;
pub use keeper::Request;
pub use outbox::Wake;
pub use snapshot::{DEFAULT_PREVIEW_BYTES, TaskSnapshot};

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use crate::error::{Error, Result};
use crate::platform::threads;
use crate::reactor::Reactor;
use crate::store::{OwnerBell, Store};
use crate::task::SessionId;
use keeper::{Job, Keeper};
use ledger::Ledger;
use outbox::Outbox;

/// The tasks of one storage directory, as one plugin sees them.
pub struct Registry {
    shared: Arc<Shared>,
    /// Gone after `detach`. Held to send a job or to take the reactor away, never across either's work.
    reactor: Mutex<Option<Arc<Reactor<Job>>>>,
}

/// What the reactor's thread and the callers' threads have in common.
struct Shared {
    store: Store,
    max_running: usize,
    /// Guards what is known. Nothing slow happens while it is held.
    ledger: Mutex<Ledger>,
    outbox: Outbox,
    /// Ownerships that outlive the reactor: callbacks are still at work on completions of these sessions. Held to add or to
    /// take away.
    kept: Mutex<HashMap<SessionId, OwnerBell>>,
}

impl Registry {
    /// Opens a registry on a storage directory. `supervisor`: the executable to start instead of the one that is embedded. `wake` is
    /// called, from another thread, when [`Registry::take`] has something. It is closed at the latest when the process exits.
    pub fn open(storage: &Path, supervisor: Option<PathBuf>, max_running: usize, wake: Wake) -> Result<Arc<Registry>> {
        let store = Store::open(storage, supervisor)?;
        let ledger = Mutex::new(Ledger::default());
        let kept = Mutex::default();
        let shared = Arc::new(Shared { store, max_running, ledger, outbox: Outbox::new(wake), kept });
        let reactor = Reactor::start(|ear| Keeper::new(Arc::clone(&shared), ear));
        let reactor = reactor.map_err(Error::storage("start a thread for", storage))?;
        let registry = Arc::new(Registry { shared, reactor: Mutex::new(Some(Arc::new(reactor))) });
        exit::detach_at_exit(&registry);
        Ok(registry)
    }

    /// The messages that have come since the last call, as a JSON array.
    pub fn take(&self) -> String {
        self.shared.outbox.take()
    }

    /// Closes the registry; tasks go on, but for those that a `kill` or `shutdown` was about to end. No callback is called
    /// afterwards. `true`: callbacks are still at work, and their sessions are kept from other hosts until they are done or
    /// [`Registry::let_go`] is called.
    pub fn detach(&self) -> bool {
        self.shared.lock().closed = true;
        let reactor = self.lock_reactor().take();
        // Waits for the thread, unless another call is still using it: then that one does.
        drop(reactor);
        !self.shared.lock_kept().is_empty()
    }

    /// Leaves everything to other hosts, also what callbacks are still at work on.
    pub fn let_go(&self) {
        self.shared.lock_kept().clear();
    }

    fn send(&self, job: Job) -> Result<()> {
        let reactor = self.lock_reactor().clone().ok_or(Error::RegistryClosed)?;
        reactor.send(job.priority(), job).map_err(|_| Error::RegistryClosed)
    }

    /// Has the reactor's thread do something, and waits for it, behind what that thread is at: mostly a spawn, for a millisecond.
    fn ask<T>(&self, job: impl FnOnce(mpsc::SyncSender<Result<T>>) -> Job) -> Result<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(job(reply))?;
        // Closed meanwhile, or the job panicked.
        answer.recv().unwrap_or_else(|_| Err(if self.shared.lock().closed { Error::RegistryClosed } else { Error::Internal }))
    }

    fn open_ledger(&self) -> Result<MutexGuard<'_, Ledger>> {
        let ledger = self.shared.lock();
        if ledger.closed { Err(Error::RegistryClosed) } else { Ok(ledger) }
    }

    fn lock_reactor(&self) -> MutexGuard<'_, Option<Arc<Reactor<Job>>>> {
        threads::lock(&self.reactor)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        threads::lock(&self.ledger)
    }

    /// Leaves a session to other hosts that only a callback had kept, if that is done.
    fn let_go_if_done(&self, session: &SessionId) {
        if !self.lock().is_in_callback(session) {
            self.lock_kept().remove(session);
        }
    }

    fn lock_kept(&self) -> MutexGuard<'_, HashMap<SessionId, OwnerBell>> {
        threads::lock(&self.kept)
    }

    /// The sessions that a call is about: the one it names, else all that are attached, or about to be for a subscription, and the
    /// default one.
    fn sessions(&self, named: Option<&SessionId>) -> Vec<SessionId> {
        match named {
            Some(session) => vec![session.clone()],
            None => {
                let ledger = self.lock();
                let mut sessions = ledger.attached.clone();
                sessions.extend(ledger.subscriptions.values().flatten().cloned());
                sessions.insert(SessionId::default_session());
                sessions.into_iter().collect()
            }
        }
    }
}
