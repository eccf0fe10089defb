'use strict'
// What an addon was built from, written beside it and into no tarball. An addon is refused that says nothing of this, or
// was built from anything else than what lies here now: it would go out, or be tested, under a name that is not its own.

const { execFileSync } = require('node:child_process')
const { createHash } = require('node:crypto')
const { existsSync, readFileSync, readdirSync, statSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { ROOT } = require('./platforms.js')
const { version } = require('./version.js')

const NAME = 'built-from.json'

/** Everything that makes an addon and its notices. What else there is in the repository may change after a build. */
const SOURCES = ['Cargo.lock', 'Cargo.toml', 'build.rs', 'protocol', 'src', 'supervisor'].concat(
  ['build.js', 'debian.js', 'licences.js', 'platforms.js'].map((name) => join('tools/release', name)),
)

const digest = (content) => createHash('sha256').update(content).digest('hex')

function filesIn(root, path) {
  if (!statSync(join(root, path)).isDirectory()) return [path]
  const inside = readdirSync(join(root, path), { recursive: true }).map((name) => join(path, name))
  return inside.filter((file) => statSync(join(root, file)).isFile())
}

/** One value for all sources as they lie there: a commit alone would not know of what is not committed. */
function fingerprint(root = ROOT) {
  const files = SOURCES.flatMap((path) => filesIn(root, path)).sort()
  return digest(files.map((file) => `${digest(readFileSync(join(root, file)))} ${file}\n`).join(''))
}

/** The commit that is checked out, for people; with `-dirty` behind it when something has been changed since. */
function commit() {
  // In a container the repository belongs to somebody else.
  const args = ['-c', 'safe.directory=*', 'describe', '--always', '--exclude=*', '--abbrev=40', '--dirty']
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim()
}

/** `{ version, commit, sources }` of what lies here. */
function here() {
  return { version: version(), commit: commit(), sources: fingerprint() }
}

/** Writes beside a built addon what it was built from; `origin` is what `here` said before the build. */
function writeOrigin({ directory, path }, origin) {
  const text = JSON.stringify({ ...origin, addon: digest(readFileSync(path)) }, null, 2)
  writeFileSync(join(directory, NAME), `${text}\n`)
}

function readStamp(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined // torn
  }
}

const told = ({ version, commit, sources }) => `version ${version}, commit ${commit}, sources ${sources.slice(0, 12)}`

/** What is wrong with where an addon comes from: nothing, or one sentence. */
function strangeOrigin({ directory, path }, expected = here()) {
  const stamp = join(directory, NAME)
  if (!existsSync(stamp)) return [`${NAME} is not beside it, which tools/release/build.js writes`]
  const found = readStamp(stamp)
  if (found === undefined) return [`${NAME} beside it cannot be read: run tools/release/build.js`]
  if (found.addon !== digest(readFileSync(path))) return [`it is another addon than the one that ${NAME} is about`]
  if (found.version === expected.version && found.sources === expected.sources) return []
  return [`it was built from ${told(found)}; here is ${told(expected)}: run tools/release/build.js`]
}

module.exports = { fingerprint, here, strangeOrigin, writeOrigin }
