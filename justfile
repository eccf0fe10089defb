# What a change must pass: the same as CI.
ready:
    .ci/run

# The addon of this machine, and its generated types.
build:
    npm run build

# Everything that is quick: types, style, format, lints.
check:
    npm run check

# Rust tests, then Jest; `just test kill` runs what has "kill" in its name.
test name="":
    cargo test {{name}}
    npx jest {{name}}

# Kills hosts, supervisors and workers at random moments; a failure names the seed that repeats it.
torture minutes="10" seed="1":
    TORTURE_MINUTES={{minutes}} TORTURE_SEED={{seed}} npx jest torture --maxWorkers=3

# 10 000 tasks under hosts that are killed, 1000 at once, 100 MB/s of output: what it took and what came back.
load:
    LOAD=full npx jest load

# Breaks each promise in a copy of the repository, and sees whether its test notices.
mutants *names:
    node tests/mutants/run.js {{names}}

# Puts JavaScript and Rust into their one format.
format:
    npx biome check --write .
    cargo fmt --all

# What the parts cost that start no process: states, records, pages, replay.
bench-rust:
    cargo bench --manifest-path bench/rust/Cargo.toml

# The same promises under every runtime; others than those installed here come from npm, into ~/.cache.
runtimes:
    node tests/conformance/run.js node@18 node@20 node@22 node@24 node@26 bun@1.3.14 bun deno

# A plugin compiles with the oldest TypeScript and with later ones, which come from npm, into ~/.cache.
types *versions:
    node tests/types/run.js {{versions}}

# A plugin bundled by each bundler runs in an empty folder; the bundlers come from npm, into ~/.cache.
bundlers *names:
    node tests/bundlers/run.js {{names}}

# Real clients with the plugins of examples/, end to end, then every runtime, bundler and test runner, and one table of it all.
# VS Code needs a gigabyte, and Debian's chromium.
clients *names="all":
    node tests/table.js {{names}}

# The addon of every platform, built on this one machine into npm/; what it needs comes into ~/.cache.
release-build *platforms:
    node tools/release/build.js {{platforms}}

# What goes out, installed by each package manager from a registry on this machine. After release-build.
packages *names:
    node tests/packages/run.js {{names}}

# The conformance suite with an older glibc, with musl, and on arm64 with a kernel of its own. As root, after release-build.
platforms *names:
    node tests/platforms/run.js {{names}}

# A plugin author's tests under Vitest, Jest, `node --test`, `deno test` and `bun test`; the runners come from npm, into ~/.cache.
runners *names:
    node tests/runners/run.js {{names}}

# Each fuzz target for so long, from the records in tests/formats on; docs/fuzzing.md says what it needs.
fuzz seconds="60" *targets:
    fuzz/run.sh {{seconds}} {{targets}}

# Every memory access looked at: `just sanitize valgrind`, `address` and `miri` the Rust tests, `just sanitize node` Node's.
sanitize *ways:
    tools/sanitize.sh {{ways}}

# Licences, sources and duplicates of what we build with, then known vulnerabilities, which are asked of the network.
audit:
    cargo deny check licenses bans sources
    cargo deny check advisories
    npm audit
