//! The loop: one sleep until a child ends, an order comes, or something is due. No timer runs when nothing can happen.
//!
//! The leader's end is looked for before every order and every deadline: what has ended by itself was not killed.

use core::ffi::CStr;

use outlive_protocol::orders::{Order, Received};
use outlive_protocol::records::{Cause, Closed, Ended, MAX_RECORD};
use outlive_protocol::settings::{Cleanup, Settings};
use outlive_protocol::{fds, names};

use crate::durable;
use crate::ending::Ending;
use crate::failpoint;
use crate::leader::Leader;
use crate::output::{Output, Overflow};
use crate::proc;
use crate::sys::files::{self, File};
use crate::sys::process::{self, Exit, How, NEVER, NS_PER_MS, SIGCHLD, SIGIO, SIGKILL, SIGTERM, TIME_IS_OVER};
use crate::sys::{Result, ignore};
use crate::tree;
use crate::{announce, announce_if_taken};

const CLOSED: &CStr = names::CLOSED.as_c_str();
/// How often to try to write a record for which there was no room.
const WRITE_AGAIN_NS: u64 = 1000 * NS_PER_MS;
/// How long a disk has that fails in another way than by being full.
const FAILING_NS: u64 = 5 * WRITE_AGAIN_NS;
/// How long strangers have to take a bell that hosts have not heard.
const ANNOUNCE_AGAIN_NS: u64 = 1000 * NS_PER_MS;

/// One task, from its command's exec until its tree is empty.
pub(crate) struct Watch<'a> {
    leader: Leader,
    settings: &'a Settings<'a>,
    signals: File,
    output: Output,
    orders: Received,
    ending: Option<Ending>,
    /// Only while the leader runs; [`NEVER`] when there is none or it has passed.
    deadline: u64,
    /// What the alarm is set to.
    alarm: u64,
    /// When what was asked is sent to the disk; [`NEVER`] when it has been.
    send_at: u64,
    /// When to look whether somebody has taken our ring out of `events`; [`NEVER`] once it was found there.
    announce_at: u64,
    /// How the leader has ended, while the disk does not take it, and when that is tried again.
    unwritten: Option<(Ended, u64)>,
    /// Until when the disk may take it, once nobody is left: who has asked for the end waits for ours. [`NEVER`] when nobody has, and it is
    /// only full.
    room_until: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The leader runs.
    Running,
    /// The leader's end is known, and others live.
    Lingering { counted: bool },
    /// Nobody is left. `counted`: the record of the leader's end told of others.
    Empty { counted: bool },
}

