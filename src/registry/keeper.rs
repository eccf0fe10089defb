//! What happens on the reactor's thread: jobs and kernel events become task events, effects become acts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use outlive_protocol::orders::Order;
use serde::Serialize;

use super::cleanup::{Cleaning, Limits};
use super::cwd::{Directories, Opened};
use super::news::News;
use super::spawn::{Asking, Spawn, Spawning};
use super::sweep::Unswept;
use super::wait::{Gathering, Until, Waiter};
use super::{Completion, Shared, TaskRef};
use crate::error::{Error, Result};
use crate::platform::process;
use crate::reactor::{self, Handler, Mailbox, Priority, Token};
use crate::store::OwnerBell;
use crate::task::{Effect, Event, SessionId, TaskId};

/// JavaScript's number for a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Request(pub u64);

/// How long one thing is gone on with before it is the turn of news and callers.
pub(super) const SLICE: Duration = Duration::from_millis(2);

pub(super) type Ear = reactor::Ear<Job, Timer>;

/// What callers ask of the reactor's thread.
pub(super) enum Job {
    Spawn(Box<Spawn>),
    Opened { path: PathBuf, opened: Result<Opened> },
    SpawnIn { asking: Box<Asking>, cwd: Result<File> },
    Kill { request: Request, named: TaskRef, signal: u8, grace_ms: Option<u64> },
    Wait { request: Request, named: TaskRef, timeout: Option<Duration> },
    Cancel { request: Request },
    Adopt { task: TaskId, session: Option<SessionId>, reply: SyncSender<Result<()>> },
    Attach { session: Option<SessionId>, reply: SyncSender<Result<Vec<SessionId>>> },
    Drain { session: Option<SessionId>, reply: SyncSender<Result<Vec<Completion>>> },
    Refused { task: TaskId, session: SessionId, effects: Vec<Effect> },
    Review { session: SessionId },
    Subscribed { session: Option<SessionId> },
    Replay { request: Request, session: SessionId },
    Cleanup { request: Request, limits: Limits },
    Shutdown { request: Request, grace_ms: Option<u64> },
}

impl Job {
    /// A spawn makes a directory and a process. A `shutdown` ends what was spawned before it, so it stays behind.
    pub(super) fn priority(&self) -> Priority {
        match self {
            Job::Spawn(_) | Job::Opened { .. } | Job::SpawnIn { .. } | Job::Shutdown { .. } => Priority::Low,
            _ => Priority::High,
        }
    }

    /// Leaves it for the reactor's thread. Nobody waits for it where the registry has been closed meanwhile.
    pub(super) fn post(self, mailbox: &Mailbox<Job>) {
        drop(mailbox.send(self.priority(), self));
    }

    /// Whose promise the job answers, now or later.
    fn request(&self) -> Option<Request> {
        match self {
            Job::Spawn(spawn) => Some(spawn.request),
            Job::SpawnIn { asking, .. } => Some(asking.request),
            Job::Kill { request, .. }
            | Job::Wait { request, .. }
            | Job::Replay { request, .. }
            | Job::Cleanup { request, .. }
            | Job::Shutdown { request, .. } => Some(*request),
            _ => None,
        }
    }
}

/// What the reactor is asked to remember.
pub(super) enum Timer {
    WaitIsOver { request: Request },
    AnswerAgain { task: TaskId, reached: Until },
    TellAgain { task: TaskId },
    ListenAgain { session: SessionId },
    LookAgain { task: TaskId, hung_up: bool, looks: u32 },
    TakeIn { session: SessionId, task: TaskId, looks: u32 },
    OrderAgain { task: TaskId, order: Order },
    SweepFurther,
    Review { session: SessionId },
    CleanFurther(Cleaning),
}

/// What a watched descriptor is.
pub(super) enum Watch {
    Events { task: TaskId, events: File },
    Owner(SessionId),
}

