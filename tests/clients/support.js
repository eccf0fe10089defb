'use strict'
// What the drivers share: a client from npm, a child process that is heard, and waiting with a limit.

const { execFileSync, spawn } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } = require('node:fs')
const { homedir } = require('node:os')
const { dirname, join } = require('node:path')
const { setTimeout: pause } = require('node:timers/promises')
const { TaskRegistry } = require('../../index.js')
const { ROOT, npm } = require('../packed.js')
const { sealed } = require('../sealed.js')

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'outlive-clients')
const LIMIT_MS = 60_000

/** Installs packages once, into the cache, and then does the `rest`; returns their node_modules. */
function install(name, packages, rest = () => {}) {
  const prefix = join(CACHE, `${name}-${packages[0].split('@').at(-1)}`)
  const complete = join(prefix, 'complete')
  if (!existsSync(complete)) {
    mkdirSync(prefix, { recursive: true })
    writeFileSync(join(prefix, 'package.json'), '{ "private": true }')
    npm(['install', '--ignore-scripts', ...packages], prefix)
    rest(join(prefix, 'node_modules'))
    writeFileSync(complete, '')
  }
  return join(prefix, 'node_modules')
}

/** Checks the types of an example where it was copied to; throws what the compiler says. `types`: packages of global types. */
function checkTypes(path, types = []) {
  const args = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2023']
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const libraries = ['--lib', 'es2023,esnext.disposable,dom', '--ignoreConfig']
  const globals = types.length > 0 ? ['--types', types.join(',')] : []
  try {
    execFileSync(process.execPath, [tsc, ...args, ...libraries, ...globals, path], {
      cwd: dirname(path),
      encoding: 'utf8',
      stdio: 'pipe',
    })
  } catch (error) {
    throw new Error(error.stdout || error.message)
  }
}

/** Waits until `look` finds something, and returns it; an error that says `what` was missing after a minute. */
async function eventually(look, what) {
  for (const end = Date.now() + LIMIT_MS; Date.now() < end; await pause(20)) {
    const found = await look()
    if (found) return found
  }
  throw new Error(`after ${LIMIT_MS / 1000} s there was still no ${what}`)
}

/** Starts a program; `said` is everything that it has written so far. */
function run(program, args, options) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options })
  const heard = { child, said: '', gone: new Promise((resolve) => child.once('close', resolve)) }
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      heard.said += text
    })
  }
  child.stdin.on('error', () => {}) // It was killed, as the scenario asked.
  // Where it leads a group, with the whole group.
  heard.kill = () => {
    if (child.exitCode === null && child.signalCode === null)
      process.kill(options.detached ? -child.pid : child.pid, 'SIGKILL')
    return heard.gone
  }
  return heard
}

/** A FIFO that a task reads from before it goes on. */
function gate(dir, name) {
  const path = join(dir, name)
  execFileSync('mkfifo', [path])
  return {
    path,
    open() {
      const fifo = openSync(path, 'w')
      writeSync(fifo, '\n')
      closeSync(fifo)
    },
  }
}

/** What runs in a store, whoever started it. */
function running(store) {
  const tasks = new TaskRegistry({ storageDir: store })
  try {
    return tasks.sessions().flatMap((sessionId) => tasks.list({ sessionId, status: 'running' }))
  } finally {
    tasks.detach()
  }
}

/** Has a finished task have ended two days ago, when the machine had not been started anew. */
function makeOld(taskDirectory) {
  const rewrite = (name, change) => {
    const path = join(taskDirectory, name)
    writeFileSync(path, sealed({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }))
  }
  rewrite('task.json', { bootId: randomUUID() })
  rewrite('ended.json', { finishedAt: Date.now() - 2 * 86_400_000 })
}

module.exports = { CACHE, checkTypes, eventually, gate, install, makeOld, pause, run, running }
