//! What supervisors that vanished have left behind is killed by its mark. A look at every process of the machine takes long, so one finds
//! what any of them has left.

use std::time::Duration;

use super::keeper::{Keeper, Timer};
use super::look::TRY_AGAIN_AFTER;
use crate::platform::marked::{self, HeldUp, Refused, Swept};
use crate::platform::{errno, failpoint};
use crate::reactor::TimerKey;
use crate::task::{Event, TaskId};

/// When to go on with a sweep that finds new processes all the time.
const SWEEP_FURTHER_AFTER: Duration = Duration::from_millis(200);

/// When to see whether those have ended that we may not signal. They may live for days, and whoever asks for a `kill` has it done anew.
const LOOK_AFTER_REFUSED_AFTER: Duration = Duration::from_secs(10);

/// What the last sweep could not end.
#[derive(Default)]
pub(super) struct Unswept {
    tasks: Vec<TaskId>,
    held_up: Option<HeldUp>,
    timer: Option<TimerKey>,
}

impl Keeper {
    /// Ends what is left of all tasks that are known to be lost by now.
    pub(super) fn sweep_lost(&mut self) {
        if !self.to_sweep.is_empty() {
            self.sweep();
        }
    }

    /// The pause is over.
    pub(super) fn sweep_further(&mut self) {
        if self.unswept.held_up.is_some_and(HeldUp::is_so) {
            // It may be so for days.
            self.unswept.timer = self.ear.after(TRY_AGAIN_AFTER, Timer::SweepFurther);
        } else {
            self.sweep();
        }
    }

    /// Again if not everything could be looked at or signalled, or new ones come.
    fn sweep(&mut self) {
        let Unswept { mut tasks, timer, .. } = std::mem::take(&mut self.unswept);
        timer.into_iter().for_each(|timer| self.ear.cancel(timer));
        tasks.append(&mut self.to_sweep);
        tasks.sort_unstable();
        tasks.dedup();
        drop(failpoint::pass("host.before_sweep"));
        let (outcome, mut left) = match marked::kill_all(tasks.iter().map(TaskId::mark).collect()) {
            Ok(swept) => swept,
            // Nobody knows what is left. Who waits is answered when there are descriptors again.
            Err(error) if errno::is_exhaustion(&error) => return self.sweep_later(tasks, TRY_AGAIN_AFTER, None),
            // And when there is no `/proc` to look at, nobody ever will.
            Err(_) => (Swept::All, Refused::new()),
        };
        let (pause, held_up) = match outcome {
            // Others have their turn first, and most of the processor.
            Swept::NewOnes => (Some(SWEEP_FURTHER_AFTER), None),
            _ if !left.is_empty() => (Some(LOOK_AFTER_REFUSED_AFTER), None),
            Swept::HeldUp(why) => (Some(TRY_AGAIN_AFTER), Some(why)),
            Swept::All => (None, None),
        };
        for task in &tasks {
            match left.remove(&task.mark()) {
                // Where the sweep goes on, nobody is kept waiting for it.
                None => self.apply(task, Event::TreeEmpty),
                Some(why) => self.refuse_waiters(task, why),
            }
        }
        if let Some(pause) = pause {
            self.sweep_later(tasks, pause, held_up);
        }
        drop(failpoint::pass("host.after_sweep"));
    }

    fn sweep_later(&mut self, tasks: Vec<TaskId>, pause: Duration, held_up: Option<HeldUp>) {
        self.unswept = Unswept { tasks, held_up, timer: self.ear.after(pause, Timer::SweepFurther) };
    }

    /// The last one. What it does not find is left to the next host.
    pub(super) fn sweep_once(&mut self) {
        let tasks = std::mem::take(&mut self.to_sweep);
        if !tasks.is_empty() {
            drop(marked::kill_all(tasks.iter().map(TaskId::mark).collect()));
        }
    }
}
