'use strict'
// Writes the archive that a Linux kernel unpacks into its memory at boot (cpio, "newc").

const { closeSync, lstatSync, openSync, readdirSync, readFileSync, readlinkSync, writeSync } = require('node:fs')
const { join } = require('node:path')

const [DIRECTORY, DEVICE, FILE, LINK] = [0o040000, 0o020000, 0o100000, 0o120000]
const CONSOLE = { major: 5, minor: 1 }

const padding = (length) => Buffer.alloc((4 - (length % 4)) % 4)

function entry(name, { mode, content = Buffer.alloc(0), device = { major: 0, minor: 0 } }, inode) {
  const nameBytes = Buffer.from(`${name}\0`)
  const [owner, group, links, time, check] = [0, 0, 1, 0, 0]
  const fields = [inode, mode, owner, group, links, time, content.length, 0, 0, device.major, device.minor]
  const numbers = [...fields, nameBytes.length, check].map((field) => field.toString(16).padStart(8, '0'))
  const head = Buffer.concat([Buffer.from(`070701${numbers.join('')}`), nameBytes])
  return Buffer.concat([head, padding(head.length), content, padding(content.length)])
}

/** What stands under a directory, `skip` aside, as `[name, entry]`. */
function* walk(directory, skip, prefix = '') {
  for (const name of readdirSync(directory)) {
    const [path, inside] = [join(directory, name), `${prefix}${name}`]
    if (skip.test(inside)) continue
    const stat = lstatSync(path)
    if (stat.isSymbolicLink()) yield [inside, { mode: LINK | 0o777, content: Buffer.from(readlinkSync(path)) }]
    else if (stat.isDirectory()) {
      yield [inside, { mode: DIRECTORY | 0o755 }]
      yield* walk(path, skip, `${inside}/`)
    } else yield [inside, { mode: FILE | (stat.mode & 0o777), content: readFileSync(path) }]
  }
}

/** Archives a directory, with the console that the first program writes to. */
function writeArchive(directory, skip, to) {
  const file = openSync(to, 'w')
  let inode = 0
  const write = (name, what) => writeSync(file, entry(name, what, ++inode))
  write('dev', { mode: DIRECTORY | 0o755 })
  write('dev/console', { mode: DEVICE | 0o600, device: CONSOLE })
  for (const [name, what] of walk(directory, skip)) write(name, what)
  write('TRAILER!!!', { mode: 0 })
  closeSync(file)
}

module.exports = { writeArchive }
