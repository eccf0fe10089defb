'use strict'
// Installs the packed package into a plugin's project, bundles the plugin with each bundler, takes the bundle to an empty
// folder and runs it there: a task spawned, ended, told. Where a bundler cannot do it, the bundle must say what to do.
//
//     node tests/bundlers/run.js [name]...
//
// The bundlers come from npm, once, into the cache directory; the addon is the one that `npm run build` made.

const { execFileSync, spawnSync } = require('node:child_process')
const { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } =
  require('node:fs')
const { homedir, tmpdir } = require('node:os')
const { join } = require('node:path')
const { stripVTControlCharacters } = require('node:util')
const { PLATFORM, makeProject, npm } = require('../packed.js')
const { row } = require('../table.js')

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'outlive-bundlers')
const VERSIONS = {
  esbuild: '0.28.2',
  '@vercel/ncc': '0.45.0',
  '@vercel/nft': '1.11.5',
  webpack: '5.113.0',
  'webpack-cli': '7.3.1',
  'node-loader': '2.1.0',
  rolldown: '1.3.3',
  vite: '8.4.0',
  rollup: '4.68.8',
  '@rollup/plugin-commonjs': '29.0.3',
  '@rollup/plugin-node-resolve': '16.0.3',
  bun: '1.4.5',
  typescript: '5.9.3',
}
const TOLD = { isOurs: true, status: 'failed', exitCode: 3, outputPreview: 'from the bundle\n' }

const tool = (name) => join(CACHE, 'node_modules/.bin', name)
const NODE = process.execPath
const ESBUILD = [tool('esbuild'), 'plugin.ts', '--bundle', '--platform=node', '--log-level=error']

const ROLLUP = [
  'plugin.js',
  '--silent',
  '--plugin',
  tool('../@rollup/plugin-node-resolve'),
  '--plugin',
  tool('../@rollup/plugin-commonjs'),
]

/**
 * Each: how it bundles `plugin.ts` into `out/`, and how the bundle is run. `says`: what cannot work, and must say so; `refuses`:
 * what stands in the line that the bundler shows when it will not bundle the addon.
 */
const BUNDLERS = {
  'esbuild, copy loader': { bundle: [...ESBUILD, '--loader:.node=copy', '--outfile=out/index.js'] },
  'esbuild, external': { bundle: [...ESBUILD, '--external:outlive', '--outfile=out/index.js'], external: true },
  'esbuild, ESM, external': {
    bundle: [...ESBUILD, '--external:outlive', '--format=esm', '--outfile=out/index.mjs'],
    external: true,
    run: [NODE, 'index.mjs'],
  },
  'esbuild, file loader': {
    bundle: [...ESBUILD, '--loader:.node=file', '--outfile=out/index.js'],
    says: /in place of the addon.*--loader:\.node=copy.*external/,
  },
  ncc: { bundle: [tool('ncc'), 'build', 'plugin.js', '-o', 'out', '-q'] },
  webpack: { bundle: [tool('webpack'), '--config', 'webpack.config.js'] },
  'webpack, asset/resource': {
    bundle: [tool('webpack'), '--config', 'webpack.config.js', '--env', 'asset'],
    says: /in place of the addon.*node-loader.*external/,
  },
  'rolldown, external': {
    bundle: [
      tool('rolldown'),
      'plugin.ts',
      '--platform',
      'node',
      '--external',
      'outlive',
      '--format',
      'cjs',
      '-o',
      'out/index.js',
    ],
    external: true,
  },
  'Vite, external': {
    bundle: [tool('vite'), 'build', '--logLevel', 'error'],
    external: true,
    run: [NODE, 'index.mjs'],
  },
  'rollup, external': {
    bundle: [tool('rollup'), ...ROLLUP, '--external', 'outlive', '--format', 'es', '-o', 'out/index.mjs'],
    external: true,
    run: [NODE, 'index.mjs'],
  },
  'rollup, addon external': {
    bundle: [tool('rollup'), ...ROLLUP, '--external', `outlive-${PLATFORM}`, '--format', 'es', '-o', 'out/index.mjs'],
    run: [NODE, 'index.mjs'],
    says: /leave "outlive" external/,
  },
  rollup: {
    bundle: [tool('rollup'), ...ROLLUP, '--format', 'es', '-o', 'out/index.mjs'],
    run: [NODE, 'index.mjs'],
    says: /leave "outlive" external/,
  },
  Vite: {
    bundle: [tool('vite'), 'build', '--logLevel', 'error', '--mode', 'bundled'],
    refuses: /leave "outlive" external/,
  },
  'bun build': {
    bundle: [tool('bun'), 'build', 'plugin.ts', '--target=node', '--format=cjs', '--outdir=out'],
    run: [NODE, 'plugin.js'],
  },
  'bun build for bun': {
    bundle: [tool('bun'), 'build', 'plugin.ts', '--target=bun', '--outdir=out'],
    run: [tool('bun'), 'plugin.js'],
  },
  'bun build --compile': {
    bundle: [tool('bun'), 'build', 'plugin.ts', '--compile', '--outfile=out/plugin'],
    run: ['./plugin'],
  },
  nft: { bundle: [NODE, 'trace.js'] },
}

