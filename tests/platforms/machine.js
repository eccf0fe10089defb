'use strict'
// A machine of another architecture with a kernel of its own, in memory: it boots, runs what it is told to, and says what
// came.

const { execFileSync, spawn } = require('node:child_process')
const { chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { writeArchive } = require('./archive.js')

const EMULATOR = 'qemu-system-aarch64'
/** What nobody reads there; Debian's links to it lead nowhere. */
const SKIP =
  /^(\.|usr\/share\/(doc|man|locale|lintian|bash-completion)|usr\/lib\/aarch64-linux-gnu\/gconv|boot|.*\/(include|node_modules\/npm)$)/

const INIT = (script) => `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ln -s /proc/self/fd /dev/fd
ip link set lo up
cd /suite
${script}
poweroff -f
`

function checkEmulator() {
  try {
    execFileSync(EMULATOR, ['--version'], { stdio: 'ignore' })
  } catch (cause) {
    throw new Error(`${EMULATOR} is missing: apt-get install --no-install-recommends qemu-system-arm`, { cause })
  }
}

/**
 * Boots once. `parts`: directories that are laid over each other as the file system; `script`: what its first program
 * does before it switches itself off. The child process, whose stdout is the console.
 */
function boot({ parts, script, kernel, directory }) {
  checkEmulator()
  const root = join(directory, 'root')
  for (const empty of ['proc', 'sys', 'tmp', 'usr/bin', 'usr/lib']) mkdirSync(join(root, empty), { recursive: true })
  for (const link of ['bin', 'lib']) symlinkSync(`usr/${link}`, join(root, link))
  for (const { from, to } of parts) cpSync(from, join(root, to), { recursive: true, verbatimSymlinks: true })
  writeFileSync(join(root, 'init'), INIT(script))
  chmodSync(join(root, 'init'), 0o755)
  const archive = join(directory, 'archive.cpio')
  writeArchive(root, SKIP, archive)
  const hardware = ['-M', 'virt', '-cpu', 'max', '-smp', '2', '-m', '3072', '-nic', 'none', '-nographic', '-no-reboot']
  const command = 'console=ttyAMA0 panic=-1 quiet'
  const args = [...hardware, '-kernel', kernel, '-initrd', archive, '-append', command]
  return spawn(EMULATOR, args, { stdio: ['ignore', 'pipe', 'pipe'] })
}

module.exports = { boot }