/// The reactor thread's own state. Nobody else sees it, so it needs no lock.
pub(super) struct Keeper {
    pub(super) ear: Ear,
    pub(super) shared: Arc<Shared>,
    pub(super) watches: HashMap<Token, Watch>,
    /// Supervisors that this process started, until they are reaped.
    pub(super) children: HashMap<TaskId, process::Child>,
    pub(super) directories: Directories,
    pub(super) spawning: HashMap<TaskId, Spawning>,
    /// Nothing is started any more.
    pub(super) is_shutting_down: bool,
    /// How many tasks have come into the ledger one by one; it may go round.
    pub(super) arrivals: u32,
    pub(super) waiters: Vec<Waiter>,
    pub(super) gatherings: Vec<Gathering>,
    /// Orders that a timer is set for.
    pub(super) orders: Vec<(TaskId, Order)>,
    pub(super) bells: HashMap<SessionId, (Token, OwnerBell)>,
    /// Sessions that a timer is set for.
    pub(super) listening_again: HashSet<SessionId>,
    /// Tasks that a timer is set for, and whether their supervisor is gone.
    pub(super) looking_again: HashSet<(TaskId, bool)>,
    /// The same of tasks that are not in the ledger, because the system does not let us read them.
    pub(super) taking_in_later: HashSet<TaskId>,
    /// An ownership that lasts for one drain.
    pub(super) borrowed: Option<OwnerBell>,
    /// What is told when all that has happened is known.
    pub(super) news: News,
    /// Tasks whose supervisors have vanished.
    pub(super) to_sweep: Vec<TaskId>,
    pub(super) unswept: Unswept,
    /// Task directories that could not be read; a later release may. Each once, however often it is asked for.
    pub(super) unreadable: HashMap<SessionId, BTreeSet<String>>,
    /// The request that is being worked on, for whom a panic must not be silence.
    current: Option<Request>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, ear: Ear) -> Keeper {
        Keeper {
            ear,
            shared,
            watches: HashMap::new(),
            children: HashMap::new(),
            directories: Directories::default(),
            spawning: HashMap::new(),
            is_shutting_down: false,
            arrivals: 0,
            waiters: Vec::new(),
            gatherings: Vec::new(),
            orders: Vec::new(),
            bells: HashMap::new(),
            listening_again: HashSet::new(),
            looking_again: HashSet::new(),
            taking_in_later: HashSet::new(),
            borrowed: None,
            news: News::default(),
            to_sweep: Vec::new(),
            unswept: Unswept::default(),
            unreadable: HashMap::new(),
            current: None,
        }
    }

    /// Moves a task and does what follows.
    pub(super) fn apply(&mut self, id: &TaskId, event: Event) {
        let effects = self.shared.lock().apply(id, event);
        self.perform(id, &effects);
    }

    pub(super) fn perform(&mut self, id: &TaskId, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::AnnounceStart => self.announce_start(id),
                Effect::Sweep => self.to_sweep.push(id.clone()),
                Effect::AnnounceEnd => {
                    self.tell_session_of(id);
                    self.news.reach(id, Until::Ended);
                }
                Effect::AnnounceEmpty => self.news.reach(id, Until::Empty),
                Effect::RetryLater => self.tell_again_later(id),
            }
        }
    }

    fn on_events(&mut self, token: Token, id: &TaskId, hung_up: bool) {
        // Before the task may be forgotten, and its child with it.
        let ended = if hung_up { self.children.remove(id) } else { None };
        self.refresh(id, hung_up);
        if hung_up && let Some(Watch::Events { events, .. }) = self.watches.remove(&token) {
            self.ear.unwatch(&events);
        }
        ended.into_iter().for_each(process::Child::reap);
    }

    /// A callback has failed: the completion waits a little longer each time.
    fn tell_again_later(&mut self, id: &TaskId) {
        const FIRST_PAUSE: Duration = Duration::from_millis(100);
        let failures = self.shared.lock().find(id, None).map_or(0, |entry| entry.task.failures);
        self.ear.after(FIRST_PAUSE * 2u32.saturating_pow(failures.saturating_sub(1)), Timer::TellAgain { task: id.clone() });
    }

    fn review(&mut self, session: &SessionId) {
        self.shared.lock().begin_review(session);
        self.news.tell(session);
        self.give_up_ownership(session);
    }

    /// Others have their turn first.
    pub(super) fn review_further(&mut self, session: &SessionId) {
        if self.shared.lock().ask_for_review(session) {
            self.ear.after(Duration::ZERO, Timer::Review { session: session.clone() });
        }
    }

    fn run(&mut self, job: Job) {
        match job {
            Job::Spawn(spawn) => self.spawn(*spawn),
            Job::Opened { path, opened } => self.on_opened(path, opened),
            Job::SpawnIn { asking, cwd } => self.spawn_in(*asking, cwd),
            Job::Kill { request, named, signal, grace_ms } => {
                let found = self.find(&named);
                self.kill(request, found, signal, grace_ms);
            }
            Job::Wait { request, named, timeout } => self.wait(request, &named, timeout),
            Job::Cancel { request } => self.cancel(request),
            Job::Adopt { task, session, reply } => {
                let adopted = self.adopt_from(session.as_ref(), &task);
                answer(&reply, adopted);
            }
            Job::Attach { session, reply } => {
                let attached = self.attach_all(session);
                answer(&reply, attached);
            }
            Job::Drain { session, reply } => {
                let drained = self.drain(session);
                answer(&reply, drained);
            }
            Job::Refused { task, session, effects } => {
                self.perform(&task, &effects);
                self.review_further(&session);
            }
            Job::Review { session } => self.review(&session),
            Job::Subscribed { session } => self.on_subscribed(session),
            Job::Replay { request, session } => {
                let replayed = self.replay(&session);
                self.shared.outbox.answer(request, replayed);
            }
            Job::Cleanup { request, limits } => self.cleanup(request, limits),
            Job::Shutdown { request, grace_ms } => self.shutdown(request, grace_ms),
        }
    }
}

