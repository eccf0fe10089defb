'use strict'
// What a built addon must be before it goes out, read from the file itself.

const { execFileSync } = require('node:child_process')
const { existsSync, readFileSync } = require('node:fs')
const { join } = require('node:path')
const { NAME: LICENCES } = require('./licences.js')
const { strangeOrigin } = require('./origin.js')
const { GLIBC_FLOOR } = require('./platforms.js')

const LARGEST = 1_430_000
const MACHINES = { x64: 62, arm64: 183 }
const EXECUTABLE = 2
const LIBRARIES = {
  gnu: /^(libc\.so\.6|libpthread\.so\.0|libdl\.so\.2|libm\.so\.6|ld-linux-[a-z0-9-]+\.so\.[12])$/,
  musl: /^libc\.so$/,
}

const readelf = (option, path) => execFileSync('readelf', ['-W', option, path], { encoding: 'utf8' }).split('\n')

/** `{ name, isWeak, version }` of each symbol that the host must bring along. */
function wanted(path) {
  return readelf('--dyn-syms', path)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , , , , section, name]) => section === 'UND' && name !== undefined)
    .map(([, , , , binding, , , symbol]) => {
      const [name, version] = symbol.split(/@+/)
      return { name, isWeak: binding === 'WEAK', version }
    })
}

/** Is version `a` newer than `b`? By numbers: 2.4 is older than 2.17. */
function isNewer(a, b) {
  return a.localeCompare(b, 'en', { numeric: true }) > 0
}

/** The newest glibc that some symbol asks for. */
function glibcOf(symbols) {
  const versions = symbols.map(({ version }) => /^GLIBC_([\d.]+)$/.exec(version ?? '')?.[1]).filter(Boolean)
  return versions.reduce((newest, version) => (isNewer(version, newest) ? version : newest), '0')
}

function hasSupervisor(content, arch) {
  for (let at = content.indexOf('\u007fELF', 1); at !== -1; at = content.indexOf('\u007fELF', at + 1)) {
    if (content.readUInt16LE(at + 16) === EXECUTABLE && content.readUInt16LE(at + 18) === MACHINES[arch]) return true
  }
  return false
}

function faults(platform, content, symbols) {
  const { path, arch, libc, directory } = platform
  const found = strangeOrigin(platform)
  if (!existsSync(join(directory, LICENCES))) found.push(`${LICENCES} is not beside it`)
  const libraries = readelf('-d', path)
    .map((line) => /\(NEEDED\).*\[(.*)\]/.exec(line)?.[1])
    .filter(Boolean)
  for (const library of libraries) if (!LIBRARIES[libc].test(library)) found.push(`it needs ${library}`)
  if (content.readUInt16LE(18) !== MACHINES[arch]) found.push(`it is not for ${arch}`)
  if (!hasSupervisor(content, arch)) found.push('there is no supervisor in it')
  if (content.includes('OUTLIVE_FAILPOINTS')) found.push('it has the failpoints of the tests')
  if (content.length > LARGEST) found.push(`it has ${content.length} bytes, more than ${LARGEST}`)
  if (libc === 'gnu') {
    const glibc = glibcOf(symbols)
    if (isNewer(glibc, GLIBC_FLOOR)) found.push(`it asks for glibc ${glibc}, newer than ${GLIBC_FLOOR}`)
    // zig's oldest glibc does not have them, and lets them pass all the same: the loader of such a glibc would not.
    for (const { name, isWeak, version } of symbols) {
      if (!isWeak && version === undefined) found.push(`${name} is in no glibc ${GLIBC_FLOOR}`)
    }
  }
  return found
}

/** Throws when the addon of a platform is not fit to go out; tells its size and what it asks of the C library. */
function check(platform) {
  if (!existsSync(platform.path)) throw new Error(`${platform.path} is not there: run tools/release/build.js first`)
  const content = readFileSync(platform.path)
  const symbols = wanted(platform.path)
  const found = faults(platform, content, symbols)
  if (found.length > 0) throw new Error(`${platform.path}:\n  ${found.join('\n  ')}`)
  const floor = platform.libc === 'gnu' ? `glibc ${glibcOf(symbols)}` : 'musl'
  return { bytes: content.length, floor }
}

module.exports = { check }
