//! Where tests make a supervisor fail. Without the feature `failpoints` every point is nothing at all, and its name is not
//! in the executable.

use crate::sys::Result;

/// Passes a point: usually nothing. The names are in [`outlive_protocol`], and so is what can happen.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn pass(_point: &'static str) -> Result<()> {
    Ok(())
}

/// Passes a point, and does what `OUTLIVE_FAILPOINTS` says about it.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(point: &'static str) -> Result<()> {
    use outlive_protocol::failpoints::{Action, Passed, VARIABLE};

    use crate::sys::{Errno, launch, process};

    static PASSED: Passed = Passed::new();

    let plan = launch::variable(VARIABLE).and_then(|plan| plan.to_str().ok()).unwrap_or_default();
    match PASSED.pass(plan, point) {
        None => Ok(()),
        Some(Action::Error(number)) => Err(Errno(number)),
        Some(Action::DelayMs(pause)) => {
            process::pause(pause.saturating_mul(process::NS_PER_MS));
            Ok(())
        }
        // The leader-to-be has our memory and passes points too: who is killed there is still the supervisor.
        Some(Action::Kill) => loop {
            process::signal(launch::supervisor() as i32, process::SIGKILL);
            process::pause(process::NEVER);
        },
    }
}