impl Handler for Keeper {
    type Job = Job;
    type Timer = Timer;

    fn ear(&mut self) -> &mut Ear {
        &mut self.ear
    }

    fn on_job(&mut self, job: Job) {
        self.current = job.request();
        self.run(job);
        self.current = None;
    }

    fn on_ready(&mut self, token: Token, hung_up: bool) {
        match self.watches.get(&token) {
            Some(Watch::Events { task, .. }) => {
                let task = task.clone();
                self.on_events(token, &task, hung_up);
            }
            Some(Watch::Owner(session)) => {
                let session = session.clone();
                self.on_bell(&session);
            }
            // It was removed after the kernel had reported it.
            None => {}
        }
    }

    fn on_due(&mut self, timer: Timer) {
        match timer {
            Timer::WaitIsOver { request } => self.answer_as_it_stands(request),
            // Behind a completion that waited for the same.
            Timer::AnswerAgain { task, reached } => self.news.reach(&task, reached),
            Timer::ListenAgain { session } => {
                self.listening_again.remove(&session);
                self.attach_and_listen(&session);
            }
            Timer::LookAgain { task, hung_up, looks } => {
                self.looking_again.remove(&(task.clone(), hung_up));
                self.look(&task, hung_up, looks);
            }
            Timer::TakeIn { session, task, looks } => self.take_in_again(&session, &task, looks),
            Timer::OrderAgain { task, order } => self.order_again(&task, order),
            Timer::SweepFurther => self.sweep_further(),
            Timer::Review { session } => self.review(&session),
            Timer::CleanFurther(cleaning) => {
                self.current = Some(cleaning.request);
                self.clean_further(cleaning);
                self.current = None;
            }
            Timer::TellAgain { task } => {
                self.apply(&task, Event::Returned);
                self.tell_session_of(&task);
            }
        }
    }

    fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.to_sweep.is_empty()
    }

    fn mark_news(&mut self) {
        self.news.mark(&self.shared.lock());
    }

    fn on_caught_up(&mut self) {
        self.tell_news();
    }

    fn on_left(&mut self, job: Job) {
        self.current = job.request();
        match job {
            // Accepted as a signal is: what is lost is the answer. It is a look at one task and a write.
            Job::Kill { request, named, signal, grace_ms } => {
                let found = self.find_alone(&named);
                self.kill(request, found, signal, grace_ms);
            }
            Job::Shutdown { request, grace_ms } => self.gather(request, grace_ms),
            // Nothing of it has begun, and its caller hears that the registry is closed.
            _ => {}
        }
        self.current = None;
    }

    fn on_stop(&mut self) {
        self.sweep_once();
        self.begin_shutdowns();
        // Their supervisors run: whether they start their commands is told as an end, and not as a rejection too.
        for (task, Spawning { request, claim }) in self.spawning.drain() {
            let session = self.shared.lock().session_of(&task);
            self.shared.outbox.answer(request, Ok(task));
            drop(claim);
            // Its owner may have left it to us. Who cannot be rung finds it when it next looks at the session.
            session.iter().for_each(|session| drop(OwnerBell::ring(&self.shared.store, session)));
        }
        self.keep_what_callbacks_hold();
    }

    fn on_panic(&mut self) {
        let Some(request) = self.current.take() else {
            // One of them may have been about to be answered.
            return self.fail_all(&Error::Internal);
        };
        // A task that is on its way goes on, and what becomes of it is told.
        if self.spawning.values().all(|spawning| spawning.request != request) {
            self.fail_for_good(request, &Error::Internal);
        }
    }
}

/// Answers a caller that waits; one that has gone needs no answer.
fn answer<T>(reply: &SyncSender<Result<T>>, outcome: Result<T>) {
    drop(reply.send(outcome));
}
