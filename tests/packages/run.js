'use strict'
// Publishes the packed packages to a registry of its own, installs `outlive` from there with each package manager into a
// fresh folder, and runs ten lines of TypeScript: a task spawned, ended, told. Then lints the package, and tells what is in it.
//
//     node tests/packages/run.js [name]...        after tools/release/build.js
//
// The managers come from npm, once, into the cache directory. Their own caches are fresh ones: the same version was
// packed with other contents before.

const { execFileSync, spawnSync } = require('node:child_process')
const {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} = require('node:fs')
const { homedir, tmpdir } = require('node:os')
const { join } = require('node:path')
const { packAll } = require('../../tools/release/pack.js')
const { checkContents } = require('./contents.js')
const { startRegistry } = require('./registry.js')

const ROOT = join(__dirname, '../..')
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'outlive-packages')
const VERSIONS = {
  verdaccio: '6.4.0',
  pnpm: '12.21.0',
  yarn: '1.22.22',
  '@yarnpkg/cli-dist': '4.18.1',
  bun: '1.4.5',
  typescript: '5.9.3',
  publint: '0.3.25',
  '@arethetypeswrong/cli': '0.18.5',
}
// verdaccio asks for it by a tag, and not every mirror of the registry has tags.
const OVERRIDES = { 'node-fetch': '2.7.0' }
const LIMIT_MS = 120_000
const TOLD = { isOurs: true, status: 'failed', exitCode: 3, outputPreview: 'from the package\n' }
const PRE_RELEASE = '99.0.0-rc.1'
const OURS = `outlive-linux-${process.arch}-gnu`

const NODE = process.execPath
const inCache = (path) => join(CACHE, 'node_modules', path)
const YARN_1 = [NODE, inCache('yarn/bin/yarn.js')]
const YARN_4 = [NODE, inCache('@yarnpkg/cli-dist/bin/yarn.js')]
const PNPM = [inCache('.bin/pnpm')]
const BUN = [inCache('.bin/bun')]

/**
 * Each: how it installs and how the plugin is then run. `brings`: the platform packages that lie there afterwards, where
 * it is not just ours. `isPnp`: there is no node_modules. `says`: what cannot work, and must say so.
 */
const MANAGERS = {
  npm: { version: ['npm', '--version'], install: ['npm', 'install', 'outlive'] },
  pnpm: { version: [...PNPM, '--version'], install: [...PNPM, 'add', 'outlive'] },
  'Yarn 1': {
    version: [...YARN_1, '--version'],
    install: [...YARN_1, 'add', 'outlive', '--no-progress'],
    // It knows `os` and `cpu`, and nothing of `libc`.
    brings: [OURS, OURS.replace('gnu', 'musl')],
  },
  'Yarn 4, Plug’n’Play': {
    version: [...YARN_4, '--version'],
    install: [...YARN_4, 'add', 'outlive'],
    run: [...YARN_4, 'node', 'plugin.js'],
    isPnp: true,
  },
  'Yarn 4, node_modules': {
    version: [...YARN_4, '--version'],
    install: [...YARN_4, 'add', 'outlive'],
    linker: 'node-modules',
  },
  'Bun, and Node runs it': { version: [...BUN, '--version'], install: [...BUN, 'add', 'outlive'] },
  'Bun, and Bun runs it': {
    version: [...BUN, '--version'],
    install: [...BUN, 'add', 'outlive'],
    run: [...BUN, 'plugin.ts'],
  },
  'npm without optional packages': {
    version: ['npm', '--version'],
    install: ['npm', 'install', '--omit=optional', 'outlive'],
    brings: [],
    says: /no addon for linux-\S+ could be loaded[\s\S]*optional dependency/,
  },
}

function installTools() {
  const manifest = JSON.stringify({ private: true, dependencies: VERSIONS, overrides: OVERRIDES })
  const mark = join(CACHE, 'installed')
  if (existsSync(mark) && readFileSync(mark, 'utf8') === manifest) return
  mkdirSync(CACHE, { recursive: true })
  writeFileSync(join(CACHE, 'package.json'), manifest)
  const args = ['install', '--prefix', CACHE, '--no-audit', '--no-fund', '--loglevel=error']
  execFileSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  writeFileSync(mark, manifest)
}

