//! Who we are: the machine, its boot, the user.

use std::fs;
use std::io;

/// Where the kernel tells the id of this boot. Not in a `/proc` that is mounted with `subset=pid`.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's id of this boot.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

/// What tells this machine from others that share a file system with it: the machine id, else the host's name.
pub fn machine_id() -> String {
    ["/etc/machine-id", "/proc/sys/kernel/hostname"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

/// The effective user id.
pub fn user() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}