impl<'a> Watch<'a> {
    /// Nothing has been looked at yet.
    pub(crate) fn new(leader: Leader, settings: &'a Settings<'a>, signals: File) -> Watch<'a> {
        let deadline = match settings.timeout_ms {
            0 => NEVER,
            timeout => leader.started_ns.saturating_add(timeout.saturating_mul(NS_PER_MS)),
        };
        let send_at = leader.started_ns.saturating_add(durable::SEND_AFTER_NS);
        let announce_at = leader.started_ns.saturating_add(ANNOUNCE_AGAIN_NS);
        Watch {
            leader,
            settings,
            signals,
            output: Output::new(settings.max_output_bytes),
            orders: Received::new(),
            ending: None,
            deadline,
            alarm: NEVER,
            send_at,
            announce_at,
            unwritten: None,
            room_until: NEVER,
            stage: Stage::Running,
        }
    }

    /// Stays until the tree is empty and everything is written.
    pub(crate) fn stay(mut self) {
        loop {
            let now = process::monotonic_ns();
            self.run_due(now);
            if let Stage::Empty { counted } = self.stage {
                if self.unwritten.is_none() || now >= self.room_until {
                    return self.leave(counted);
                }
                // Nobody is left to be told or killed.
                self.ending = None;
            }
            self.sleep();
        }
    }

    fn run_due(&mut self, now: u64) {
        if now >= self.deadline {
            self.deadline = NEVER;
            self.end_tree(Cause::Timeout, SIGTERM, self.settings.grace_ms);
        }
        if self.ending.as_ref().is_some_and(|ending| now >= ending.force_at) {
            if self.is_forced() {
                // Somebody is stuck, and may be for long.
                self.reap();
            }
            self.force(now);
        }
        if let Some(ending) = self.ending.as_mut().filter(|ending| now >= ending.tell_at) {
            ending.look_again(now);
        }
        if now >= self.send_at {
            self.send_at = NEVER;
            durable::send_asked();
        }
        if now >= self.announce_at {
            // Who has taken it may take the next one too.
            self.announce_at = if announce_if_taken() { now.saturating_add(ANNOUNCE_AGAIN_NS) } else { NEVER };
        }
        if now >= self.write_at()
            && let Some((ended, _)) = self.unwritten.take()
        {
            self.tell_end(ended, now);
            if self.unwritten.is_none() {
                durable::send_end();
            }
        }
        if now >= self.look_at() {
            match self.output.check(now) {
                Ok(()) => {}
                Err(Overflow::Begun) => self.end_tree(Cause::OutputLimit, SIGTERM, self.settings.grace_ms),
                Err(Overflow::WentOn) => self.end_tree(Cause::OutputLimit, SIGTERM, 0),
            }
        }
    }

    /// When to look at the output: as long as there is somebody to write any.
    fn look_at(&self) -> u64 {
        if matches!(self.stage, Stage::Empty { .. }) { NEVER } else { self.output.due() }
    }

    /// When to try again to write how the leader has ended.
    fn write_at(&self) -> u64 {
        match &self.unwritten {
            None => NEVER,
            // The last time.
            Some((_, again_at)) if matches!(self.stage, Stage::Empty { .. }) => self.room_until.min(*again_at),
            Some((_, again_at)) => *again_at,
        }
    }

    fn sleep(&mut self) {
        // What was due can have taken a while: a disk was waited for.
        let now = process::monotonic_ns();
        let (force_at, tell_at) = self.ending.as_ref().map_or((NEVER, NEVER), |ending| (ending.force_at, ending.tell_at));
        let promised = self.deadline.min(force_at);
        if promised != self.alarm {
            self.alarm = promised;
            process::alarm(if promised == NEVER { NEVER } else { promised.saturating_sub(now) });
        }
        let due = promised.min(tell_at).min(self.send_at).min(self.announce_at).min(self.write_at()).min(self.look_at());
        let time = if due == NEVER { NEVER } else { due.saturating_sub(now) };
        let [signals, orders] = process::sleep([self.signals.number(), fds::CONTROL], time);
        if signals {
            self.take_signals();
        }
        if orders {
            self.take_orders();
        }
    }

    fn take_signals(&mut self) {
        for (signal, sender) in process::take_signals(&self.signals) {
            match signal {
                SIGCHLD => self.child_ended(),
                SIGIO => self.output.written(process::monotonic_ns()),
                // Our task was started by a part of another one, which is being ended with all its parts.
                _ if process::ENDING.contains(&signal) && is_above_us(sender) => {
                    self.end_tree(Cause::Kill, signal, self.settings.grace_ms);
                }
                // And its grace is over.
                TIME_IS_OVER if is_above_us(sender) => self.end_tree(Cause::Kill, SIGKILL, 0),
                _ => {}
            }
        }
    }

    fn child_ended(&mut self) {
        // Until nobody lives the dead keep their places in whatever limits the number of processes, so that who forks faster
        // than we can kill runs out of them.
        let now = process::monotonic_ns();
        if let Some(ending) = self.ending.as_mut().filter(|ending| ending.forced)
            && ending.force_on(self.stage == Stage::Running, now)
        {
            return self.reap_leader();
        }
        self.reap();
        if let Some(ending) = self.ending.as_mut().filter(|_| !matches!(self.stage, Stage::Empty { .. })) {
            // The children of who died are ours now and have not been told.
            ending.look_again(process::monotonic_ns());
        }
    }

    fn is_forced(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.forced)
    }

    fn reap_leader(&mut self) {
        if self.stage == Stage::Running
            && let Ok(Some(exit)) = process::reap_one(self.leader.pid as i32)
        {
            self.leader_ended(exit, true);
        }
    }

    /// Takes all children that have ended, and records the leader's end if it is among them.
    fn reap(&mut self) {
        let mut leader = None;
        let alive = loop {
            match process::reap() {
                // Once it is reaped, its number may be another child's.
                Ok(Some(exit)) if self.stage == Stage::Running && leader.is_none() && exit.pid == self.leader.pid => {
                    leader = Some(exit);
                }
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        if let Some(exit) = leader {
            self.leader_ended(exit, alive);
        }
        if let (Stage::Lingering { counted }, false) = (self.stage, alive) {
            self.stage = Stage::Empty { counted };
        }
    }

    fn leader_ended(&mut self, exit: Exit, alive: bool) {
        ignore(failpoint::pass("supervisor.after_leader_end"));
        let now = process::monotonic_ns();
        let finished_at = process::unix_ms();
        let cut = self.output.cut();
        let (descendants, alive) = if alive { tree::count_others() } else { (0, false) };
        let (exit_code, signal) = match exit.how {
            How::Code(code) => (Some(u64::from(code)), None),
            How::Signal(signal) => (None, Some(u64::from(signal))),
        };
        let ended = Ended {
            cause: self.cause(exit.how),
            exit_code,
            signal,
            errno: None,
            started_at: self.leader.started_at,
            finished_at,
            duration_ms: now.saturating_sub(self.leader.started_ns) / NS_PER_MS,
            ended_monotonic_ns: now,
            max_rss_bytes: exit.max_rss_bytes,
            cpu_ms: exit.cpu_ms,
            descendants,
        };
        self.tell_end(ended, now);
        self.deadline = NEVER;
        let counted = descendants > 0;
        self.stage = if alive { Stage::Lingering { counted } } else { Stage::Empty { counted } };
        if !alive {
            return;
        }
        if self.ending.is_none() && (self.settings.cleanup == Cleanup::Kill || cut.is_err()) {
            self.end_tree(Cause::Exit, SIGTERM, self.settings.grace_ms);
        }
        if self.ending.is_none() {
            // They may live for days.
            durable::send_end();
        }
    }

    /// Nobody else knows how the leader ended, and a full disk passes: without the record we stay. While others live that costs nothing;
    /// a disk that fails for good is given up after them, and the host sees the hang-up.
    fn tell_end(&mut self, ended: Ended, now: u64) {
        // The space is reserved. But not every file system can do that, and where a snapshot holds what was reserved it takes more.
        let written = failpoint::pass("supervisor.before_publish")
            .and_then(|()| files::write_at_start(fds::ENDED, ended.write(&mut [0; MAX_RECORD])));
        if let Err(errno) = written {
            if !errno.is_shortage() {
                self.room_until = self.room_until.min(now.saturating_add(FAILING_NS));
            }
            self.unwritten = Some((ended, now.saturating_add(WRITE_AGAIN_NS)));
            return;
        }
        ignore(failpoint::pass("supervisor.after_publish"));
        announce();
        // While others live no hang-up tells of it.
        self.announce_at = now.saturating_add(ANNOUNCE_AGAIN_NS);
        process::give_way();
        ignore(failpoint::pass("supervisor.after_end_told"));
    }

    /// Ours only if a signal of ours did it, and reached the leader: one that it was killed by, or one that it had an answer to.
    fn cause(&self, how: How) -> Cause {
        match (&self.ending, how) {
            (Some(ending), _) if ending.explains(how) => ending.cause,
            (_, How::Code(_)) => Cause::Exit,
            (_, How::Signal(_)) => Cause::Signal,
        }
    }

    fn take_orders(&mut self) {
        let mut buffer = [0; 512];
        let length = files::read(fds::CONTROL, &mut buffer).unwrap_or(0);
        for byte in buffer.iter().take(length) {
            if let Some(Order::Kill { signal, grace_ms }) = self.orders.take(*byte) {
                ignore(failpoint::pass("supervisor.after_order_read"));
                self.end_tree(Cause::Kill, signal, grace_ms);
            }
        }
    }

    /// A signal now, SIGKILL after the grace. Asked again it can only become faster.
    fn end_tree(&mut self, cause: Cause, signal: u8, grace_ms: u64) {
        let running = self.stage == Stage::Running;
        if running && process::has_ended(self.leader.pid).unwrap_or(true) {
            self.reap();
        }
        let now = process::monotonic_ns();
        let grace = if signal == SIGKILL { 0 } else { grace_ms.saturating_mul(NS_PER_MS) };
        if matches!(cause, Cause::Kill) {
            self.room_until = self.room_until.min(now.saturating_add(grace));
        }
        // The deadline is the leader's. It came in time after all, and whom it has left behind nobody wants to end.
        let in_time = matches!(cause, Cause::Timeout) && self.stage != Stage::Running;
        if in_time || matches!(self.stage, Stage::Empty { .. }) {
            return;
        }
        let ending = self.ending.get_or_insert_with(|| Ending::new(cause, self.leader.pid));
        ending.force_by(now.saturating_add(grace));
        if ending.forced || ending.force_at <= now {
            return self.force(now);
        }
        ending.tell(signal, self.stage == Stage::Running, now);
    }

    fn force(&mut self, now: u64) {
        if let Some(ending) = &mut self.ending {
            ending.force(self.stage == Stage::Running, now);
        }
    }

    fn leave(mut self, counted: bool) {
        ignore(failpoint::pass("supervisor.after_tree_end"));
        // Nobody is left to be stopped if it fails.
        ignore(self.output.cut());
        if counted {
            let closed = Closed { closed_at: process::unix_ms() };
            // Without it the hang-up says the same.
            ignore(record_closed(closed));
            ignore(failpoint::pass("supervisor.after_closed_json"));
            announce();
        }
        durable::sync_all();
    }
}

/// Is this the supervisor of a task that ours is a part of?
fn is_above_us(sender: u32) -> bool {
    sender == process::parent() && proc::is_supervisor(sender)
}

fn record_closed(closed: Closed) -> Result<()> {
    failpoint::pass("supervisor.before_closed_json")?;
    let file = File::create(fds::TASK_DIR, CLOSED)?;
    failpoint::pass("supervisor.before_closed_json_content")?;
    files::write(file.number(), closed.write(&mut [0; MAX_RECORD]))
}