/** A plugin's folder with nothing in it but the plugin. */
function makeProject(project, url, linker) {
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{ "name": "plugin", "private": true, "type": "module" }')
  writeFileSync(join(project, '.npmrc'), `registry=${url}\n`)
  writeFileSync(join(project, 'bunfig.toml'), `[install]\nregistry = "${url}"\n`)
  // An empty lockfile: Yarn takes the folder for a project of its own.
  if (linker !== undefined) writeFileSync(join(project, 'yarn.lock'), '')
  copyFileSync(join(__dirname, 'plugin.ts'), join(project, 'plugin.ts'))
  const { ModuleKind, ScriptTarget, transpileModule } = require(inCache('typescript'))
  const compilerOptions = { module: ModuleKind.ESNext, target: ScriptTarget.ES2022 }
  const { outputText } = transpileModule(readFileSync(join(__dirname, 'plugin.ts'), 'utf8'), { compilerOptions })
  writeFileSync(join(project, 'plugin.js'), outputText)
}

/** The managers' settings, with caches that nobody has used. */
function environment(base, url, linker) {
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|YARN_|BUN_|PNPM_|NODE_OPTIONS$)/i.test(name))
  return {
    ...Object.fromEntries(kept),
    CI: '1',
    HOME: base,
    XDG_DATA_HOME: join(base, 'data'),
    XDG_CACHE_HOME: join(base, 'cache'),
    npm_config_cache: join(base, 'npm-cache'),
    npm_config_registry: url,
    BUN_INSTALL_CACHE_DIR: join(base, 'bun-cache'),
    YARN_CACHE_FOLDER: join(base, `yarn-cache-${linker ?? 1}`),
    ...(linker === undefined
      ? {}
      : {
          YARN_NPM_REGISTRY_SERVER: url,
          YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
          YARN_NODE_LINKER: linker,
          YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
          YARN_ENABLE_TELEMETRY: '0',
          // The packages were published a moment ago.
          YARN_NPM_MINIMAL_AGE_GATE: '0',
        }),
  }
}

/** The platform packages that lie in a project, wherever its manager puts them. */
function platformPackages(project) {
  const found = new Set()
  for (const name of readdirSync(project, { recursive: true })) {
    const match = /^outlive\.(linux-[a-z0-9-]+)\.node$/.exec(name.split('/').at(-1))
    if (match) found.add(`outlive-${match[1]}`)
  }
  return [...found].sort()
}

function typeErrors(project) {
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node']
  const typeRoots = ['--typeRoots', join(ROOT, 'node_modules/@types')]
  const args = [inCache('typescript/lib/tsc.js'), ...options, ...typeRoots, 'plugin.ts']
  const checked = spawnSync(NODE, args, { cwd: project, encoding: 'utf8' })
  return checked.status === 0 ? undefined : `its types: ${checked.stdout}`
}

/** Installs and runs; undefined, or what is wrong. */
function attempt({ install, run = [NODE, 'plugin.js'], brings = [OURS], isPnp, says }, project, env) {
  const call = ([program, ...args]) =>
    spawnSync(program, args, { cwd: project, env, encoding: 'utf8', timeout: LIMIT_MS, input: '' })
  const installed = call(install)
  if (installed.status !== 0)
    return `it does not install:\n${installed.error ?? ''}${installed.stdout}${installed.stderr}`
  const there = platformPackages(project)
  if (there.join() !== [...brings].sort().join()) return `it brings ${there.join()}, not ${brings.join()}`
  const ran = call([...run, join(project, 'store')])
  const said = `${ran.stdout}${ran.stderr}`
  if (says !== undefined) return says.test(said) ? undefined : `it does not say ${says}:\n${said}`
  if (ran.status !== 0 || ran.stdout.trim() !== JSON.stringify(TOLD)) return `it ended with ${ran.status}:\n${said}`
  return isPnp ? undefined : typeErrors(project)
}

