'use strict'
// A machine with a kernel of its own, its system in memory and its tasks on a disk with ext4: it boots, runs what it is told
// to, and says what came. It is emulated, also on a processor of its own kind: where KVM is there but half of it is missing, as
// in a machine that is a guest itself, qemu dies or hangs instead of doing without.

const { execFileSync, spawn } = require('node:child_process')
const { chmodSync, cpSync, mkdirSync, statSync, symlinkSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { writeArchive } = require('./archive.js')

const MACHINES = {
  x64: { emulator: 'qemu-system-x86_64', package: 'qemu-system-x86', console: 'ttyS0', hardware: [] },
  arm64: { emulator: 'qemu-system-aarch64', package: 'qemu-system-arm', console: 'ttyAMA0', hardware: ['-M', 'virt'] },
}
/** What nobody reads there; Debian's links to it lead nowhere. */
const SKIP =
  /^(\.|usr\/share\/(doc|man|locale|lintian|bash-completion)|usr\/lib\/[^/]+-linux-gnu\/gconv|boot|.*\/(include|node_modules\/npm)$)/
/** Of a kernel's modules, those that the disk needs. */
const DRIVERS = /\/kernel\/(drivers\/(virtio\/|block\/virtio_blk)|fs\/(ext4|jbd2|mbcache)|(lib|crypto)\/(.*\/)?crc)/
/** What every kernel since 2.6.28 can mount. */
const EXT4 = 'none,has_journal,dir_index,extent,filetype,large_file,sparse_super'
const DISK_BYTES = '1G'

const INIT = (script) => `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /lib/modules/$(uname -r) && depmod
for driver in virtio_pci virtio_blk crc32c_generic ext4; do modprobe -q $driver; done
mount -t ext4 /dev/vda /tmp || poweroff -f
ln -s /proc/self/fd /dev/fd
ip link set lo up
cd /suite
echo # the firmware leaves its last line open
${script}
poweroff -f
`

function check({ emulator, package: name }) {
  try {
    execFileSync(emulator, ['--version'], { stdio: 'ignore' })
  } catch (cause) {
    throw new Error(`${emulator} is missing: apt-get install --no-install-recommends ${name}`, { cause })
  }
}

/** What `parts` and the kernel's modules make when they are laid over each other, with what runs first. */
function layOut(root, parts, modules, script) {
  for (const empty of ['proc', 'sys', 'tmp', 'usr/bin', 'usr/lib', 'usr/lib64'])
    mkdirSync(join(root, empty), { recursive: true })
  for (const link of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${link}`, join(root, link))
  for (const { from, to } of parts) cpSync(from, join(root, to), { recursive: true, verbatimSymlinks: true })
  const filter = (from) => statSync(from).isDirectory() || DRIVERS.test(from)
  if (modules !== undefined) cpSync(modules, join(root, 'usr/lib/modules'), { recursive: true, filter })
  writeFileSync(join(root, 'init'), INIT(script))
  chmodSync(join(root, 'init'), 0o755)
}

/**
 * Boots once. `parts`: directories that are laid over each other as the file system; `script`: what its first program
 * does before it switches itself off; `kernel`: its image, and the modules that it has not built in. The child process,
 * whose stdout is the console.
 */
function boot({ arch, parts, script, kernel, directory }) {
  const machine = MACHINES[arch]
  check(machine)
  const [root, archive, disk] = ['root', 'archive.cpio', 'disk'].map((name) => join(directory, name))
  layOut(root, parts, kernel.modules, script)
  writeArchive(root, SKIP, archive)
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-O', EXT4, disk, DISK_BYTES])
  const processor = ['-accel', 'tcg', '-cpu', 'max', '-smp', '2', '-m', '3072']
  const hardware = [...machine.hardware, ...processor, '-nic', 'none', '-nographic', '-no-reboot']
  const drive = ['-drive', `file=${disk},format=raw,if=virtio,cache=unsafe`]
  const command = `console=${machine.console} panic=-1 quiet`
  const args = [...hardware, ...drive, '-kernel', kernel.image, '-initrd', archive, '-append', command]
  return spawn(machine.emulator, args, { stdio: ['ignore', 'pipe', 'pipe'] })
}

module.exports = { boot }