const WEBPACK_CONFIG = `module.exports = (env) => ({
  mode: 'production', target: 'node', entry: './plugin.js',
  output: { path: __dirname + '/out', filename: 'index.js' },
  module: { rules: [{ test: /\\.node$/, ...(env.asset ? { type: 'asset/resource' } : { loader: 'node-loader' }) }] },
  resolveLoader: { modules: [${JSON.stringify(join(CACHE, 'node_modules'))}] },
})`

const VITE_CONFIG = `export default ({ mode }) => ({
  build: { ssr: 'plugin.ts', outDir: 'out', rolldownOptions: { output: { entryFileNames: 'index.mjs' } } },
  ssr: mode === 'bundled' ? { noExternal: true } : { external: ['outlive'] },
})`

const TRACE = `const { nodeFileTrace } = require(${JSON.stringify(join(CACHE, 'node_modules/@vercel/nft'))})
const { cpSync } = require('node:fs')
nodeFileTrace(['plugin.js'], { base: __dirname }).then(({ fileList }) => {
  for (const file of fileList) cpSync(file, 'out/' + file)
  cpSync('plugin.js', 'out/index.js')
})`

function installBundlers() {
  const wanted = Object.entries(VERSIONS).map(([name, version]) => `${name}@${version}`)
  if (['webpack', 'rolldown', 'bun', 'vite', 'rollup'].every((name) => existsSync(tool(name)))) return
  mkdirSync(CACHE, { recursive: true })
  npm(['install', '--prefix', CACHE, ...wanted], CACHE)
}

/** The plugin's project, with what each bundler reads. */
function prepare(project) {
  makeProject(project)
  copyFileSync(join(__dirname, 'plugin.ts'), join(project, 'plugin.ts'))
  writeFileSync(join(project, 'webpack.config.js'), WEBPACK_CONFIG)
  writeFileSync(join(project, 'trace.js'), TRACE)
  writeFileSync(join(project, 'vite.config.mjs'), VITE_CONFIG)
  // For those that take JavaScript only.
  execFileSync(tool('esbuild'), ['plugin.ts', '--format=cjs', '--outfile=plugin.js', '--log-level=error'], {
    cwd: project,
  })
}

function refusal({ status, stdout, stderr }, expected) {
  if (status === 0) return 'it bundles: then the bundle has to run'
  const said = stripVTControlCharacters(`${stdout}${stderr}`)
  return expected.test(said) ? undefined : `it does not say ${expected}:\n${said}`
}

/** Bundles, moves the bundle away from everything, runs it; undefined, or what is wrong. */
function attempt({ bundle, run = [NODE, 'index.js'], external, says, refuses }, project, place) {
  rmSync(join(project, 'out'), { recursive: true, force: true })
  const [bundler, ...bundlerArguments] = bundle
  const built = spawnSync(bundler, bundlerArguments, { cwd: project, encoding: 'utf8' })
  if (refuses !== undefined) return refusal(built, refuses)
  if (built.status !== 0) return `bundling failed:\n${built.error ?? ''}${built.stdout}${built.stderr}`
  cpSync(join(project, 'out'), place, { recursive: true })
  if (external) cpSync(join(project, 'node_modules'), join(place, 'node_modules'), { recursive: true })
  const [program, ...programArguments] = run
  const store = join(place, 'store')
  // The project is out of reach: what the bundle forgot it must not find by chance.
  const ran = spawnSync(program, [...programArguments, store], { cwd: place, encoding: 'utf8', timeout: 60_000 })
  const said = `${ran.stdout}${ran.stderr}`
  if (says !== undefined) return says.test(said) ? undefined : `it does not say ${says}:\n${said}`
  return ran.status === 0 && ran.stdout.trim() === JSON.stringify(TOLD)
    ? undefined
    : `it ended with ${ran.status}:\n${said}`
}

function sizeOf(directory) {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return files.reduce((sum, file) => sum + statSync(join(file.parentPath ?? file.path, file.name)).size, 0)
}

function main(names) {
  installBundlers()
  const base = mkdtempSync(join(tmpdir(), 'outlive-bundlers-'))
  let failed = false
  try {
    prepare(base)
    for (const [name, bundler] of Object.entries(BUNDLERS)) {
      if (names.length > 0 && !names.some((part) => name.includes(part))) continue
      const place = mkdtempSync(join(tmpdir(), 'outlive-bundle-'))
      const wrong = attempt(bundler, base, place)
      const works = bundler.says === undefined && bundler.refuses === undefined
      const result = works ? 'runs' : 'cannot work, and says so'
      const size = existsSync(join(base, 'out')) ? `${Math.round(sizeOf(join(base, 'out')) / 1000)} kB` : ''
      console.log(`${name.padEnd(24)} ${wrong === undefined ? `${result} (${size})` : `FAILS\n${wrong}`}`)
      row(name, 'a bundle in an empty folder', wrong === undefined ? result : 'FAILS')
      failed ||= wrong !== undefined
      rmSync(place, { recursive: true, force: true })
    }
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
  process.exitCode = failed ? 1 : 0
}

main(process.argv.slice(2))