/** The milliseconds that `require('outlive')` takes in a fresh process: the median of many. */
function loadTime(project) {
  const script = 'const t = performance.now(); require("outlive"); console.log(performance.now() - t)'
  const times = Array.from({ length: 21 }, () =>
    Number(execFileSync(NODE, ['-e', script], { cwd: project, encoding: 'utf8' })),
  )
  return times.sort((a, b) => a - b)[10]
}

function lint(tarball) {
  const linters = { publint: ['run', '--strict', tarball], attw: [tarball, '--no-color'] }
  return Object.entries(linters).filter(([name, args]) => {
    const linted = spawnSync(inCache(`.bin/${name}`), args, { encoding: 'utf8', timeout: LIMIT_MS })
    console.log(`${name.padEnd(30)} ${linted.status === 0 ? 'no problem' : `FAILS\n${linted.stdout}${linted.stderr}`}`)
    return linted.status !== 0
  })
}

function tellContents(packed, base) {
  for (const one of packed) {
    checkContents(one, mkdtempSync(join(base, 'contents-')))
    const { name, files, bytes, unpackedBytes } = one
    console.log(`${name.padEnd(30)} ${files} files, ${unpackedBytes} bytes, packed ${bytes}`)
  }
}

/** Publishes one with nothing in it: a manager that took it would have nothing to run. What is wrong then, or undefined. */
function publishPreRelease(registry, base) {
  const [source, folder] = ['pre-release', 'next'].map((name) => join(base, name))
  for (const directory of [source, folder]) mkdirSync(directory)
  writeFileSync(join(source, 'package.json'), JSON.stringify({ name: 'outlive', version: PRE_RELEASE }))
  execFileSync('npm', ['pack', source, '--pack-destination', folder], { stdio: 'ignore' })
  registry.publish(folder)
  const asked = ['view', 'outlive', 'dist-tags', '--json', '--registry', registry.url]
  const { latest, next } = JSON.parse(execFileSync('npm', asked, { encoding: 'utf8' }))
  return next === PRE_RELEASE && latest !== PRE_RELEASE ? undefined : `latest is ${latest}, next is ${next}`
}

async function main(names) {
  installTools()
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'outlive-packages-')))
  const registry = await startRegistry(inCache('verdaccio/bin/verdaccio'), join(base, 'registry'))
  let failed = 0
  try {
    const packed = packAll(join(base, 'packed'))
    registry.publish(join(base, 'packed'))
    const mixedUp = publishPreRelease(registry, base)
    console.log(`${'a pre-release'.padEnd(30)} ${mixedUp === undefined ? 'is for who asks' : `FAILS\n${mixedUp}`}`)
    failed += mixedUp === undefined ? 0 : 1
    for (const [name, manager] of Object.entries(MANAGERS)) {
      if (names.length > 0 && !names.some((part) => name.includes(part))) continue
      const linker = name.startsWith('Yarn 4') ? (manager.linker ?? 'pnp') : undefined
      const project = join(base, name.replaceAll(/\W+/g, '-'))
      const env = environment(base, registry.url, linker)
      makeProject(project, registry.url, linker)
      const wrong = attempt(manager, project, env)
      const [program, ...args] = manager.version
      const version = execFileSync(program, args, { cwd: base, env, encoding: 'utf8' }).trim()
      const result = manager.says === undefined ? 'runs' : 'cannot work, and says so'
      console.log(`${name.padEnd(30)} ${version.padEnd(10)} ${wrong === undefined ? result : `FAILS\n${wrong}`}`)
      failed += wrong === undefined ? 0 : 1
    }
    failed += lint(packed.at(-1).path).length
    tellContents(packed, base)
    if (existsSync(join(base, 'npm')))
      console.log(`require: ${loadTime(join(base, 'npm')).toFixed(1)} ms, median of 21`)
  } finally {
    await registry.close()
    rmSync(base, { recursive: true, force: true })
  }
  process.exitCode = failed > 0 ? 1 : 0
}

main(process.argv.slice(2))
