#!/usr/bin/env bash
# sanitize.sh [valgrind] [address]: the Rust tests with each memory access looked at. Under valgrind without properties and pages,
# which read a file thousands of times. Needs valgrind; AddressSanitizer comes with the compiler, which RUSTC_BOOTSTRAP lets use it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PROPTEST_CASES=16
ways=${*:-valgrind address}

# The test binaries of the addon's rooms and of the protocol.
binaries() {
  cargo test --lib --no-run --message-format=json "$@" 2>/dev/null |
    sed -n 's/.*"profile":{[^}]*"test":true}.*"executable":"\([^"]*\)".*/\1/p'
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
      # A target of its own keeps the flags away from build scripts and procedural macros.
      RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
        cargo test --lib --target "$(rustc -vV | sed -n 's/^host: //p')" --target-dir "${CARGO_TARGET_DIR:-target}/address"
      ;;
    *) echo "neither valgrind nor address: $way" >&2; exit 2 ;;
  esac
done
