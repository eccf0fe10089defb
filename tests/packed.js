'use strict'
// The packages of this machine's platform as a registry would give them, with the addon that `npm run build` made, and npm itself.

const { execFileSync } = require('node:child_process')
const { copyFileSync, cpSync, readdirSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')

const ROOT = join(__dirname, '..')
const PLATFORM = `linux-${process.arch}-gnu`

function npm(args, cwd) {
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error']
  execFileSync('npm', [...args, ...quiet], { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
}

/** Packs `outlive` and its platform into a folder that has no tarballs; their paths. */
function pack(folder) {
  const platform = join(folder, 'platform')
  const addon = `outlive.${PLATFORM}.node`
  cpSync(join(ROOT, 'npm', PLATFORM), platform, { recursive: true })
  copyFileSync(join(ROOT, addon), join(platform, addon))
  npm(['pack', ROOT, platform], folder)
  const tarballs = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  return tarballs.map((name) => join(folder, name))
}

/** Makes an empty folder a plugin's project that has them installed. */
function makeProject(folder) {
  const tarballs = pack(folder)
  writeFileSync(join(folder, 'package.json'), '{ "name": "plugin", "private": true }')
  npm(['install', '--offline', ...tarballs], folder)
}

module.exports = { PLATFORM, ROOT, makeProject, npm, pack }
