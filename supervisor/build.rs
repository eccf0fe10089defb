//! How the supervisor is linked: by itself, without a C library, as one small static executable.
//! Here and not in the environment, so that a plain `cargo build -p outlive-supervisor` makes the same thing.

fn main() {
    let arguments = [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--gc-sections",
        "-Wl,--build-id=none",
        // One page of alignment and no page per kind of section: fewer pages to touch, and a smaller file.
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,noseparate-code",
        "-Wl,-z,norelro",
        "-Wl,-z,noexecstack",
    ];
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
