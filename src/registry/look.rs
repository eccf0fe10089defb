//! What a task's directory says now, whoever rang. What cannot be read now is looked at again later, for neither a ring nor a hang-up
//! comes a second time.

use std::time::Duration;

use super::keeper::{Keeper, Timer};
use crate::store::{self, Unread};
use crate::task::{Event, State, TaskId};

/// When to try again what failed for want of descriptors or memory, and anything else that no event announces.
pub(super) const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often a record is looked for that the system does not let us read, where nobody is left who could write it: for half a
/// minute. A mount may come back.
const MAX_LOOKS: u32 = 6;

impl Keeper {
    /// Reads what a task's directory says now, and does what follows. `hung_up`: nobody is left who could write more.
    pub(super) fn refresh(&mut self, id: &TaskId, hung_up: bool) {
        self.look(id, hung_up, 1);
    }

    /// The same for the time that `looks` says.
    pub(super) fn look(&mut self, id: &TaskId, hung_up: bool, looks: u32) {
        let Some(entry) = self.shared.lock().find(id, None) else { return };
        if entry.task.is_gone() {
            return;
        }
        let events = match store::events(&entry.dir, &entry.asked, entry.this_boot, entry.task.run(), hung_up) {
            Ok(events) => events,
            Err(Unread::Exhausted(_)) => return self.look_again_later(id, hung_up, looks, TRY_AGAIN_AFTER),
            Err(Unread::Refused(_)) if is_worth_a_look(looks, hung_up) => {
                return self.look_again_later(id, hung_up, looks + 1, pause_after(looks));
            }
            // A record that cannot be read is no news.
            Err(_) if !hung_up => return,
            // Left to a release that can.
            Err(Unread::Newer) => return self.announce_past(id),
            // Nobody is left who could write a better one. It does not say that the command never ran.
            Err(why) => {
                let gone = store::gone_unread(&entry.dir, &entry.asked, entry.this_boot, entry.task.run(), &why);
                return self.apply(id, gone);
            }
        };
        if entry.task.state == State::Starting && matches!(events[..], [Event::SupervisorGone(_)]) {
            if self.spawning.contains_key(id) {
                // Nobody removes a task that never ran but the host that answers for it.
                return if entry.has_lost_its_files() { self.announce_past(id) } else { self.reject_spawn(id) };
            }
            match store::is_answered_for(&entry.dir) {
                Err(_) => return self.look_again_later(id, hung_up, looks, TRY_AGAIN_AFTER),
                // The host that wanted to start it could not, and its caller knows, or will unless that host is killed too.
                Ok(true) => {
                    self.forget(id);
                    return self.listen_again_later(&entry.asked.session);
                }
                Ok(false) => {}
            }
        }
        for event in events {
            self.apply(id, event);
        }
    }

    /// What the disk has to say cannot be read now, and the task is as it was for so long.
    fn look_again_later(&mut self, id: &TaskId, hung_up: bool, looks: u32, pause: Duration) {
        if self.looking_again.insert((id.clone(), hung_up)) {
            self.ear.after(pause, Timer::LookAgain { task: id.clone(), hung_up, looks });
        }
    }
}

/// Whether a record is looked for again that the system did not let us read so many times.
fn is_worth_a_look(looks: u32, hung_up: bool) -> bool {
    // While its supervisor lives a task is as it was, and nothing has to be decided without the record.
    !hung_up || looks < MAX_LOOKS
}

/// Until the next look at what the system did not let us read: the pauses double, and none is longer than 16 seconds.
pub(super) fn pause_after(looks: u32) -> Duration {
    TRY_AGAIN_AFTER * 2u32.pow((looks - 1).min(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_out_of_reach_is_looked_for_as_long_as_its_supervisor_lives() {
        // R18
        let looks_until = |hung_up| (1..1000).find(|looks| !is_worth_a_look(*looks, hung_up));
        assert_eq!(looks_until(false), None);
        assert_eq!(looks_until(true), Some(6));
        let pauses = [1, 2, 3, 4, 5, 6, 1000, u32::MAX].map(|looks| pause_after(looks).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 16, 16]);
    }
}
