//! Places at which a test makes a host or a supervisor fail: [`POINTS`]. What happens there is said in
//! `OUTLIVE_FAILPOINTS`, entries separated by `;`:
//!
//! ```text
//! supervisor.before_publish=kill                the first time, and every time
//! host.after_spawn=2*off->1*kill                nothing twice, then SIGKILL, then nothing again
//! host.before_task_json=error(ENOSPC)           the step fails as if the system had refused it
//! host.before_delivered=delay(50ms)
//! ```
//!
//! A point stands before or after a step that others can see. Between two steps stands one point, named after the later
//! step when that one can fail. An entry that cannot be read is none.

use core::sync::atomic::{AtomicU32, Ordering};

/// The environment variable that says what happens.
pub const VARIABLE: &str = "OUTLIVE_FAILPOINTS";

/// All points, in the order of a task's life on either side.
pub const POINTS: &[&str] = &[
    "host.before_cwd",
    "host.before_session_directory",
    "host.before_owner",
    "host.before_session_draft",
    "host.before_session_rename",
    "host.after_session",
    "host.before_directory",
    "host.before_command",
    "host.before_captures",
    "host.before_control",
    "host.before_events",
    "host.before_ended_json",
    "host.before_reserve",
    "host.before_task_json",
    "host.before_task_json_content",
    "host.before_executable_draft",
    "host.before_executable_content",
    "host.before_executable_rename",
    "host.before_spawn",
    "host.after_spawn",
    "host.before_start_told",
    "host.before_order",
    "host.after_order",
    "host.before_sweep",
    "host.after_sweep",
    "host.before_lease",
    "host.after_lease",
    "host.after_told",
    "host.before_delivered",
    "host.after_delivered",
    "host.before_remove",
    "host.after_task_json_removed",
    "host.after_remove",
    "supervisor.at_start",
    "supervisor.before_leader",
    "supervisor.before_started_json",
    "supervisor.before_started_json_content",
    "supervisor.before_exec",
    "supervisor.before_reason",
    "supervisor.after_leader",
    "supervisor.after_start_told",
    "supervisor.before_failure",
    "supervisor.after_failure",
    "supervisor.after_order_read",
    "supervisor.before_signal",
    "supervisor.after_signal",
    "supervisor.before_force",
    "supervisor.after_force",
    "supervisor.before_dropped_json",
    "supervisor.before_dropped_json_content",
    "supervisor.before_punch",
    "supervisor.after_leader_end",
    "supervisor.before_publish",
    "supervisor.after_publish",
    "supervisor.after_end_told",
    "supervisor.after_tree_end",
    "supervisor.before_closed_json",
    "supervisor.before_closed_json_content",
    "supervisor.after_closed_json",
    "supervisor.before_sync",
    "supervisor.after_sync",
];

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL, for the process itself.
    Kill,
    /// The system's error with this number.
    Error(u32),
    /// A pause.
    DelayMs(u64),
}

/// How often each point was passed in this process.
pub struct Passed([AtomicU32; POINTS.len()]);

impl Passed {
    /// No point has been passed.
    pub const fn new() -> Passed {
        Passed([const { AtomicU32::new(0) }; POINTS.len()])
    }

    /// Passes a point, and tells what the plan, the variable's content, wants to happen there now.
    pub fn pass(&self, plan: &str, point: &str) -> Option<Action> {
        let index = POINTS.iter().position(|known| *known == point)?;
        let before = self.0.get(index)?.fetch_add(1, Ordering::Relaxed);
        action(plan, point, before)
    }
}

impl Default for Passed {
    fn default() -> Passed {
        Passed::new()
    }
}

/// What happens at a point that has been passed `before` times.
fn action(plan: &str, point: &str, before: u32) -> Option<Action> {
    let entries = plan.split(';').filter_map(|entry| entry.trim().split_once('='));
    let (_, steps) = entries.into_iter().find(|(name, _)| *name == point)?;
    let mut passed = before;
    for step in steps.split("->") {
        let (times, action) = match step.split_once('*') {
            Some((times, action)) => (times.parse().ok()?, action),
            None => (u32::MAX, step),
        };
        if passed < times {
            return parse(action);
        }
        passed -= times;
    }
    None
}

fn parse(action: &str) -> Option<Action> {
    let argument = |name: &str, end: &str| action.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(end);
    if action == "kill" {
        return Some(Action::Kill);
    }
    if let Some(name) = argument("error", ")") {
        return errno(name).map(Action::Error);
    }
    argument("delay", "ms)")?.parse().ok().map(Action::DelayMs)
}

/// The errors that disks, limits and filters answer with.
fn errno(name: &str) -> Option<u32> {
    const NUMBERS: &[(&str, u32)] = &[
        ("EPERM", 1),
        ("EIO", 5),
        ("E2BIG", 7),
        ("EAGAIN", 11),
        ("ENOMEM", 12),
        ("EACCES", 13),
        ("ENFILE", 23),
        ("EMFILE", 24),
        ("ENOSPC", 28),
        ("EROFS", 30),
        ("ENOSYS", 38),
        ("EDQUOT", 122),
    ];
    NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: &str = "host.after_spawn";

    fn first_five(plan: &str) -> [Option<Action>; 5] {
        let passed = Passed::new();
        [(); 5].map(|()| passed.pass(plan, POINT))
    }

    #[test]
    fn an_action_without_a_count_happens_every_time() {
        assert_eq!(first_five("host.after_spawn=kill"), [Some(Action::Kill); 5]);
        assert_eq!(first_five("host.after_spawn=error(ENOSPC)"), [Some(Action::Error(28)); 5]);
        assert_eq!(first_five("host.after_spawn=delay(50ms)"), [Some(Action::DelayMs(50)); 5]);
    }

    #[test]
    fn counted_actions_happen_one_after_the_other_and_then_nothing() {
        let pause = Some(Action::DelayMs(1));
        assert_eq!(first_five("host.after_spawn=2*off->1*kill"), [None, None, Some(Action::Kill), None, None]);
        assert_eq!(first_five("host.after_spawn=1*delay(1ms)->1*off->kill")[..3], [pause, None, Some(Action::Kill)]);
    }

    #[test]
    fn each_point_has_its_own_entry_and_its_own_count() {
        let plan = "host.before_spawn=kill; host.after_spawn=1*off->kill";
        let passed = Passed::new();
        assert_eq!(passed.pass(plan, "host.before_spawn"), Some(Action::Kill));
        assert_eq!(passed.pass(plan, POINT), None);
        assert_eq!(passed.pass(plan, POINT), Some(Action::Kill));
        assert_eq!(passed.pass(plan, "host.before_order"), None);
    }

    #[test]
    fn what_cannot_be_read_does_nothing() {
        for plan in ["", ";", "=", "host.after_spawn", "host.after_spawn=", "host.after_spawn=killed", "host.after_spawn=x*kill"]
        {
            assert_eq!(first_five(plan), [None; 5], "{plan}");
        }
        for action in ["error(ENOTHING)", "error(ENOSPC", "delay(1)", "delay(ms)", "off", "Kill"] {
            assert_eq!(parse(action), None, "{action}");
        }
        assert_eq!(Passed::new().pass("nowhere=kill", "nowhere"), None);
    }
}
