//! One sleep for many descriptors: epoll, edge-triggered, and an eventfd that wakes it from other threads.
//! Reference: <https://man7.org/linux/man-pages/man7/epoll.7.html>

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::check;

const WAKER: u64 = u64::MAX;
const BATCH: usize = 256;

/// What happened to a watched descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The number that the descriptor was added with.
    pub token: u64,
    /// The last writer is gone.
    pub hung_up: bool,
}

/// The set of watched descriptors.
pub struct Poll {
    epoll: OwnedFd,
    waker: OwnedFd,
}

/// Ends the sleep of a [`Poll`] from any thread.
pub struct Waker(OwnedFd);

impl Poll {
    /// An empty set and its waker.
    pub fn new() -> io::Result<(Poll, Waker)> {
        // SAFETY: a plain system call; the result is checked.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `epoll` was just made and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        // SAFETY: a plain system call; the result is checked.
        let waker = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: `waker` was just made and nobody else owns it.
        let waker = unsafe { OwnedFd::from_raw_fd(waker) };
        let other = waker.try_clone()?;
        let poll = Poll { epoll, waker };
        poll.control(libc::EPOLL_CTL_ADD, poll.waker.as_raw_fd(), WAKER)?;
        Ok((poll, Waker(other)))
    }

    /// Watches a FIFO's reading end: from now on no write into the empty FIFO and no hang-up is missed.
    pub fn add(&self, file: &File, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, file.as_raw_fd(), token)
    }

    /// Stops watching. Closing alone would not do while a child that was just started still has a copy.
    pub fn remove(&self, file: &File) {
        // An error would say that it was not watched.
        drop(self.control(libc::EPOLL_CTL_DEL, file.as_raw_fd(), 0));
    }

    /// Sleeps until something happens or `timeout` has passed, for ever without one. Returns what happened, which is
    /// nothing when only the waker rang, and whether that is all.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<(Vec<Readiness>, bool)> {
        // Rounded up: a timer that fires early would only have to be set again.
        let timeout = timeout.map_or(-1, |time| time.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32);
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        // SAFETY: `events` is an array of as many entries as the call is told.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), BATCH as i32, timeout) };
        let count = match check(count) {
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            other => other?,
        };
        let happened = events[..count as usize].iter().filter(|event| event.u64 != WAKER);
        let readiness =
            |event: &libc::epoll_event| Readiness { token: event.u64, hung_up: event.events & libc::EPOLLHUP as u32 != 0 };
        Ok((happened.map(readiness).collect(), (count as usize) < BATCH))
    }

    fn control(&self, operation: libc::c_int, fd: libc::c_int, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: token };
        // SAFETY: `event` lives across the call, and the kernel copies it.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) }).map(|_| ())
    }
}

impl Waker {
    /// Wakes the poll. Edge-triggered, so the counter is never read back; at 2^64 rings it would stop.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is eight bytes that live across the call.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}
