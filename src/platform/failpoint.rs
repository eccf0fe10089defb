//! Where tests make a host fail. Without the feature `failpoints` every point is nothing at all, and its name is not in the
//! binary.

use std::io;

/// Passes a point: usually nothing. The names are in [`outlive_protocol`], and so is what can happen.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn pass(_point: &'static str) -> io::Result<()> {
    Ok(())
}

/// Passes a point, and does what `OUTLIVE_FAILPOINTS` says about it.
#[cfg(feature = "failpoints")]
pub fn pass(point: &'static str) -> io::Result<()> {
    use outlive_protocol::failpoints::{Action, Passed, VARIABLE};

    static PASSED: Passed = Passed::new();

    match PASSED.pass(&std::env::var(VARIABLE).unwrap_or_default(), point) {
        None => Ok(()),
        Some(Action::Error(number)) => Err(io::Error::from_raw_os_error(number as i32)),
        Some(Action::DelayMs(pause)) => {
            std::thread::sleep(std::time::Duration::from_millis(pause));
            Ok(())
        }
        Some(Action::Kill) => loop {
            // SAFETY: a plain system call with integers.
            unsafe { libc::kill(std::process::id() as libc::pid_t, libc::SIGKILL) };
        },
    }
}
