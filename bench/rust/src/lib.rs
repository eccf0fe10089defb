//! Only benches: `cargo bench --manifest-path bench/rust/Cargo.toml`.
