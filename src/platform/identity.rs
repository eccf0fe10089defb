//! Who we are: the machine, its boot, the user.

use std::fs;
use std::io;

use super::errno::unless_exhausted;

/// Where the kernel tells the id of this boot. Not in a `/proc` that is mounted with `subset=pid`.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where systemd and others keep the id of an installation.
pub const MACHINE_ID: &str = "/etc/machine-id";

/// The kernel's id of this boot.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

/// What tells this machine from others that share a file system with it: the machine id, else the host's name. An error when descriptors
/// or memory are wanting: it would seem to be another machine.
pub fn machine_id() -> io::Result<String> {
    for path in [MACHINE_ID, "/proc/sys/kernel/hostname"] {
        let id = unless_exhausted(fs::read_to_string(path))?.unwrap_or_default();
        if !id.trim().is_empty() {
            return Ok(id.trim().to_owned());
        }
    }
    Ok(String::new())
}

/// The effective user id.
pub fn user() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}
