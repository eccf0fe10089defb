// `npm run demo`: a plugin starts real work, is SIGKILLed in the middle, starts again, and misses nothing.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { TaskRegistry } from 'outlive'
import { survivors, verdicts } from './checks.mjs'
import { bold, close, dim, draw, green, lastLines, print, red, seconds, table } from './screen.mjs'
import { SESSION, WORK } from './work.mjs'

/** Longer than any task may take: then something is wrong, and waiting on would not say so. */
const PATIENCE_MS = 150_000

// Before there is anything to clear away.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, interrupt)
// A reader that has enough, such as `head`, or a terminal that was closed.
process.stdout.on('error', ({ code }) => interrupt(code === 'EIO' ? 'SIGHUP' : 'SIGPIPE'))

const here = dirname(fileURLToPath(import.meta.url))
const store = mkdtempSync(join(tmpdir(), 'outlive-demo-'))
/** Only looks, and kills when the demo is interrupted; the news goes to the hosts, which subscribe. */
const watcher = new TaskRegistry({ storageDir: store })
const list = () => watcher.list({ sessionId: SESSION, previewBytes: 400 })
const isNamed = (name) => (task) => task.description === name
const endless = WORK.find((work) => work.endless).name

const started = new Map()
const told = new Map()
let host
let most = 0
let clearing
let exitCode = 1

/** Starts the plugin, and hears what it says. */
function startHost(number) {
  if (clearing) throw new Error('the demo is over')
  const child = spawn(process.execPath, [join(here, 'host.mjs'), store, dirname(here)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    // Ctrl-C in the terminal is for the demo, which ends the host itself.
    detached: true,
  })
  const answers = new Map()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { kind, value } = heard(line)
    if (kind === 'told') tell(value, number)
    else if (kind === 'started') started.set(value.id, value.name)
    else if (kind === 'error') for (const answer of answers.values()) answer.reject(new Error(value))
    else answers.get(kind)?.resolve(value)
  })
  child.stdin.on('error', () => {}) // A host that was killed reads no more orders.
  // Not 'exit': what it said before it was killed may still be in the pipe.
  const gone = once(child, 'close')
  const ask = (order) => {
    const answer = new Promise((resolve, reject) => answers.set(order, { resolve, reject }))
    child.stdin.write(`${order}\n`)
    const never = gone.then(() => Promise.reject(new Error(`host ${number} ended before it answered: ${order}`)))
    return Promise.race([answer, never])
  }
  const isGone = () => child.exitCode !== null || child.signalCode !== null
  return { child, ask, gone, isGone }
}

function heard(line) {
  try {
    return JSON.parse(line)
  } catch {
    return {} // SIGKILL cut it off in the middle, so its callback never returned, and it will be told again.
  }
}

function tell(completion, number) {
  if (clearing) return
  const { taskId, description, status, exitCode, signal, durationMs, descendants, attempt, outputPreview } = completion
  told.set(taskId, [...(told.get(taskId) ?? []), { ...completion, host: number }])
  const how = status === 'completed' ? green(status) : red(status)
  const facts = [exitCode === null ? signal : `exit code ${exitCode}`, seconds(durationMs)]
  if (descendants > 0) facts.push(`${descendants} process left behind`)
  if (attempt > 1) facts.push(`attempt ${attempt}`)
  print(`  host ${number} is told: ${bold(description)} ${how}, ${facts.join(', ')}`)
  for (const line of lastLines(outputPreview, 2)) print(dim(`      ${line.slice(0, 100)}`))
}

const diskUse = (path) => statSync(path).blocks * 512

/** Draws until `isOver` says so. */
async function watch(isOver) {
  const until = Date.now() + PATIENCE_MS
  for (;;) {
    // What is killed while all is cleared away is no part of the story.
    if (clearing) return new Promise(() => {})
    const tasks = list()
    const writer = tasks.find(isNamed(endless))
    if (writer) most = Math.max(most, diskUse(writer.stdoutPath))
    draw(tasks)
    if (isOver(tasks)) return
    if (Date.now() > until) throw new Error(`nothing came of it within ${seconds(PATIENCE_MS)}`)
    if (host?.isGone()) throw new Error('the host ended by itself')
    await pause(80)
  }
}

