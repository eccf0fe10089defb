//! The wall's clock for people, the monotonic one for everything that must not jump, and what a thread has spent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix milliseconds; 0 for a clock that stands before 1970.
pub fn unix_ms() -> u64 {
    to_unix_ms(SystemTime::now())
}

/// Unix milliseconds of a moment; 0 for one before 1970.
pub fn to_unix_ms(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

/// `CLOCK_MONOTONIC` in nanoseconds, the clock that the supervisor stamps ends with.
pub fn monotonic_ns() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC)
}

/// How long this thread has been at work, in nanoseconds. What others do meanwhile does not count.
pub fn thread_ns() -> u64 {
    read_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that lives across the call.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What [`monotonic_ns`] was at that moment of the wall's clock, if nobody has set that one since.
pub fn monotonic_ns_at(unix_ms_then: u64) -> u64 {
    let age_ms = unix_ms().saturating_sub(unix_ms_then);
    monotonic_ns().saturating_sub(age_ms.saturating_mul(1_000_000))
}
