'use strict'
// What the conformance suite stands on: gates, processes and workers that play a scene, and waiting with a limit.

const { execFileSync, spawn } = require('node:child_process')
const {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeSync,
} = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { setTimeout: pause } = require('node:timers/promises')
const { Worker } = require('node:worker_threads')

const LIMIT_MS = 30_000
const finishers = []

function atTheEnd(finish) {
  finishers.push(finish)
}

/** Ends and removes what the suite made, newest first. */
async function finishAll() {
  for (let finish = finishers.pop(); finish; finish = finishers.pop()) await finish()
}

function temporaryDirectory() {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'outlive-conformance-')))
  atTheEnd(() => {
    killTasksOf(path)
    rmSync(path, { recursive: true, force: true })
  })
  return path
}

function killTasksOf(store) {
  for (const session of readdirSync(store, { withFileTypes: true })) {
    if (!session.isDirectory()) continue
    for (const name of readdirSync(join(store, session.name))) {
      for (const pid of name.startsWith('bash-') ? aliveMarked(name) : []) signal(pid)
    }
  }
}

function signal(pid) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone between the look and the signal.
  }
}

/** Under an emulator of processes that one's name comes first, and then the file that it runs, or the descriptor of it. */
const SUPERVISOR = /^(outlive-supervisor|[^\0]*\0[^\0]*\/(supervisor-[0-9a-f]{16}|dev\/fd\/\d+\0bash-[0-9a-f]{16}))\0/

/** The pids of live processes, the supervisor aside, that a task has started. */
function aliveMarked(taskId) {
  const mark = `OUTLIVE_TASK_ID=${taskId}`
  return readdirSync('/proc').filter((pid) => {
    try {
      const marked = /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(mark)
      const commandLine = marked ? readFileSync(`/proc/${pid}/cmdline`, 'latin1') : ''
      // It is empty when the process has ended since its environment was read.
      return commandLine !== '' && !SUPERVISOR.test(commandLine)
    } catch {
      return false // gone, or somebody else's
    }
  })
}

/** Resolves when `look` finds something; the limit names what hangs. */
async function eventually(look, what) {
  const deadline = Date.now() + LIMIT_MS
  for (;;) {
    const value = await look()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`not within ${LIMIT_MS} ms: ${what}`)
    await pause(5)
  }
}

function within(promise, what) {
  let timer
  const tooLate = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${LIMIT_MS} ms: ${what}`)), LIMIT_MS)
  })
  return Promise.race([promise, tooLate]).finally(() => clearTimeout(timer))
}

let gates = 0

/** A FIFO at which a guest waits: `read _ < ${gate.path}`. Held open on this side, so no guest blocks in open. */
function gate(directory) {
  const path = join(directory, `gate-${process.pid}-${++gates}.fifo`)
  execFileSync('mkfifo', ['-m', '600', path])
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  atTheEnd(() => closeSync(fd))
  return { path, open: () => void writeSync(fd, '\n') }
}

/** What somebody says, in order, for those who ask. */
function mailbox(name) {
  const values = []
  const waiting = []
  const put = (value) => (waiting.length > 0 ? waiting.shift()(value) : values.push(value))
  const said = () => {
    const next = values.length > 0 ? values.shift() : new Promise((resolve) => waiting.push(resolve))
    return within(Promise.resolve(next), `${name} says something`)
  }
  return { put, said }
}

/** The arguments that this runtime wants before the script of a host. */
const runtimeArguments = JSON.parse(process.env.CONFORMANCE_ARGUMENTS ?? '[]')

/** A process of this runtime that plays a scene; its stderr is ours. */
function hostScene(scene, order) {
  const script = join(__dirname, 'host.js')
  const child = spawn(process.execPath, [...runtimeArguments, script, scene, JSON.stringify(order)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, OUTLIVE_DIR: order.storageDir },
  })
  atTheEnd(() => signal(child.pid))
  const { put, said } = mailbox(`the host of scene ${scene}`)
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()
    for (const line of lines) put(JSON.parse(line))
  })
  const exit = new Promise((resolve) => child.once('exit', (code, by) => resolve({ code, signal: by })))
  const ended = within(exit, `the host of scene ${scene} ends`)
  ended.catch(() => {}) // whoever cares awaits it
  const kill = () => {
    child.kill('SIGKILL')
    return ended
  }
  return { said, ended, kill }
}

/** A worker of this process that plays a scene. */
function workerScene(scene, order) {
  const thread = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(join(__dirname, 'worker.js'), { workerData: { scene, order, thread } })
  const { put, said } = mailbox(`the worker of scene ${scene}`)
  worker.on('message', put)
  worker.on('error', (error) => put({ error: String(error?.stack ?? error) }))
  const exit = new Promise((resolve) => worker.once('exit', resolve))
  const ended = within(exit, `the worker of scene ${scene} ends`)
  ended.catch(() => {})
  // One that a promise gave up waits for nothing, and would keep the process. Of one that is gone already Bun 1.3 says so to nobody.
  atTheEnd(() => Promise.race([exit, worker.terminate()]))
  const terminate = async () => {
    await worker.terminate()
    // Deno resolves that at once, while the thread is still in the middle of a call.
    await eventually(() => !existsSync(`/proc/self/task/${thread[0]}`), 'the thread of the terminated worker ends')
  }
  return { said, ended, terminate }
}

module.exports = { aliveMarked, eventually, finishAll, gate, hostScene, temporaryDirectory, workerScene }
