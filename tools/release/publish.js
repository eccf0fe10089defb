'use strict'
// Publishes what tools/release/pack.js packed: the platforms first, `outlive` last, because it cannot be installed before
// they are there. What the registry has already is left alone, so that a run that broke off can be repeated.
//
//     node tools/release/publish.js <folder of tarballs> [tag]
//
// `tag`: the git tag that is being released, which must name the packed version. Registry, identity and provenance are
// npm's settings.

const { execFileSync, spawnSync } = require('node:child_process')
const { readdirSync } = require('node:fs')
const { resolve } = require('node:path')

/** `[{ path, name, version }]` in the order of publishing. */
function tarballs(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  const found = names.map((file) => {
    const [, name, version] = /^(.*?)-(\d.*)\.tgz$/.exec(file)
    // Absolute: npm takes `packed/x.tgz` for a repository on GitHub.
    return { path: resolve(folder, file), name, version }
  })
  return [...found.filter(({ name }) => name !== 'outlive'), ...found.filter(({ name }) => name === 'outlive')]
}

/** Does the registry have this version? An answer that is neither yes nor no is an error. */
function isThere({ name, version }) {
  const asked = spawnSync('npm', ['view', `${name}@${version}`, 'version', '--json'], { encoding: 'utf8' })
  if (asked.status === 0) return asked.stdout.trim() !== ''
  if (asked.stdout.includes('E404')) return false
  throw new Error(`npm view ${name}@${version}: ${asked.stdout}${asked.stderr}`)
}

/** Who installs without a version gets no pre-release: npm publishes none without a tag of its own. */
const tagOf = ({ version }) => (version.includes('-') ? ['--tag', 'next'] : [])

function main([folder, tag]) {
  if (folder === undefined) throw new Error('say the folder of the tarballs')
  const all = tarballs(folder)
  if (all.at(-1)?.name !== 'outlive') throw new Error(`there is no outlive in ${folder}`)
  for (const { path, version } of all) {
    if (tag !== undefined && tag !== `v${version}`) throw new Error(`${path} is not the version of ${tag}`)
  }
  for (const one of all) {
    if (isThere(one)) console.log(`${one.name}@${one.version} is there`)
    else execFileSync('npm', ['publish', one.path, '--access', 'public', ...tagOf(one)], { stdio: 'inherit' })
  }
}

main(process.argv.slice(2))
