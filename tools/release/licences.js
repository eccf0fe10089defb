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

/** What a crate's licence asks for, under a heading; `origin` is where it is from, when not from the registry. */
function section({ name, version, license, authors, manifest_path }, origin = '') {
  const found = notices(dirname(manifest_path))
  const holders = authors.join(', ') || `the authors of ${name}`
  if (found.length > 0) return [`${name} ${version}${origin} (${license})`, ...found]
  // It asks for its notice in the source, and for none beside what is compiled from it.
  if (license === 'Zlib') return [`${name} ${version}${origin} (Zlib)`, `Copyright (c) ${holders}`]
  if (!/\bMIT\b/.test(license ?? '')) throw new Error(`${name} ${version} is ${license}, and its text is not in it`)
  return [`${name} ${version}${origin} (MIT)`, mitOf(holders)]
}

/** A crate as `cargo metadata`, which does not know those of Rust's library, would tell it. */
function crateIn(folder) {
  const manifest_path = join(folder, 'Cargo.toml')
  const manifest = readFileSync(manifest_path, 'utf8')
  const [name, version, license] = ['name', 'version', 'license'].map(
    (key) => new RegExp(`^${key} = "(.*)"$`, 'm').exec(manifest)?.[1],
  )
  const [, list = ''] = /^authors = \[([^\]]*)\]/m.exec(manifest) ?? []
  const authors = [...list.matchAll(/"([^"]*)"/g)].map(([, author]) => author)
  return { name, version, license, authors, manifest_path }
}

/** Rust's own library, compiled along from `source`, in which Debian leaves no text of a licence beside a crate. */
function librarySections(source) {
  const vendor = join(source, 'library/vendor')
  const sections = OF_THE_LIBRARY.map((name) => {
    const folder = readdirSync(vendor).find((one) => one.replace(/-\d.*$/, '') === name)
    if (folder === undefined) throw new Error(`${vendor} has no ${name}`)
    return section(crateIn(join(vendor, folder)), ", in Rust's library")
  })
  return [["Rust's library (MIT)", mitOf('The Rust Project Contributors')], ...sections]
}

/** Writes the text for a platform; `source` is that of the compiler it is built with. */
function writeLicences(platform, source) {
  const ours = linked(platform).map((crate) => section(crate))
  const sections = [...ours, ...librarySections(source)]
  const rule = `\n\n${'-'.repeat(80)}\n`
  const head = 'The addon of outlive has these in it, each under its own licence.'
  writeFileSync(
    join(platform.directory, NAME),
    `${[head, ...sections.map((parts) => parts.join('\n\n'))].join(rule)}\n`,
  )
}

module.exports = { NAME, writeLicences }
