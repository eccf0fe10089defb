//! The real supervisor, started as a host starts it, around real commands. Guests say what they do through FIFOs, nothing
//! sleeps to be lucky, and every wait has a loud limit.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod cause;
mod ends;
mod kill;
mod output;
mod rewritten;
mod start;
mod task;
mod traced;
