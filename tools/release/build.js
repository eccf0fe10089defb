'use strict'
// Builds the addon of every platform on one Linux machine with x86-64, each with its supervisor inside, and puts it into
// its package: npm/<platform>/outlive.<platform>.node.
//
//     node tools/release/build.js [platform]...          for example: arm64, musl, linux-x64-gnu
//
// zig links, so that glibc is the oldest one that is supported, whatever the machine has. The compiler and the source of
// Rust's library are Debian's, because the library is compiled along: one way for every platform. Both come into the
// cache directory, once. Needs Debian (a container will do), cargo, git, Python 3 with pip, and readelf.

const { execFileSync } = require('node:child_process')
const { copyFileSync, existsSync, mkdirSync, renameSync } = require('node:fs')
const { homedir } = require('node:os')
const { delimiter, join } = require('node:path')
const { check } = require('./check.js')
const { unpack } = require('./debian.js')
const { writeLicences } = require('./licences.js')
const { here, writeOrigin } = require('./origin.js')
const { GLIBC_FLOOR, ROOT, platformsNamed } = require('./platforms.js')

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'outlive-release')
const LINKERS = { ziglang: '0.17.1', 'cargo-zigbuild': '0.24.0' }
const TARGET_DIRECTORY = join(process.env.CARGO_TARGET_DIR || join(ROOT, 'target'), 'release-build')

/** zig, and what stands between it and cargo; the directory with both. */
function linkers() {
  const wanted = Object.entries(LINKERS).map(([name, version]) => `${name}==${version}`)
  const directory = join(CACHE, wanted.join('+'))
  if (!existsSync(directory)) {
    // Complete or not at all.
    const unfinished = `${directory}.${process.pid}`
    const quiet = ['--quiet', '--disable-pip-version-check', '--root-user-action=ignore']
    const args = ['-m', 'pip', 'install', ...quiet, '--target', unfinished, ...wanted]
    execFileSync('python3', args, { stdio: ['ignore', 'ignore', 'inherit'] })
    renameSync(unfinished, directory)
  }
  return directory
}

/** Debian's compiler with the source of the library; the directory that stands for `/`. */
function compiler() {
  const target = join(CACHE, 'rust')
  const packages = (dependencies) => {
    const library = dependencies('libstd-rust-web-dev').filter((name) => /^libstd-rust-web-\d/.test(name))
    const llvm = library.flatMap(dependencies).filter((name) => /^libllvm/.test(name))
    return ['rustc-web', 'rust-web-src', 'libstd-rust-web-dev', ...library, ...llvm]
  }
  unpack({ target, packages })
  return target
}

function environment(platform) {
  const [tools, rust] = [linkers(), compiler()]
  const cargoHome = process.env.CARGO_HOME || join(homedir(), '.cargo')
  // Nobody is to read in a panic's message where this was built.
  const places = {
    [join(cargoHome, 'registry/src')]: 'crates',
    [join(rust, 'usr/lib/rustlib/src/rust')]: 'rust',
    [ROOT]: 'outlive',
  }
  const flags = Object.entries(places).map(([from, to]) => `--remap-path-prefix=${from}=${to}`)
  // An addon is loaded into a host that has its C library already.
  if (platform.libc === 'musl') flags.push('-Ctarget-feature=-crt-static', '-Clink-self-contained=no')
  return {
    ...process.env,
    PATH: [join(tools, 'bin'), process.env.PATH].join(delimiter),
    CARGO_ZIGBUILD_ZIG_PATH: join(tools, 'ziglang/zig'),
    RUSTC: join(rust, 'usr/bin/rustc'),
    LD_LIBRARY_PATH: join(rust, 'usr/lib/x86_64-linux-gnu'),
    // Compiling the library is not a stable feature; nothing else that is unstable is used.
    RUSTC_BOOTSTRAP: '1',
    CARGO_UNSTABLE_BUILD_STD: 'std,panic_unwind',
    // Without backtraces, which would find no symbols in a stripped addon: that is a seventh of its size.
    CARGO_UNSTABLE_BUILD_STD_FEATURES: 'panic-unwind',
    CARGO_ENCODED_RUSTFLAGS: flags.join('\u001f'),
  }
}

function build(platform) {
  const target = platform.libc === 'gnu' ? `${platform.triple}.${GLIBC_FLOOR}` : platform.triple
  const args = ['zigbuild', '--release', '--locked', '--quiet', '--target', target, '--target-dir', TARGET_DIRECTORY]
  execFileSync('cargo-zigbuild', args, {
    cwd: ROOT,
    env: environment(platform),
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  copyFileSync(join(TARGET_DIRECTORY, platform.triple, 'release/liboutlive.so'), platform.path)
}

function main(names) {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('releases are built on Linux with x86-64')
  mkdirSync(CACHE, { recursive: true })
  for (const platform of platformsNamed(names)) {
    // Before the build: what is changed during it may be in the addon or not.
    const origin = here()
    build(platform)
    writeOrigin(platform, origin)
    writeLicences(platform, join(compiler(), 'usr/lib/rustlib/src/rust'))
    const { bytes, floor } = check(platform)
    console.log(`${platform.name.padEnd(18)} ${String(bytes).padStart(8)} bytes  ${floor}`)
  }
}

main(process.argv.slice(2))
