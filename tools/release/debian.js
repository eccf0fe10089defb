'use strict'
// Files out of Debian's packages, unpacked into a folder: nothing is installed, and the machine's apt is left as it is.

const { execFileSync } = require('node:child_process')
const { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')

const COMPLETE = '.complete'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

function run(program, args, options = {}) {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options })
}

/** Where this machine gets Debian's packages from. */
function mirror() {
  const lines = run('apt-get', ['indextargets', '--format', '$(ORIGIN) $(REPO_URI)', 'Created-By: Packages']).split(
    '\n',
  )
  const uri = lines.map((line) => /^Debian (http\S*\/debian\/?)$/.exec(line)?.[1]).find((found) => found !== undefined)
  if (uri === undefined) throw new Error('apt knows no mirror of Debian: run this on Debian, after "apt-get update"')
  return uri
}

/** An apt with lists of its own, which needs no root, and with another release or architecture: `APT_CONFIG` for it. */
function ownApt(home, suite, arch) {
  const settings = {
    'APT::Sandbox::User': 'root',
    'Dir::State': home,
    'Dir::State::lists': join(home, 'lists'),
    'Dir::State::status': join(home, 'status'),
    'Dir::Cache': join(home, 'cache'),
  }
  for (const part of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(home, part), { recursive: true })
  writeFileSync(join(home, 'status'), '')
  if (suite !== undefined) {
    writeFileSync(join(home, 'sources.list'), `deb [signed-by=${KEYRING}] ${mirror()} ${suite} main\n`)
    settings['Dir::Etc::sourcelist'] = join(home, 'sources.list')
    settings['Dir::Etc::sourceparts'] = '/dev/null'
    settings['APT::Architecture'] = arch
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`)
  if (suite !== undefined) lines.push(`APT::Architectures { "${arch}"; };\n`)
  writeFileSync(join(home, 'apt.conf'), lines.join(''))
  return join(home, 'apt.conf')
}

/**
 * Unpacks packages into `target`, which is there complete or not at all. Without `suite` and `arch` they are those of this
 * machine. `packages` may be a function: it gets what tells the dependencies of a package.
 */
function unpack({ target, packages, suite, arch }) {
  if (existsSync(join(target, COMPLETE))) return
  rmSync(target, { recursive: true, force: true })
  const [debs, home] = ['.debs', '.apt'].map((name) => join(target, name))
  mkdirSync(debs, { recursive: true })
  mkdirSync(home)
  const env = { ...process.env, APT_CONFIG: ownApt(home, suite, arch) }
  run('apt-get', ['update', '-q'], { env })
  const names = typeof packages === 'function' ? packages((name) => dependencies(name, env)) : packages
  run('apt-get', ['download', '-q', ...names], { env, cwd: debs })
  for (const deb of readdirSync(debs)) run('dpkg', ['-x', join(debs, deb), target])
  for (const leftover of [debs, home]) rmSync(leftover, { recursive: true })
  writeFileSync(join(target, COMPLETE), '')
}

function dependencies(name, env) {
  const lines = run('apt-cache', ['depends', name], { env }).split('\n')
  return lines.map((line) => /Depends: (\S+)/.exec(line)?.[1] ?? '')
}

module.exports = { unpack }
