//! What supervisors that vanished have left behind is killed by its mark. A look at every process of the machine takes long, so one finds
//! what any of them has left.

use std::time::Duration;

use super::keeper::{Ear, Keeper, TRY_AGAIN_AFTER, Timer};
use super::snapshot::mark;
use crate::platform::{failpoint, marked};
use crate::task::TaskId;

/// When to go on with a sweep that finds new processes all the time.
const SWEEP_FURTHER_AFTER: Duration = Duration::from_millis(200);

impl Keeper {
    /// Ends what is left of all tasks that are known to be lost by now.
    pub(super) fn sweep_lost(&mut self, ear: &mut Ear) {
        let tasks = std::mem::take(&mut self.to_sweep);
        if !tasks.is_empty() {
            self.sweep(ear, tasks);
        }
    }

    /// Again if not everything could be looked at, or new ones come.
    pub(super) fn sweep(&mut self, ear: &mut Ear, tasks: Vec<TaskId>) {
        drop(failpoint::pass("host.before_sweep"));
        let pause = match marked::kill_all(&tasks.iter().map(mark).collect()) {
            Ok(true) => None,
            // Others have their turn first, and most of the processor.
            Ok(false) => Some(SWEEP_FURTHER_AFTER),
            Err(_) => Some(TRY_AGAIN_AFTER),
        };
        if let Some(pause) = pause {
            ear.after(pause, Timer::SweepFurther { tasks });
        }
        drop(failpoint::pass("host.after_sweep"));
    }

    /// The last one. What it does not find is left to the next host.
    pub(super) fn sweep_once(&mut self) {
        let tasks = std::mem::take(&mut self.to_sweep);
        if !tasks.is_empty() {
            drop(marked::kill_all(&tasks.iter().map(mark).collect()));
        }
    }
}
