'use strict'
// Runs a plugin author's tests under the test runners that they use, from a project that has the packed package installed.
//
//     node tests/runners/run.js [part of a name]...
//
// A run holds when all tests of five files pass in one run, nothing that a file leaves behind keeps completions from the next,
// and the runner then ends by itself. The runners come from npm, once, into the cache directory; the addon is the one that
// `npm run build` made.

const { execFileSync, spawn } = require('node:child_process')
const {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} = require('node:fs')
const { homedir, tmpdir } = require('node:os')
const { join } = require('node:path')
const { stripVTControlCharacters } = require('node:util')
const { TaskRegistry } = require('../../index.js')
const { ROOT, makeProject, npm } = require('../packed.js')
const { row } = require('../table.js')

const LIMIT_MS = 60_000
const FILES = 5
const TESTS = 3
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'outlive-runners')
const NODE = process.execPath
const BUN = join(ROOT, 'node_modules/bun/bin/bun.exe')
const DENO = join(ROOT, 'node_modules/deno/deno')

/** Its later ones need Node 22. */
const VITEST = Number.parseInt(process.versions.node, 10) < 22 ? 'vitest@4.1.12' : 'vitest@5.1.2'
const JEST_30 = 'jest@30.5.2'
const JEST_29 = 'jest@29.7.0'

const vitest = (pool, ...flags) => ({
  tool: VITEST,
  waits: true,
  files: 'vitest.mjs',
  command: [NODE, 'node_modules/vitest/vitest.mjs', 'run', `--pool=${pool}`, ...flags],
})
const jest = (tool, { files = 'jest.js', config = {}, flags = ['--runInBand'] } = {}) => ({
  tool,
  waits: true,
  files,
  command: [NODE, 'node_modules/jest/bin/jest.js', `--config=${JSON.stringify(config)}`, ...flags],
})

/**
 * Each: the files that it runs and how. `tool` is installed; the others come with this repository. `places`: in how many workers
 * the files run side by side, which only those that run several files each put to the test.
 */
const RUNNERS = {
  'Vitest, forks': vitest('forks', '--maxWorkers=1'),
  'Vitest, threads': vitest('threads', '--maxWorkers=1'),
  // A context for each file, and workers that run several files.
  'Vitest, vmForks': { ...vitest('vmForks', '--maxWorkers=2'), places: 2 },
  'Vitest, vmThreads': { ...vitest('vmThreads', '--maxWorkers=2'), places: 2 },
  // One context for all files: nobody can see where one ends.
  'Vitest, vmThreads, one': { ...vitest('vmThreads', '--maxWorkers=1'), detaches: true },
  'Vitest, --no-isolate': { ...vitest('threads', '--no-isolate', '--maxWorkers=1'), detaches: true },
  'node --test': { files: 'node.mjs', command: [NODE, '--test', '--test-concurrency=1'] },
  'bun test': { files: 'bun.mjs', command: [BUN, 'test'], detaches: true },
  // A global object for each file, whose end nobody can see.
  'bun test, --isolate': { files: 'bun.mjs', command: [BUN, 'test', '--isolate'], detaches: true },
  'deno test': { files: 'deno.mjs', command: [DENO, 'test', '-A', '--no-check', 'tests'], waits: true },
  'Jest 30': jest(JEST_30),
  // In a cache of its own: where Jest remembers that tests are quick it does without workers.
  'Jest 30, worker threads': {
    ...jest(JEST_30, { flags: ['--maxWorkers=2', '--workerThreads', '--cacheDirectory=.jest'] }),
    places: 2,
  },
  'Jest 30, no clean-up': jest(JEST_30, { config: { testEnvironmentOptions: { globalsCleanup: 'off' } } }),
  'Jest 29': jest(JEST_29),
  // As with jsdom and a mocked network: packages are resolved as if this were no Node.
  'Jest 29, no conditions': jest(JEST_29, { config: { testEnvironmentOptions: { customExportConditions: [''] } } }),
  'Jest 30, open handles': jest(JEST_30, { flags: ['--detectOpenHandles'] }),
  // It names a handle that napi-rs makes in each addon as it is loaded, and that keeps nothing alive.
  'Jest 29, open handles': {
    ...jest(JEST_29, { flags: ['--detectOpenHandles'] }),
    complains: /following 1 open handle[^●]*●\s+CustomGC[^●]*$/,
  },
}

/** How a test file of each kind begins: what is different from runner to runner. */
const HEADS = {
  'vitest.mjs': `import { afterAll, test } from 'vitest'`,
  'node.mjs': `import { after as afterAll, test } from 'node:test'`,
  'bun.mjs': `import { afterAll, test } from 'bun:test'`,
  'deno.mjs': `const { test } = Deno, { afterAll } = test`,
}

