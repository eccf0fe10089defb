//! How the supervisor is linked: by itself, without a C library, as one small static executable.
//! Here and not in the environment, so that a plain `cargo build -p outlive-supervisor` makes the same thing.

use std::env;

fn main() {
    // An executable for ARM must load on kernels with pages of 4, 16 and 64 KiB.
    let arm = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "aarch64");
    let largest_page = if arm { "-Wl,-z,max-page-size=65536" } else { "-Wl,-z,max-page-size=4096" };
    let arguments = [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--gc-sections",
        "-Wl,--build-id=none",
        largest_page,
        "-Wl,-z,norelro",
        "-Wl,-z,noexecstack",
    ];
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    // No page for each kind of section: fewer pages to touch, and a smaller file.
    // zig refuses the flag, and its linker separates no code unasked.
    let is_zig = env::var("RUSTC_LINKER").is_ok_and(|linker| linker.contains("zig"));
    if !is_zig {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,noseparate-code");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
