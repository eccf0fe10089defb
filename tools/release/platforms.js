'use strict'
// What is shipped: a package of its own for each platform, all built on one x86-64 machine.

const { join } = require('node:path')

const ROOT = join(__dirname, '../..')

/** The oldest glibc on which the addons load. */
const GLIBC_FLOOR = '2.17'

const platform = (arch, machine, libc) => {
  const name = `linux-${arch}-${libc}`
  const triple = `${machine}-unknown-linux-${libc}`
  const addon = `outlive.${name}.node`
  return { name, arch, libc, triple, addon, directory: join(ROOT, 'npm', name), path: join(ROOT, 'npm', name, addon) }
}

const PLATFORMS = [
  platform('x64', 'x86_64', 'gnu'),
  platform('arm64', 'aarch64', 'gnu'),
  platform('x64', 'x86_64', 'musl'),
  platform('arm64', 'aarch64', 'musl'),
]

/** Those with one of `names` in their name; all when no name is given. */
function platformsNamed(names) {
  const unknown = names.filter((name) => !PLATFORMS.some((known) => known.name.includes(name)))
  if (unknown.length > 0) throw new Error(`there is no platform "${unknown[0]}"`)
  return PLATFORMS.filter((known) => names.length === 0 || names.some((name) => known.name.includes(name)))
}

module.exports = { GLIBC_FLOOR, PLATFORMS, ROOT, platformsNamed }
