#!/usr/bin/env bash
# sanitize.sh [valgrind] [address] [node] [miri]: the Rust tests, or all promises in Node, with each memory access of ours looked at.
# Under valgrind without properties and pages, which read a file thousands of times; under Miri, which has no kernel, the rooms that
# ask none. Needs valgrind, and a nightly toolchain with Miri; AddressSanitizer comes with the compiler, which RUSTC_BOOTSTRAP lets
# use it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PROPTEST_CASES=16
ways=${*:-valgrind address node miri}
host=$(rustc -vV | sed -n 's/^host: //p')
# A target of its own keeps the flags away from build scripts and procedural macros.
instrumented=(--target "$host" --target-dir "${CARGO_TARGET_DIR:-target}/address")

# The test binaries of the addon's rooms and of the protocol.
binaries() {
  cargo test --lib --no-run --message-format=json "$@" 2>/dev/null |
    sed -n 's/.*"profile":{[^}]*"test":true}.*"executable":"\([^"]*\)".*/\1/p'
}

# Node is built without it, so that the sanitizer's own library has to be there first. What Node and the commands do with
# signals stays theirs.
under_node() {
  local archive
  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
  archive=$(find "$(rustc --print sysroot)/lib/rustlib/$host/lib" -name 'librustc*_rt.asan.a')
  cp "$archive" "$place/asan.a"
  ar d "$place/asan.a" "$(ar t "$place/asan.a" | grep preinit)" # for executables only
  cc -shared -o "$place/runtime.so" -Wl,--whole-archive "$place/asan.a" -Wl,--no-whole-archive -lpthread -ldl -lm -lrt
  RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo build --release --lib "${instrumented[@]}"
  cp "${CARGO_TARGET_DIR:-target}/address/$host/release/liboutlive.so" "$place/outlive.node"
  local options=detect_leaks=0:log_path=$place/report signal
  for signal in segv abort sigbus sigill sigfpe; do options+=:handle_$signal=0; done
  ASAN_OPTIONS=$options LD_PRELOAD=$place/runtime.so OUTLIVE_NATIVE=$place/outlive.node node tests/conformance/run.js node ||
    { cat "$place"/report* 2>/dev/null; return 1; }
  ! compgen -G "$place/report*" >/dev/null || { cat "$place"/report*; return 1; }
}

for way in $ways; do
  echo "== $way"
  case $way in
    valgrind)
      found=$(binaries)
      [ -n "$found" ] || { echo "no test binary was built" >&2; exit 1; }
      for binary in $found; do
        valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite "$binary" --test-threads=1 --skip properties --skip pages_
      done
      ;;
    address)
      RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --lib "${instrumented[@]}"
      ;;
    node) under_node ;;
    miri)
      # Properties read the file that keeps their failures.
      export MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=4
      cargo +nightly miri test --package outlive-protocol
      # A store is opened only where the kernel says what file system it lies on.
      cargo +nightly miri test --package outlive --lib -- task:: store::records store::layout reactor::timers platform::environment --skip a_directory_is_refused
      ;;
    *) echo "neither valgrind, address, node nor miri: $way" >&2; exit 2 ;;
  esac
done
