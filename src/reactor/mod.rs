//! The ear: one thread that sleeps until a watched descriptor, a timer or a job wakes it, and then calls its handler.
//! It promises that a handler is never called by two threads, that what is watched is never missed, and that nothing wakes
//! it while nothing happens. It knows neither tasks nor files: a handler brings those.

#[cfg(test)]
mod tests;
mod timers;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::platform::poll::{Poll, Waker};
use crate::platform::{scheduling, threads};
pub use timers::TimerKey;
use timers::Timers;

/// Names a watched descriptor.
pub type Token = u64;

/// When a job has its turn. Jobs of one priority keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Next: its caller may be standing still for it.
    High,
    /// When nothing else is to be done, and then one at a time: it takes long.
    Low,
}

/// What a reactor calls, on its thread.
pub trait Handler: Send + 'static {
    /// What other threads ask for.
    type Job: Send + 'static;
    /// What a timer stands for.
    type Timer: Send + 'static;

    /// What it may ask of the reactor, handed to it at the start.
    fn ear(&mut self) -> &mut Ear<Self::Job, Self::Timer>;
    /// Somebody asked.
    fn on_job(&mut self, job: Self::Job);
    /// A watched FIFO was written to, or its last writer is gone.
    fn on_ready(&mut self, token: Token, hung_up: bool);
    /// A timer's time has come.
    fn on_due(&mut self, timer: Self::Timer);
    /// Whether there is something for `on_caught_up`.
    fn has_news(&self) -> bool;
    /// What is known by now is what `on_caught_up` is about.
    fn mark_news(&mut self);
    /// Of all that had happened when the news was marked, whatever the order in which the kernel reported it, the handler has been told.
    fn on_caught_up(&mut self);
    /// Somebody asked, and the reactor was stopped before that had its turn: what takes long is not begun any more.
    fn on_left(&mut self, job: Self::Job);
    /// Nothing more will be called.
    fn on_stop(&mut self);
    /// One of the above panicked; whoever waits for its answer has to hear of it.
    fn on_panic(&mut self);
}

/// What a handler may ask of its reactor.
pub struct Ear<J, T> {
    poll: Poll,
    timers: Timers<T>,
    next_token: Token,
    mailbox: Mailbox<J>,
}

impl<J, T> Ear<J, T> {
    /// For a thread that a handler starts, to say what has come of it.
    pub fn mailbox(&self) -> Mailbox<J> {
        self.mailbox.clone()
    }

    /// Watches a FIFO's reading end.
    pub fn watch(&mut self, file: &File) -> io::Result<Token> {
        let token = self.next_token;
        self.poll.add(file, token)?;
        self.next_token += 1;
        Ok(token)
    }

    /// Stops watching; to be called before the file is closed.
    pub fn unwatch(&mut self, file: &File) {
        self.poll.remove(file);
    }

    /// Calls `on_due` when `pause` has passed; never, if it is longer than any clock counts.
    pub fn after(&mut self, pause: Duration, timer: T) -> Option<TimerKey> {
        self.timers.set(pause, timer)
    }

    /// Forgets a timer; one that was due is forgotten already.
    pub fn cancel(&mut self, timer: TimerKey) {
        self.timers.cancel(timer);
    }
}

/// The other threads' hold on a reactor. Dropping it stops the reactor behind the job that it is at, and waits for that, and for
/// what the handler makes of the jobs that are left.
pub struct Reactor<J> {
    mailbox: Mailbox<J>,
    thread: Option<JoinHandle<()>>,
}

/// Where jobs for a reactor are left. It keeps no reactor alive.
pub struct Mailbox<J>(Arc<Queue<J>>);

impl<J> Clone for Mailbox<J> {
    fn clone(&self) -> Mailbox<J> {
        Mailbox(Arc::clone(&self.0))
    }
}

struct Queue<J> {
    /// Guards the jobs that nobody has taken yet. Held to push or to take, never while one runs.
    jobs: Mutex<Jobs<J>>,
    waker: Waker,
}

struct Jobs<J> {
    high: VecDeque<J>,
    low: VecDeque<J>,
    stopping: bool,
}

impl<J> Jobs<J> {
    fn of(&mut self, priority: Priority) -> &mut VecDeque<J> {
        match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        }
    }

    fn count(&self) -> usize {
        self.high.len() + self.low.len()
    }
}

impl<J: Send + 'static> Reactor<J> {
    /// Starts the thread.
    pub fn start<H: Handler<Job = J>>(make: impl FnOnce(Ear<J, H::Timer>) -> H) -> io::Result<Reactor<J>> {
        let (poll, waker) = Poll::new()?;
        let jobs = Mutex::new(Jobs { high: VecDeque::new(), low: VecDeque::new(), stopping: false });
        let mailbox = Mailbox(Arc::new(Queue { jobs, waker }));
        let ear = Ear { poll, timers: Timers::new(), next_token: 0, mailbox: mailbox.clone() };
        let handler = make(ear);
        let thread = threads::start("outlive", Box::new(move || run(handler)))?;
        Ok(Reactor { mailbox, thread: Some(thread) })
    }

    /// Queues a job; gives it back when the reactor has been stopped.
    pub fn send(&self, priority: Priority, job: J) -> Result<(), J> {
        self.mailbox.send(priority, job)
    }
}

