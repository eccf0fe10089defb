#!/usr/bin/env bash
# run.sh [seconds] [target]: each fuzz target for so long, from the records in tests/formats and from what earlier runs kept.
# Needs cargo-fuzz (`cargo install cargo-fuzz`) and a C++ compiler. The stable compiler does: RUSTC_BOOTSTRAP lets it take -Z flags.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
targets=${2:-orders records}
export RUSTC_BOOTSTRAP=1

# The records stand in memory where there is a file system for that.
TMPDIR=$(mktemp -d "$([ -d /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")/outlive-fuzz.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

mkdir -p fuzz/seeds/orders fuzz/seeds/records
printf 'kill 15 2000\n' >fuzz/seeds/orders/kill
printf 'kill 9 0\nkill 64 18446744073709551615\nstop\n' >fuzz/seeds/orders/several
for task in tests/formats/*/*/; do
  seed=fuzz/seeds/records/$(echo "${task#tests/formats/}" | tr / -)
  : >"$seed"
  for file in task.json started.json ended.json closed.json dropped.json; do
    [ -e "$task$file" ] && cat "$task$file" >>"$seed"
    printf '\377' >>"$seed"
  done
  head -c 4096 "$task"stdout >>"$seed" 2>/dev/null || true
done

for target in $targets; do
  echo "== $target, $seconds s"
  mkdir -p "fuzz/corpus/$target"
  cargo fuzz run "$target" --sanitizer "${SANITIZER:-address}" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -max_len=8192 -print_final_stats=1
done
