'use strict'
// What the drivers share: a client from npm, a child process that is heard, and waiting with a limit.

const { execFileSync, spawn } = require('node:child_process')
const { randomUUID } = require('node:crypto')
const {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} = require('node:fs')
const { homedir } = require('node:os')
const { basename, dirname, join } = require('node:path')
const { setTimeout: pause } = require('node:timers/promises')
const { ROOT, npm } = require('../packed.js')
const { sealed } = require('../sealed.js')

const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'outlive-clients')
const LIMIT_MS = 60_000

/** A newer Node than the one that tests run under: its package, and the program in what was installed. */
const NEWER_NODE = `node-linux-${process.arch}@22.23.3`
const newerNode = (modules) => join(modules, `node-linux-${process.arch}/bin/node`)

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

/** Gives a project outlive, Node's types and what else is named, as if it had installed them. */
function linkPackages(project, others) {
  const modules = join(project, 'node_modules')
  mkdirSync(modules)
  symlinkSync(ROOT, join(modules, 'outlive'))
  for (const path of [join(ROOT, 'node_modules/@types'), ...others]) symlinkSync(path, join(modules, basename(path)))
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

/** Has a finished task have ended two days ago, when the machine had not been started anew. */
function makeOld(taskDirectory) {
  const rewrite = (name, change) => {
    const path = join(taskDirectory, name)
    writeFileSync(path, sealed({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }))
  }
  rewrite('task.json', { bootId: randomUUID() })
  rewrite('ended.json', { finishedAt: Date.now() - 2 * 86_400_000 })
}

module.exports = {
  CACHE,
  NEWER_NODE,
  checkTypes,
  eventually,
  gate,
  install,
  linkPackages,
  makeOld,
  newerNode,
  pause,
  run,
}
