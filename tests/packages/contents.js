'use strict'
// What may be in a tarball: what its user's program loads, the types, and the papers. Nothing that runs at installation.

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const { readdirSync, readFileSync, statSync } = require('node:fs')
const { dirname, join, relative } = require('node:path')
const { PLATFORMS } = require('../../tools/release/platforms.js')

const PAPERS = ['LICENSE', 'README.md', 'package.json']

function filesOf(directory) {
  const names = readdirSync(directory, { recursive: true })
  return names.filter((name) => statSync(join(directory, name)).isFile()).sort()
}

/** The files that a file loads, itself included. The addons beside `native.js` are the repository's, and in no tarball. */
function loadedBy(file, known = new Set()) {
  known.add(file)
  const text = file.endsWith('.js') ? readFileSync(file, 'utf8') : ''
  for (const [, name] of text.matchAll(/require\('(\.[^']+)'\)/g)) {
    const path = join(dirname(file), name)
    if (!known.has(path) && !path.endsWith('.node')) loadedBy(path, known)
  }
  return known
}

function checkMain(directory, manifest) {
  const entries = [manifest.main, ...Object.values(manifest.bin)].map((entry) => join(directory, entry))
  const loaded = entries.flatMap((entry) => [...loadedBy(entry)]).map((path) => relative(directory, path))
  assert.deepEqual(filesOf(directory), [...new Set([...loaded, 'index.d.ts', ...PAPERS])].sort())
  const pinned = PLATFORMS.map(({ name }) => [`outlive-${name}`, manifest.version])
  assert.deepEqual(manifest.optionalDependencies, Object.fromEntries(pinned))
}

function checkPlatform(directory, manifest, { addon, arch, libc }) {
  assert.deepEqual(
    filesOf(directory),
    ['LICENSE', 'THIRD-PARTY-LICENSES.txt', 'addon.js', addon, 'package.json'].sort(),
  )
  assert.ok(
    readFileSync(join(directory, 'addon.js'), 'utf8').includes(`'./${addon}'`),
    'addon.js is of another platform',
  )
  checkLicences(readFileSync(join(directory, 'THIRD-PARTY-LICENSES.txt'), 'utf8'))
  const { main, exports: entries, os, cpu, libc: libraries } = manifest
  assert.deepEqual(entries['.'], { node: `./${addon}`, default: './addon.js' })
  const libraryNames = [libc === 'gnu' ? 'glibc' : 'musl']
  assert.deepEqual({ main, os, cpu, libraries }, { main: addon, os: ['linux'], cpu: [arch], libraries: libraryNames })
}

/** A crate's name alone is no notice. */
function checkLicences(text) {
  const [, ...sections] = text.split(/^-{80}$/m)
  assert.ok(sections.length > 0, 'no licences are told')
  for (const section of sections) assert.match(section, /^\n.+\n\n\S/)
}

/** Throws when a tarball holds too much or too little; `directory` is a new one to unpack it into. */
function checkContents({ path, name }, directory) {
  execFileSync('tar', ['-xzf', path, '--strip-components=1', '-C', directory])
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
  assert.equal(manifest.name, name)
  for (const key of ['scripts', 'dependencies', 'devDependencies']) assert.equal(manifest[key], undefined, key)
  const platform = PLATFORMS.find((known) => name === `outlive-${known.name}`)
  if (platform === undefined) checkMain(directory, manifest)
  else checkPlatform(directory, manifest, platform)
}

module.exports = { checkContents, loadedBy }