function testFile(kind, { detaches, waits }) {
  const give = (suite) =>
    `${suite}({ test, afterAll, assert, TaskRegistry, fs, detaches: ${!!detaches}, waits: ${!!waits} })\n`
  if (kind === 'jest.js') {
    const needs = `const assert = require('node:assert/strict')
const fs = require('node:fs')
const { TaskRegistry } = require('outlive')`
    return `${needs}\n${give(`require('../suite.js')`)}`
  }
  const needs = `import assert from 'node:assert/strict'
import fs from 'node:fs'
import { TaskRegistry } from 'outlive'
import suite from '../suite.mjs'`
  return `${HEADS[kind]}\n${needs}\n${give('suite')}`
}

/** The folder with the runner's `node_modules`. */
function installed(tool) {
  const prefix = join(CACHE, tool)
  if (!existsSync(join(prefix, 'node_modules/.package-lock.json'))) {
    mkdirSync(prefix, { recursive: true })
    // From inside: elsewhere npm takes the name of this folder for that of a package on disk.
    npm(['install', '--prefix', prefix, tool], prefix)
  }
  return prefix
}

/** The plugin's project, with the tests as modules of both kinds. */
function prepareProject(project) {
  makeProject(project)
  const suite = readFileSync(join(__dirname, 'suite.js'), 'utf8')
  writeFileSync(join(project, 'suite.js'), suite)
  writeFileSync(join(project, 'suite.mjs'), suite.replace('module.exports =', 'export default'))
}

/** The project with one runner's files and tool in it. */
function prepare(project, { tool, files, ...ways }) {
  rmSync(join(project, 'tests'), { recursive: true, force: true })
  mkdirSync(join(project, 'tests'))
  for (let number = 1; number <= FILES; number++) {
    const name = `file${number}.test.${files.split('.')[1]}`
    writeFileSync(join(project, 'tests', name), testFile(files, ways))
  }
  if (tool === undefined) return
  const name = tool.split('@')[0]
  const link = join(project, 'node_modules', name)
  rmSync(link, { force: true })
  symlinkSync(join(installed(tool), 'node_modules', name), link)
}

/** Runs one runner until it ends by itself; undefined, or what is wrong. */
async function attempt(runner, project) {
  prepare(project, runner)
  const place = mkdtempSync(join(tmpdir(), 'outlive-runner-'))
  execFileSync('mkfifo', ['1', '2'], { cwd: place }) // one for each place in which files run side by side
  const env = { ...process.env, STORE: join(place, 'store'), GATES: place, NO_COLOR: '1', FORCE_COLOR: '0' }
  for (const name of ['JEST_WORKER_ID', 'NODE_OPTIONS', 'NODE_TEST_CONTEXT']) delete env[name]
  const [program, ...args] = runner.command
  // In a group of its own: runners have workers, and those must go with it.
  const child = spawn(program, args, { cwd: project, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text))
  const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), LIMIT_MS)
  const { code, signal } = await new Promise((resolve, reject) => {
    child.once('error', reject).once('close', (code, signal) => resolve({ code, signal }))
  })
  clearTimeout(timer)
  said = stripVTControlCharacters(said) // Deno's are coloured whatever it is told
  const places = readdirSync(place).filter((name) => name.endsWith('.left')).length
  await endWhatIsLeft(env.STORE)
  rmSync(place, { recursive: true, force: true })
  if (code !== 0) return `it ended with ${signal ?? code}:\n${said}`
  const { places: expected = 1 } = runner
  if (places !== expected) return `files ran in ${places} places, not in ${expected}:\n${said}`
  if (!said.match(PASSED)?.some((line) => line.match(/\d+/)[0] === String(FILES * TESTS)))
    return `not ${FILES * TESTS} tests passed:\n${said}`
  const asExpected = runner.complains === undefined ? !COMPLAINTS.test(said) : runner.complains.test(said)
  return asExpected ? undefined : `it complains, or no longer does:\n${said}`
}

/** The last file has left a task that waits. */
async function endWhatIsLeft(storageDir) {
  const tasks = new TaskRegistry({ storageDir })
  for (const session of tasks.sessions()) await tasks.replay(session)
  await tasks.shutdown()
}

/** How each says how many passed. */
const PASSED = /^ *Tests: +\d+ passed|^ +Tests +\d+ passed|^(ℹ|#) pass \d+|^ *\d+ pass$|^ok \| \d+ passed/gm
const COMPLAINTS = /did not exit|open handle|failed to exit|force exited|leaking|close timed out|hanging/i

async function main(names) {
  const project = mkdtempSync(join(tmpdir(), 'outlive-runners-'))
  let failed = false
  try {
    prepareProject(project)
    for (const [name, runner] of Object.entries(RUNNERS)) {
      if (names.length > 0 && !names.some((part) => name.includes(part))) continue
      const start = Date.now()
      const wrong = await attempt(runner, project)
      const seconds = ((Date.now() - start) / 1000).toFixed(1)
      console.log(
        `${name.padEnd(24)} ${wrong === undefined ? `holds (${seconds} s)` : `FAILS (${seconds} s)\n${wrong}`}`,
      )
      row(name, "a plugin author's tests", wrong === undefined ? 'holds' : 'FAILS')
      failed ||= wrong !== undefined
    }
  } finally {
    rmSync(project, { recursive: true, force: true })
  }
  process.exitCode = failed ? 1 : 0
}

main(process.argv.slice(2))