impl<J> Mailbox<J> {
    /// Queues a job; gives it back when the reactor has been stopped.
    pub fn send(&self, priority: Priority, job: J) -> Result<(), J> {
        let queue = &self.0;
        let was_empty = {
            let mut jobs = queue.lock();
            if jobs.stopping {
                return Err(job);
            }
            jobs.of(priority).push_back(job);
            jobs.count() == 1
        };
        // Behind another job the wake-up is already on its way.
        if was_empty {
            queue.waker.wake();
        }
        Ok(())
    }
}

impl<J> Drop for Reactor<J> {
    fn drop(&mut self) {
        let Mailbox(queue) = &self.mailbox;
        queue.lock().stopping = true;
        queue.waker.wake();
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics, so there is nothing to hear of here.
            drop(thread.join());
        }
    }
}

impl<J> Queue<J> {
    fn lock(&self) -> MutexGuard<'_, Jobs<J>> {
        threads::lock(&self.jobs)
    }

    /// Takes no more jobs, and gives out those that are left.
    fn close(&self) -> Vec<J> {
        let mut jobs = self.lock();
        jobs.stopping = true;
        let Jobs { high, low, .. } = &mut *jobs;
        high.drain(..).chain(low.drain(..)).collect()
    }

    /// The next job of that priority, `Err` when there will be none.
    fn next(&self, priority: Priority) -> Result<Option<J>, Stopped> {
        let mut jobs = self.lock();
        if jobs.stopping { Err(Stopped) } else { Ok(jobs.of(priority).pop_front()) }
    }

    fn is_empty(&self) -> bool {
        self.lock().count() == 0
    }
}

struct Stopped;

fn run<H: Handler>(mut handler: H) {
    scheduling::give_way();
    let Mailbox(queue) = handler.ear().mailbox();
    while let Ok(()) = turn(&mut handler, &queue) {}
    for job in queue.close() {
        guarded(&mut handler, |handler| handler.on_left(job));
    }
    guarded(&mut handler, Handler::on_stop);
}

/// What is due, what has happened, and one job that takes long; in between all those that somebody may stand still for.
fn turn<H: Handler>(handler: &mut H, queue: &Queue<H::Job>) -> Result<(), Stopped> {
    run_urgent(handler, queue)?;
    // One that a timer sets in its turn comes behind jobs and events.
    let now = Instant::now();
    while let Some(timer) = handler.ear().timers.take_due(now) {
        guarded(handler, |handler| handler.on_due(timer));
        run_urgent(handler, queue)?;
    }
    let is_idle = queue.is_empty() && !handler.has_news();
    let timeout = if is_idle { handler.ear().timers.until_next() } else { Some(Duration::ZERO) };
    hear(handler, queue, timeout)?;
    if handler.has_news() {
        // What was read after the kernel had reported may be younger than what has happened since then.
        handler.mark_news();
        if hear(handler, queue, Some(Duration::ZERO))? {
            guarded(handler, |handler| handler.on_caught_up());
        }
    }
    if let Some(job) = queue.next(Priority::Low)? {
        guarded(handler, |handler| handler.on_job(job));
    }
    Ok(())
}

/// Passes on what the kernel reports; whether that is all.
// A turn calls it twice, and what an event leads to is a large part of the addon.
#[inline(never)]
fn hear<H: Handler>(handler: &mut H, queue: &Queue<H::Job>, timeout: Option<Duration>) -> Result<bool, Stopped> {
    let (events, is_all) = handler.ear().poll.wait(timeout).map_err(|_| Stopped)?;
    for event in events {
        run_urgent(handler, queue)?;
        guarded(handler, |handler| handler.on_ready(event.token, event.hung_up));
    }
    run_urgent(handler, queue)?;
    Ok(is_all)
}

fn run_urgent<H: Handler>(handler: &mut H, queue: &Queue<H::Job>) -> Result<(), Stopped> {
    while let Some(job) = queue.next(Priority::High)? {
        guarded(handler, |handler| handler.on_job(job));
    }
    Ok(())
}

/// A defect in one task's handling must neither take the host down nor stop the news of the others.
fn guarded<H: Handler>(handler: &mut H, call: impl FnOnce(&mut H)) {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| call(handler)));
    if outcome.is_err() {
        // If that panics as well, there is nobody left to tell.
        drop(panic::catch_unwind(AssertUnwindSafe(|| handler.on_panic())));
    }
}
