'use strict'
// Packs what goes out: a tarball for each platform, and `outlive` itself, whose package.json asks for exactly those.
//
//     node tools/release/pack.js <folder>        after tools/release/build.js
//
// Prints the paths in the order in which they must be published: `outlive` last, because it cannot be installed before
// its platforms are there.

const { execFileSync } = require('node:child_process')
const { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { dirname, join, resolve } = require('node:path')
const { check } = require('./check.js')
const { PLATFORMS, ROOT } = require('./platforms.js')
const { version } = require('./version.js')

/** What only this repository needs to know about itself. */
const ABOUT_THE_REPOSITORY = ['scripts', 'devDependencies', 'napi']

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** What `npm pack` says of a folder: its `files`, and with `into` the tarball that it made. */
function npmPack(folder, into) {
  const where = into === undefined ? ['--dry-run'] : ['--pack-destination', into]
  const said = execFileSync('npm', ['pack', folder, '--json', '--ignore-scripts', ...where], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [packed] = Object.values(JSON.parse(said))
  return packed
}

/** Packs a folder and tells `{ path, name, bytes, unpackedBytes, files }`. */
function pack(folder, into) {
  const { filename, name, size, unpackedSize, files } = npmPack(folder, into)
  return { path: join(into, filename), name, bytes: size, unpackedBytes: unpackedSize, files: files.length }
}

function packPlatform(platform, stage, into) {
  check(platform)
  cpSync(platform.directory, stage, { recursive: true })
  copyFileSync(join(ROOT, 'LICENSE'), join(stage, 'LICENSE'))
  return pack(stage, into)
}

function packMain(stage, into, pinned) {
  const manifest = readJson(join(ROOT, 'package.json'))
  for (const { path } of npmPack(ROOT).files) {
    mkdirSync(dirname(join(stage, path)), { recursive: true })
    copyFileSync(join(ROOT, path), join(stage, path))
  }
  for (const key of ABOUT_THE_REPOSITORY) delete manifest[key]
  const names = PLATFORMS.map(({ directory }) => readJson(join(directory, 'package.json')).name)
  // They do not stand in the repository: before their release they are on no registry, and `npm ci` would fail.
  manifest.optionalDependencies = Object.fromEntries(names.map((name) => [name, pinned]))
  writeFileSync(join(stage, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  return pack(stage, into)
}

/** Packs everything into a folder; the tarballs in the order in which they must be published. */
function packAll(into) {
  const pinned = version()
  mkdirSync(into, { recursive: true })
  const stages = mkdtempSync(join(tmpdir(), 'outlive-pack-'))
  try {
    const packed = PLATFORMS.map((platform) => packPlatform(platform, join(stages, platform.name), into))
    return [...packed, packMain(join(stages, 'outlive'), into, pinned)]
  } finally {
    rmSync(stages, { recursive: true })
  }
}

function main([into]) {
  if (into === undefined) throw new Error('say the folder for the tarballs')
  for (const { path } of packAll(resolve(into))) console.log(path)
}

if (require.main === module) main(process.argv.slice(2))

module.exports = { packAll }
