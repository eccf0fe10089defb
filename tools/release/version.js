'use strict'
// The version of a release, which stands in many files. Cargo and npm write that of a lockfile only when they are asked to.

const { readFileSync } = require('node:fs')
const { join, relative } = require('node:path')
const { PLATFORMS, ROOT } = require('./platforms.js')

const MANIFESTS = ['package.json', ...PLATFORMS.map(({ directory }) => join(relative(ROOT, directory), 'package.json'))]
const LOCKFILES = ['Cargo.lock', 'bench/rust/Cargo.lock', 'fuzz/Cargo.lock']

/** `[place, version]` of each that says it, that of package.json first. */
function places(root) {
  const read = (path) => readFileSync(join(root, path), 'utf8')
  const line = (path, pattern) => [path, pattern.exec(read(path))?.[1]]
  const { version, packages } = JSON.parse(read('package-lock.json'))
  const ours = (path) =>
    [...read(path).matchAll(/^name = "(outlive(?:-protocol|-supervisor)?)"\nversion = "(.*)"$/gm)].map(
      ([, name, locked]) => [`${path}, ${name}`, locked],
    )
  return [
    ...MANIFESTS.map((path) => [path, JSON.parse(read(path)).version]),
    line('Cargo.toml', /^version = "(.*)"$/m),
    line('native.js', /^const VERSION = '(.*)'$/m),
    ['package-lock.json', version],
    ['package-lock.json, outlive', packages[''].version],
    ...LOCKFILES.flatMap(ours),
  ]
}

/** The version that everything agrees on; throws with each place that says another. */
function version(root = ROOT) {
  const [[first, expected], ...others] = places(root)
  const wrong = others.filter(([, found]) => found !== expected)
  if (wrong.length > 0) {
    const told = wrong.map(([place, found]) => `\n  ${place}: ${found}`).join('')
    throw new Error(
      `${first} says ${expected}, and these another version (docs/releasing.md says what writes it):${told}`,
    )
  }
  return expected
}

module.exports = { version }
