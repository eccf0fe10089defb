//! Builds the supervisor for the addon's target and hands it to the addon: `OUTLIVE_SUPERVISOR_BIN` is the path of the
//! executable, `OUTLIVE_SUPERVISOR_HASH` names its content. Where there is no supervisor yet both say so: an empty file.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROFILE: &str = "supervisor";
const PACKAGE: &str = "outlive-supervisor";

fn main() -> Result<(), Box<dyn Error>> {
    napi_build::setup();
    for source in ["build.rs", "Cargo.toml", "supervisor", "protocol"] {
        println!("cargo:rerun-if-changed={source}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let supported = env::var("CARGO_CFG_TARGET_OS")? == "linux"
        && matches!(env::var("CARGO_CFG_TARGET_ARCH")?.as_str(), "x86_64" | "aarch64");
    if env::var("CARGO_CFG_TARGET_OS")? == "linux" {
        // A worker's end unloads what only it has loaded, and one of our threads may still wait for a file system that does not answer.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    let executable = if supported { build_supervisor(&out)? } else { out.join("no-supervisor") };
    if !supported {
        fs::write(&executable, [])?;
    }
    println!("cargo:rustc-env=OUTLIVE_SUPERVISOR_BIN={}", executable.display());
    println!("cargo:rustc-env=OUTLIVE_SUPERVISOR_HASH={:016x}", fnv1a(&fs::read(&executable)?));
    Ok(())
}

/// With a target directory of its own: the outer cargo holds the lock of the other one while it waits for us.
fn build_supervisor(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = env::var("TARGET")?;
    let target_dir = out.join("supervisor");
    let manifest = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let mut flags = vec!["-Crelocation-model=static", "-Cforce-unwind-tables=no"];
    if target.contains("musl") {
        // Its start files have a `_start` of their own.
        flags.push("-Clink-self-contained=no");
    }
    let mut cargo = Command::new(env::var("CARGO")?);
    for (name, _) in env::vars_os() {
        if name.to_str().is_none_or(is_for_the_addon_only) {
            cargo.env_remove(name);
        }
    }
    cargo
        .args(["build", "--quiet", "--package", PACKAGE, "--profile", PROFILE, "--target", &target])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    if env::var_os("CARGO_FEATURE_FAILPOINTS").is_some() {
        cargo.args(["--features", "failpoints"]);
    }
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("the supervisor does not build for {target}: {status}").into());
    }
    Ok(target_dir.join(target).join(PROFILE).join(PACKAGE))
}

/// Flags, wrappers (clippy, coverage) and facts about the addon's own build mean something else in the inner one.
fn is_for_the_addon_only(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_SOURCE_", "CARGO_UNSTABLE_BUILD_STD"];
    let linker = name.starts_with("CARGO_TARGET_") && name.ends_with("_LINKER");
    let of_cargo = name.starts_with("CARGO") && !linker && !kept.iter().any(|prefix| name.starts_with(prefix));
    of_cargo || matches!(name, "RUSTFLAGS" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "TARGET" | "HOST")
}

/// FNV-1a: tells builds apart, and is no protection against anybody.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
