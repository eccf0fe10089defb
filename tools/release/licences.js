'use strict'
// What the licences of the crates inside an addon ask for: their notices, in one text that goes out with it.

const { execFileSync } = require('node:child_process')
const { readFileSync, readdirSync, writeFileSync } = require('node:fs')
const { dirname, join } = require('node:path')
const { ROOT } = require('./platforms.js')

const NAME = 'THIRD-PARTY-LICENSES.txt'

/** What of Rust's library is linked besides itself; the rest of its vendored crates serves other systems. */
const OF_THE_LIBRARY = ['cfg-if', 'foldhash', 'hashbrown', 'libc', 'rustc-demangle']

/** The crates that are linked into the addon of a platform: what only runs while it is built is not. */
function linked({ triple }) {
  const args = ['metadata', '--format-version', '1', '--locked', '--filter-platform', triple]
  const options = { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'ignore'] }
  const { packages, resolve } = JSON.parse(execFileSync('cargo', args, options))
  const crates = new Map(packages.map((crate) => [crate.id, crate]))
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]))
  const found = new Set()
  const take = (id) => {
    const runsInTheCompiler = crates.get(id).targets.some(({ kind }) => kind.includes('proc-macro'))
    if (found.has(id) || runsInTheCompiler) return
    found.add(id)
    const { deps } = nodes.get(id)
    for (const { pkg, dep_kinds } of deps) if (dep_kinds.some(({ kind }) => kind === null)) take(pkg)
  }
  take(resolve.root)
  // Ours have no source: theirs is the registry.
  return [...found].map((id) => crates.get(id)).filter(({ source }) => source !== null)
}

/** The notices in a crate's folder, those of the MIT licence alone where it is offered. */
function notices(folder) {
  const names = readdirSync(folder).filter((name) => /^(licen[cs]e|copying|notice|unlicense)/i.test(name))
  const mit = names.filter((name) => /mit/i.test(name))
  return (mit.length > 0 ? mit : names).sort().map((name) => readFileSync(join(folder, name), 'utf8').trim())
}

/** A crate that says MIT and brings no text along: the text is the same for all but the line of its authors. */
function mitOf(holders) {
  const text = readFileSync(join(ROOT, 'LICENSE'), 'utf8').trim()
  return text.replace(/^Copyright .*$/m, `Copyright (c) ${holders}`)
}

function section({ name, version, license, authors, manifest_path }) {
  const found = notices(dirname(manifest_path))
  if (found.length > 0) return [`${name} ${version} (${license})`, ...found]
  if (!/\bMIT\b/.test(license ?? '')) throw new Error(`${name} ${version} is ${license}, and its text is not in it`)
  return [`${name} ${version} (MIT)`, mitOf(authors.join(', ') || `the authors of ${name}`)]
}

/** Rust's own library, compiled along from `source`. */
function librarySections(source) {
  const vendor = join(source, 'library/vendor')
  const folders = OF_THE_LIBRARY.map((name) => {
    const folder = readdirSync(vendor).find((one) => one.replace(/-\d.*$/, '') === name)
    if (folder === undefined) throw new Error(`${vendor} has no ${name}`)
    return [`${folder}, in Rust's library`, ...notices(join(vendor, folder))]
  })
  return [["Rust's library (MIT)", mitOf('The Rust Project Contributors')], ...folders]
}

/** Writes the text for a platform; `source` is that of the compiler it is built with. */
function writeLicences(platform, source) {
  const sections = [...linked(platform).map(section), ...librarySections(source)]
  const rule = `\n\n${'-'.repeat(80)}\n`
  const head = 'The addon of outlive has these in it, each under its own licence.'
  writeFileSync(
    join(platform.directory, NAME),
    `${[head, ...sections.map((parts) => parts.join('\n\n'))].join(rule)}\n`,
  )
}

module.exports = { NAME, writeLicences }
