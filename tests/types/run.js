'use strict'
// Installs the packed package into a plugin's project and compiles what its author writes, with the oldest TypeScript that is
// promised and with later ones. Every declaration file is looked into (`skipLibCheck: false`): one error in ours is one too many.
//
//     node tests/types/run.js [version]...
//
// The compilers come from npm, once, into the cache directory; the last is the one that this repository is checked with.

const { spawnSync } = require('node:child_process')
const { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } = require('node:fs')
const { homedir, tmpdir } = require('node:os')
const { join } = require('node:path')
const { ROOT, makeProject, npm } = require('../packed.js')

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'outlive-types')
const OWN = require('typescript/package.json').version
/** `using` came with 5.2. */
const WITHOUT_USING = ['4.7.4', '5.0.4']
const VERSIONS = [...WITHOUT_USING, '5.2.2', '5.9.3', OWN]

const compiler = (version) =>
  version === OWN ? join(ROOT, 'node_modules/typescript') : join(CACHE, `node_modules/typescript-${version}`)

/** Each: how a project may be set up. The `Error` of `es2018` has no `cause`, and without Node's types nothing is disposable. */
const PROJECTS = {
  'for Node': {
    lib: ['es2022'],
    module: 'node16',
    moduleResolution: 'node16',
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules/@types')],
  },
  'without types of Node': { lib: ['es2022', 'dom'], module: 'node16', moduleResolution: 'node16', types: [] },
  'with an old library': { lib: ['es2018', 'dom'], module: 'node16', moduleResolution: 'node16', types: [] },
}

function installCompilers() {
  const missing = VERSIONS.filter((version) => !existsSync(compiler(version)))
  if (missing.length === 0) return
  mkdirSync(CACHE, { recursive: true })
  // Each would put its `tsc` into the same place.
  const wanted = missing.map((version) => `typescript-${version}@npm:typescript@${version}`)
  npm(['install', '--prefix', CACHE, '--no-bin-links', ...wanted], CACHE)
}

/** Compiles; undefined, or what is wrong. */
function attempt(version, settings, project) {
  const files = WITHOUT_USING.includes(version) ? ['plugin.ts'] : ['plugin.ts', 'using.ts']
  const compilerOptions = { ...settings, target: 'es2022', strict: true, skipLibCheck: false, noEmit: true }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(compiler(version), 'bin/tsc')], {
    cwd: project,
    encoding: 'utf8',
  })
  return status === 0 ? undefined : `${stdout}${stderr}`
}

function main(names) {
  installCompilers()
  const project = mkdtempSync(join(tmpdir(), 'outlive-types-'))
  const wrong = []
  try {
    makeProject(project)
    for (const file of ['plugin.ts', 'using.ts']) copyFileSync(join(__dirname, file), join(project, file))
    for (const version of VERSIONS.filter((version) => names.length === 0 || names.includes(version))) {
      for (const [name, settings] of Object.entries(PROJECTS)) {
        const errors = attempt(version, settings, project)
        console.log(`TypeScript ${version} ${name}: ${errors === undefined ? 'compiles' : `FAILS\n${errors}`}`)
        if (errors !== undefined) wrong.push(version)
      }
    }
  } finally {
    rmSync(project, { recursive: true, force: true })
  }
  process.exitCode = wrong.length > 0 ? 1 : 0
}

main(process.argv.slice(2))
