'use strict'
// Runs the conformance suite under several runtimes, in the main thread and in a worker, and prints one table.
//
//     node tests/conformance/run.js                        the Node that runs this, Bun and Deno
//     node tests/conformance/run.js node@18 node@24 /path/to/bun
//
// `node`, `bun` and `deno` are installed with this repository; `<name>@<version>` comes from npm, once, into the cache
// directory. A run holds when every promise holds and the process then ends by itself with 0.

const { execFileSync, spawn } = require('node:child_process')
const { existsSync, mkdirSync } = require('node:fs')
const { homedir } = require('node:os')
const { basename, join } = require('node:path')
const { createInterface } = require('node:readline')
const { row } = require('../table.js')

const LIMIT_MS = 300_000
const ROOT = join(__dirname, '../..')
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'outlive-runtimes')

const { arch } = process

/**
 * Where the real executables are: a launcher in between would take the signals. The second place is for clients that run
 * no install scripts, which move it to the first.
 */
const EXECUTABLES = {
  node: ['node/bin/node', `node-linux-${arch}/bin/node`],
  bun: ['bun/bin/bun.exe', `@oven/bun-linux-${arch === 'arm64' ? 'aarch64' : arch}/bin/bun`],
  deno: ['deno/deno', `@deno/linux-${arch}-glibc/deno`],
}

/** What the suite itself does takes every permission; a host of ours no more than docs/compatibility.md says. */
const DENO_ALL = ['run', '--quiet', '-A']
const DENO_HOST = ['run', '--quiet', '--no-prompt', `--allow-read=${ROOT}`, `--allow-ffi=${ROOT}`, '--allow-env']

function executable(name) {
  if (name === 'node') return process.execPath
  if (name.includes('/')) return name
  const [kind, version] = name.split('@')
  if (EXECUTABLES[kind] === undefined) throw new Error(`there is no runtime "${name}"`)
  if (version === undefined) return found(kind, ROOT)
  const prefix = join(CACHE, name)
  return found(kind, prefix) ?? found(kind, install(name, prefix))
}

function found(kind, prefix) {
  return EXECUTABLES[kind].map((path) => join(prefix, 'node_modules', path)).find((path) => existsSync(path))
}

function install(name, prefix) {
  mkdirSync(prefix, { recursive: true })
  const args = ['install', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', prefix, name]
  execFileSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  return prefix
}

/** Runs the suite once; `{ held, failures, ms }`. */
async function run(program, inWorker) {
  const isDeno = basename(program).startsWith('deno')
  const args = [...(isDeno ? DENO_ALL : []), join(__dirname, 'main.js'), ...(inWorker ? ['--worker'] : [])]
  const env = { ...process.env, CONFORMANCE_ARGUMENTS: JSON.stringify(isDeno ? DENO_HOST : []) }
  const start = Date.now()
  const child = spawn(program, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said += text
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  const exit = new Promise((resolve, reject) => {
    child.once('error', reject).once('close', (code, signal) => resolve({ code, signal }))
  })
  exit.catch(() => {}) // awaited below, after the lines
  const results = []
  for await (const line of createInterface({ input: child.stdout })) results.push(JSON.parse(line))
  const { code, signal } = await exit
  clearTimeout(timer)
  const failures = results.filter(({ ok }) => ok === false).map(({ title, error }) => `${title}\n${error}`)
  if (code !== 0 || !results.at(-1)?.finished) {
    const last = results.at(-1)?.title ?? 'none'
    failures.push(`the process ended with ${signal ?? code}; the last promise was: ${last}\n${said}`)
  }
  return { held: results.filter(({ ok }) => ok).map(({ title }) => title), failures, ms: Date.now() - start }
}

function versionOf(program) {
  return execFileSync(program, ['--version'], { encoding: 'utf8' })
    .split('\n')[0]
    .replace(/^(deno )?v?/, '')
    .split(' ')[0]
}

async function main(names) {
  let failed = false
  let expected
  console.log(`${'runtime'.padEnd(12)} ${'version'.padEnd(10)} ${'thread'.padEnd(8)} result`)
  for (const name of names.length > 0 ? names : ['node', 'bun', 'deno']) {
    const program = executable(name)
    if (program === undefined) throw new Error(`${name} is not installed`)
    const version = versionOf(program)
    for (const inWorker of [false, true]) {
      const { held, failures, ms } = await run(program, inWorker)
      expected ??= held.length + failures.length
      if (failures.length === 0 && held.length !== expected)
        failures.push(`${held.length} promises instead of ${expected}`)
      const outcome =
        failures.length === 0 ? `${held.length} promises hold` : `${failures.length} of ${expected} do not hold`
      const place = inWorker ? 'worker' : 'main'
      console.log(
        `${name.padEnd(12)} ${version.padEnd(10)} ${place.padEnd(8)} ${outcome} (${(ms / 1000).toFixed(1)} s)`,
      )
      row(`${name} (${version})`, `conformance, ${place} thread`, outcome)
      for (const failure of failures) console.log(`\n${failure}\n`)
      failed ||= failures.length > 0
    }
  }
  process.exitCode = failed ? 1 : 0
}

main(process.argv.slice(2))