async function run() {
  print(bold('A plugin starts work.'))
  host = startHost(1)
  await host.ask('start')
  await watch(() => told.size > 0)
  host.child.kill('SIGKILL')
  await host.gone
  if (clearing) return new Promise(() => {})
  host = undefined
  print(`${bold(red('The plugin is SIGKILLed.'))} Its tasks go on, with their deadlines and limits.`)

  const killedAt = Date.now()
  const unheard = new Set()
  await watch((tasks) => {
    for (const { taskId, finishedAt, description, status } of tasks) {
      if (finishedAt === null || finishedAt < killedAt || unheard.has(taskId)) continue
      unheard.add(taskId)
      print(`  nobody is there: ${bold(description)} ended as ${status}; its news waits on the disk`)
    }
    return unheard.size > 0 && Date.now() - killedAt > 2500
  })

  print(bold('It starts again, and is told the rest.'))
  host = startHost(2)
  await watch(() => told.size === WORK.length - 1)
  print(bold('It kills what is left: `yes`, and the server that stayed behind.'))
  await host.ask('kill')
  await watch((tasks) => told.size === WORK.length && tasks.every((task) => task.completionDelivered))
  const ended = list()
  const writer = ended.find(isNamed(endless))
  const disk = { id: writer?.taskId, bytes: diskUse(writer?.stdoutPath) }
  // A third telling, if there were one, would come now.
  await pause(300)
  const removed = await host.ask('cleanup')
  return { store, started, told, ended, removed, disk, most, unheard }
}

function report(outcome) {
  const rows = outcome.ended.map((task) => {
    const times = told.get(task.taskId) ?? []
    const by = times.map((one) => `host ${one.host}`).join(', ')
    const code = task.exitCode ?? task.signal ?? ''
    return [task.description, task.status, code, seconds(task.durationMs), times.length, by]
  })
  print(`\n${table(['task', 'status', 'code', 'took', 'told', 'by'], rows)}\n`)
  const checks = verdicts(outcome)
  for (const [what, holds] of checks) print(`${holds ? green('✓') : red('✗')} ${what}`)
  return checks.every(([, holds]) => holds)
}

/** Ends whatever still runs and takes the store away, once, however the demo ends. */
function clearAway() {
  clearing ??= (async () => {
    close()
    if (host && !host.isGone()) host.child.kill('SIGKILL')
    await host?.gone
    const ids = new Set(started.keys())
    for (let tries = 0; tries < 50; tries += 1) {
      const tasks = list()
      for (const { taskId } of tasks) ids.add(taskId)
      const left = tasks.filter((task) => task.finishedAt === null || task.descendants > 0)
      if (left.length === 0 && survivors(ids).length === 0) break
      // Without a wait: one that its dying host was just about to start is in the list a moment later.
      await Promise.allSettled(left.map((task) => watcher.kill(task.taskId, { sessionId: SESSION, graceMs: 0 })))
      await pause(20)
    }
    watcher.detach()
    rmSync(store, { recursive: true, force: true, maxRetries: 5 })
  })()
  return clearing
}

/** Maybe twice: npm passes a Ctrl-C on to a process that the terminal has told already. */
function interrupt(signal) {
  exitCode = 128 + constants.signals[signal]
  clearAway().finally(() => {
    // By the signal itself, as a shell expects of a program that it interrupted.
    process.removeAllListeners(signal)
    if (signal !== 'SIGPIPE') process.kill(process.pid, signal)
    process.exit(exitCode) // Node ignores SIGPIPE.
  })
}

try {
  if (report(await run())) exitCode = 0
} catch (error) {
  if (!clearing) print(red(`✗ ${error.stack}`))
}
if (!clearing) clearAway().finally(() => process.exit(exitCode))
