'use strict'
// Lays out packed packages as a package manager would, with the conformance suite beside them: what runs there has the
// tarballs and nothing else of this repository.
//
//     node tests/platforms/suite.js <folder of tarballs> <folder to make>
//     node <folder to make>/tests/conformance/run.js node

const { execFileSync } = require('node:child_process')
const { cpSync, mkdirSync, readdirSync } = require('node:fs')
const { join, relative } = require('node:path')
const { loadedBy } = require('../packages/contents.js')

const ROOT = join(__dirname, '../..')
const CONFORMANCE = join(ROOT, 'tests/conformance')

function makeSuite(packed, directory) {
  for (const tarball of readdirSync(packed).filter((name) => name.endsWith('.tgz'))) {
    const name = tarball.replace(/-\d.*$/, '')
    const place = join(directory, 'node_modules', name)
    mkdirSync(place, { recursive: true })
    execFileSync('tar', ['-xzf', join(packed, tarball), '--strip-components=1', '-C', place])
  }
  // Its processes name each other's files; what one of them requires from elsewhere comes along too.
  const required = readdirSync(CONFORMANCE).flatMap((name) => [...loadedBy(join(CONFORMANCE, name))])
  for (const path of new Set(required)) cpSync(path, join(directory, relative(ROOT, path)), { recursive: true })
}

if (require.main === module) makeSuite(...process.argv.slice(2))

module.exports = { makeSuite }
