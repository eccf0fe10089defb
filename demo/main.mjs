// `npm run demo`: a plugin starts real work, is SIGKILLed in the middle, starts again, and misses nothing.
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { bold, dim, draw, erase, green, print, red, table } from './screen.mjs'
import { LIMIT, WORK } from './work.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const store = mkdtempSync(join(tmpdir(), 'outlive-demo-'))
const started = new Map()
const told = new Map()
let host

/** Starts the plugin, and hears what it says. */
function startHost(number) {
  const child = spawn(process.execPath, [join(here, 'host.mjs'), store, dirname(here)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    // Ctrl-C in the terminal is for the demo, which ends the host itself.
    detached: true,
  })
  const heard = {}
  const waiting = {}
  createInterface({ input: child.stdout }).on('line', (text) => {
    const [[kind, value]] = Object.entries(JSON.parse(text))
    if (kind === 'told') tell(value, number)
    if (kind === 'started') started.set(value.id, value.name)
    heard[kind] = value
    waiting[kind]?.(value)
  })
  const next = (kind) => new Promise((resolve) => (waiting[kind] = resolve))
  const gone = new Promise((resolve) => child.on('exit', resolve))
  const order = (word) => child.stdin.write(`${word}\n`)
  child.stdin.on('error', () => {}) // A host that was killed reads no more orders.
  return { child, next, order, gone, heard }
}

function tell(completion, number) {
  const times = told.get(completion.taskId) ?? []
  told.set(completion.taskId, [...times, { ...completion, host: number }])
  const how = completion.status === 'completed' ? green(completion.status) : red(completion.status)
  const rest = completion.descendants > 0 ? `, ${completion.descendants} process left behind` : ''
  const took = `${(completion.durationMs / 1000).toFixed(1)} s`
  print(
    `  host ${number} is told: ${bold(completion.description)} ${how}, exit code ${completion.exitCode}, ${took}${rest}`,
  )
  const last = completion.outputPreview
    .trimEnd()
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-2)
  for (const line of last) print(dim(`      ${line.slice(0, 100)}`))
}

/** Draws until `over` says so. */
async function watch(over) {
  do {
    host.order('status')
    const tasks = await Promise.race([host.next('status'), host.gone.then(() => [])])
    draw(
      tasks.map((task) => ({
        ...task,
        name: task.description,
        last: task.outputPreview.trimEnd().split('\n').at(-1) ?? '',
      })),
    )
    if (over(tasks)) return
    await pause(100)
  } while (host.child.exitCode === null && host.child.signalCode === null)
}

async function run() {
  print(bold('A plugin starts work.'))
  host = startHost(1)
  const all = new Promise((resolve) => {
    const check = () => (started.size === WORK.length ? resolve() : host.next('started').then(check))
    host.next('started').then(check)
  })
  host.order('start')
  await all
  await watch(() => told.size >= 1)
  process.kill(host.child.pid, 'SIGKILL')
  await host.gone
  print(`${bold(red('The plugin is SIGKILLed.'))} Its tasks go on, with their deadlines and limits.`)
  await pause(4000)

  print(bold('It starts again, and is told the rest.'))
  host = startHost(2)
  await watch(() => told.size === WORK.length - 1)
  const disk = highWater()
  print(bold('It kills what is left: `yes`, and the server that stayed behind.'))
  host.order('finish')
  const { ended, removed } = await host.next('finished')
  await host.gone
  return { ended, removed, disk }
}

/** What the one that writes for ever has on the disk. */
function highWater() {
  const id = [...started].find(([, name]) => name === 'yes, 10 MiB')?.[0]
  const session = readdirSync(store).find((name) =>
    readdirSync(join(store, name), { recursive: false }).includes(id ?? ''),
  )
  return statSync(join(store, session, id, 'stdout')).blocks * 512
}

/** Processes that carry the mark of one of our tasks. */
function survivors() {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.filter((pid) => {
    try {
      const mark = /OUTLIVE_TASK_ID=(bash-[0-9a-f]{16})/.exec(readFileSync(`/proc/${pid}/environ`, 'latin1'))
      return mark !== null && started.has(mark[1])
    } catch {
      return false // It ended while we looked.
    }
  })
}

function verdicts({ ended, removed, disk }) {
  const once = [...started.keys()].every((id) => told.get(id)?.length === 1)
  const asWanted = WORK.every(({ name, status, exitCode }) => {
    const task = ended.find((one) => one.description === name)
    return task?.status === status && task.exitCode === exitCode
  })
  const folders = readdirSync(store).filter((name) => !name.startsWith('supervisor-'))
  const files = folders.flatMap((name) => readdirSync(join(store, name)))
  return [
    ['every end was told, and told once', once],
    ['both hosts were told something', new Set([...told.values()].flat().map((one) => one.host)).size === 2],
    ['everything ended as it should', asWanted],
    [
      `\`yes\` has ${(disk / 2 ** 20).toFixed(1)} MiB on the disk, under twice its limit and the overshoot`,
      disk < 2 * LIMIT + 64 * 2 ** 20,
    ],
    ['no process is left', survivors().length === 0],
    ['no file is left but the session itself', removed === WORK.length && files.sort().join() === 'owner,session'],
  ]
}

/** Ends whatever still runs, also when the demo is interrupted. */
async function clearAway() {
  erase()
  if (host && host.child.exitCode === null && host.child.signalCode === null) {
    host.child.kill('SIGKILL')
    await host.gone
  }
  const { TaskRegistry } = await import('outlive')
  const tasks = new TaskRegistry({ storageDir: store })
  const left = tasks.list({ sessionId: 'demo' }).filter((task) => task.finishedAt === null || task.descendants > 0)
  await Promise.all(left.map((task) => tasks.kill(task.taskId, { sessionId: 'demo', graceMs: 0 })))
  tasks.detach()
  rmSync(store, { recursive: true, force: true })
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, async () => {
    await clearAway()
    process.exit(130)
  })
}

let held = false
try {
  const outcome = await run()
  const rows = outcome.ended.map((task) => {
    const times = told.get(task.taskId) ?? []
    const by = times.map((one) => `host ${one.host}`).join(', ')
    return [
      task.description,
      task.status,
      task.exitCode ?? task.signal ?? '',
      `${(task.durationMs / 1000).toFixed(1)} s`,
      times.length,
      by,
    ]
  })
  print(`\n${table(['task', 'status', 'code', 'took', 'told', 'by'], rows)}\n`)
  const checks = verdicts(outcome)
  for (const [what, holds] of checks) print(`${holds ? green('✓') : red('✗')} ${what}`)
  held = checks.every(([, holds]) => holds)
} finally {
  await clearAway()
}
process.exit(held ? 0 : 1)
