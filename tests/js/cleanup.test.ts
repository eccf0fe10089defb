import { execFileSync, spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { TaskRegistry } from 'outlive'
import { gate, isAlive, obedient, patient, processesOf, readyFifo, stop } from './support/guests'
import { type HostScope, host } from './support/host'
import { listen } from './support/listen'
import { aged, dateBack, makeFifos, original, rewrite } from './support/records'
import { atTheEnd, eventually, registryAt, temporaryStore } from './support/store'

const store = temporaryStore()
const everything = { olderThanMs: 0, undeliveredOlderThanMs: 0 }
const hour = 3_600_000

/** Until its supervisor is gone too, which comes a moment after the news, a task counts as inhabited. */
async function gone(taskId: string): Promise<void> {
  await eventually(() => processesOf(taskId).length === 0, 'its supervisor is gone')
}

/** A finished task of whose end nobody wants to hear, unless `notify` says so; its id. */
async function finished(
  tasks: TaskRegistry,
  sessionId: string,
  command = 'echo done',
  notify = false,
): Promise<string> {
  const id = await tasks.spawn(command, { sessionId, notify })
  await tasks.wait(id)
  await gone(id)
  return id
}

function file(taskId: string, name: string): string {
  return join(store.taskDir(taskId)!, name)
}

/** Changes what the supervisor recorded, as a clock that stood elsewhere would have. */
function rewriteEnd(taskId: string, change: object): void {
  rewrite(store.taskDir(taskId)!, 'ended.json', (ended) => ({ ...ended, ...change }))
}

function makeOld(path: string): void {
  dateBack(path, 2 / 24)
}

test('cleanup takes what is finished and never what runs, here or started by another host', async () => {
  // R6
  const sessionId = 'runs'
  const [ready, wait] = [readyFifo(store), gate(store)]
  const node = await host(store)
  const spawn = ({ tasks }: { tasks: TaskRegistry }, command: string, sessionId: string) =>
    tasks.spawn(command, { sessionId, notify: false })
  const theirs = await node.call(spawn, patient(ready), sessionId)
  const tasks = store.registry()
  const ours = await tasks.spawn(obedient(ready, wait), { sessionId, notify: false })
  const pids = [Number(await ready.line()), Number(await ready.line())]
  const over = await finished(tasks, sessionId)
  expect(await tasks.cleanup(everything)).toBe(1)
  expect(store.taskDir(over)).toBeUndefined()
  expect(tasks.status(over)).toBeNull()
  expect(pids.map(isAlive)).toEqual([true, true])
  expect([ours, theirs].map((id) => tasks.status(id, { sessionId })?.status)).toEqual(['running', 'running'])
  wait.open()
  expect(await tasks.wait(ours)).toMatchObject({ status: 'completed', exitCode: 0 })
  await tasks.kill(theirs, { sessionId })
  for (const id of [ours, theirs]) await gone(id)
  expect(await tasks.cleanup(everything)).toBe(2)
  expect(tasks.list({ sessionId })).toEqual([])
  await node.kill()
})

test('while cleanup goes through many tasks, others are heard and answered', async () => {
  // R6
  const sessionId = 'many'
  const tasks = store.registry({ maxRunning: 1000 })
  const ids = await Promise.all(Array.from({ length: 200 }, () => tasks.spawn('true', { sessionId, notify: false })))
  await Promise.all(ids.map((id) => tasks.wait(id)))
  const order: string[] = []
  const cleaned = tasks.cleanup(everything).then((removed) => order.push(`cleanup of ${removed}`))
  // It is asked for behind the cleanup.
  const answered = tasks.replay(sessionId).then(() => order.push('replay'))
  await Promise.all([cleaned, answered])
  expect(order).toEqual(['replay', 'cleanup of 200'])
  expect(tasks.list({ sessionId })).toEqual([])
})

test('cleanup never takes a finished task that has live descendants', async () => {
  // R6
  const sessionId = 'inhabited'
  const ready = readyFifo(store)
  const tasks = store.registry()
  const id = await tasks.spawn(`(${patient(ready)}) & exit 0`, { sessionId, notify: false })
  const ended = await tasks.wait(id)
  await ready.line()
  expect(ended).toMatchObject({ status: 'completed', exitCode: 0 })
  const others = [tasks, store.registry()]
  for (const registry of others) {
    await registry.replay(sessionId)
    expect(await registry.cleanup(everything)).toBe(0)
    expect(registry.status(id, { sessionId })).toMatchObject({ status: 'completed', descendants: 1 })
  }
  await tasks.kill(id)
  await gone(id)
  expect(await tasks.cleanup(everything)).toBe(1)
})

test('cleanup leaves what nobody has heard of until it is older than the second limit', async () => {
  // R6
  const sessionId = 'undelivered'
  const tasks = store.registry()
  const id = await finished(tasks, sessionId, 'true', true)
  expect(await tasks.cleanup({ olderThanMs: 0 })).toBe(0)
  expect(await tasks.cleanup()).toBe(0)
  expect(tasks.pending({ sessionId })).toMatchObject([{ taskId: id }])
  tasks.drain({ sessionId })
  expect(await tasks.cleanup()).toBe(0)
  expect(await tasks.cleanup({ olderThanMs: 0 })).toBe(1)
  await finished(tasks, sessionId, 'true', true)
  expect(await tasks.cleanup(everything)).toBe(1)
  expect(tasks.drain({ sessionId })).toEqual([])
})

test('cleanup takes what was told after a day and the rest after a week, unless other limits are named', async () => {
  // R6
  const sessionId = 'limits'
  const good = await original(store, sessionId)
  const [young, old] = [aged(good, 23 / 24, true), aged(good, 25 / 24, true)]
  const [untold, forgotten] = [aged(good, 7 - 1 / 24), aged(good, 7 + 1 / 24)]
  makeFifos(dirname(good), [young, old, untold, forgotten])
  const tasks = store.registry()
  await tasks.replay(sessionId)
  expect(await tasks.cleanup()).toBe(2)
  expect([old, forgotten].filter((id) => tasks.status(id) !== null)).toEqual([])
  expect([young, untold].map((id) => tasks.status(id)?.status)).toEqual(['failed', 'failed'])
})

test('a command that could not be executed is as old as its end, for the first cleanup that sees it too', async () => {
  // R6
  const sessionId = 'never executed'
  const tasks = store.registry()
  const shell = join(store.dir, 'no-interpreter')
  writeFileSync(shell, '#!/no/such/interpreter\n', { mode: 0o755 })
  for (const options of [{ shell }, { env: { HUGE: 'x'.repeat(200_000) } }]) {
    const id = await tasks.spawn('true', { sessionId, ...options })
    const { cause, finishedAt } = await tasks.wait(id)
    expect(cause).toBe('spawn_error')
    await gone(id)
    await eventually(() => Date.now() > finishedAt! + 1, 'it ended longer ago than the limit')
    expect(await tasks.cleanup({ olderThanMs: 0, undeliveredOlderThanMs: 1 })).toBe(1)
  }
})

test('cleanup keeps what nobody has heard of at least as long as what was told', async () => {
  // R6
  const sessionId = 'no shorter'
  const tasks = store.registry()
  const id = await finished(tasks, sessionId, 'true', true)
  expect(await tasks.cleanup({ olderThanMs: hour, undeliveredOlderThanMs: 0 })).toBe(0)
  expect(tasks.pending({ sessionId })).toMatchObject([{ taskId: id }])
  expect(await tasks.cleanup(everything)).toBe(1)
})

test('cleanup leaves a completion that a callback is holding', async () => {
  // R6
  const sessionId = 'held'
  const tasks = store.registry()
  const listener = listen(tasks, sessionId, () => {}, { ack: 'manual' })
  const id = await tasks.spawn('true', { sessionId })
  await listener.times(1)
  await gone(id)
  expect(await tasks.cleanup(everything)).toBe(0)
  expect(tasks.ack([id])).toBe(1)
  expect(await tasks.cleanup(everything)).toBe(1)
})

test('cleanup leaves the news of a task that was silent for long and has just been lost', async () => {
  // R6
  const sessionId = 'silent'
  const node = await host(store)
  const id = await node.call(({ tasks }, sessionId) => tasks.spawn('sleep 600', { sessionId, timeoutMs: 0 }), sessionId)
  await node.kill()
  const then = Date.now() - 9 * 24 * hour
  rewrite(store.taskDir(id)!, 'started.json', (started) => ({ ...started, startedAt: then }))
  for (const name of ['stdout', 'stderr']) utimesSync(file(id, name), then / 1000, then / 1000)
  const tasks = store.registry()
  expect(await tasks.replay(sessionId)).toMatchObject({ running: 1 })
  const { supervisorPid } = JSON.parse(readFileSync(file(id, 'started.json'), 'utf8'))
  process.kill(supervisorPid, 'SIGKILL')
  await eventually(() => tasks.status(id)?.status === 'lost', 'it is lost')
  await gone(id)
  expect(await tasks.cleanup()).toBe(0)
  expect(tasks.drain({ sessionId })).toMatchObject([{ taskId: id, status: 'lost' }])
})

test.each(['its supervisor', 'the machine'])(
  'cleanup leaves the news of a task that was silent for long and went with %s before any host saw it',
  async (what) => {
    // R6
    const sessionId = `silent until ${what} went`
    const node = await host(store)
    const spawn = ({ tasks }: HostScope, sessionId: string) => tasks.spawn('sleep 600', { sessionId, timeoutMs: 0 })
    const id = await node.call(spawn, sessionId)
    await eventually(() => existsSync(file(id, 'started.json')), 'it runs')
    await node.kill()
    const { supervisorPid } = JSON.parse(readFileSync(file(id, 'started.json'), 'utf8'))
    process.kill(supervisorPid, 'SIGKILL')
    await gone(id)
    const daysAgo = (days: number) => Date.now() - days * 24 * hour
    const dated = (name: string, days: number) => utimesSync(file(id, name), daysAgo(days) / 1000, daysAgo(days) / 1000)
    const bootId = what === 'the machine' ? { bootId: '11111111-2222-3333-4444-555555555555' } : {}
    const dir = store.taskDir(id)!
    rewrite(dir, 'started.json', (started) => ({ ...started, startedAt: daysAgo(9) }))
    rewrite(dir, 'task.json', (task) => ({ ...task, createdAt: daysAgo(9), ...bootId }))
    for (const name of ['command', 'stdout', 'stderr', 'task.json', 'started.json']) dated(name, 9)
    // Less than the machine has been running, for what ended since then cannot be older than that.
    const minute = { olderThanMs: 60_000, undeliveredOlderThanMs: 60_000 }
    const [tasks, next] = [store.registry(), store.registry()]
    for (const registry of [tasks, next]) {
      expect(await registry.replay(sessionId)).toMatchObject({ lost: 1, pending: 1 })
      expect(await registry.cleanup(minute)).toBe(0)
    }
    expect(tasks.pending({ sessionId })).toMatchObject([{ taskId: id, status: 'lost' }])
    dated('command', 8)
    expect(await next.cleanup({ undeliveredOlderThanMs: 8.5 * 24 * hour })).toBe(0)
    expect(await next.cleanup(minute)).toBe(1)
    expect(tasks.drain({ sessionId })).toEqual([])
  },
)

test('cleanup goes on past a task that it cannot delete, and says why where it could delete none', async () => {
  // R6
  const sessionId = 'immovable'
  const tasks = store.registry()
  const ids: string[] = []
  for (let at = 0; at < 5; at++) ids.push(await finished(tasks, sessionId))
  const stuck = [file(ids[0]!, 'stdout'), file(ids[2]!, 'task.json')]
  const release = (): void => {
    for (const path of stuck) if (existsSync(path)) execFileSync('chattr', ['-i', path])
  }
  try {
    for (const path of stuck) execFileSync('chattr', ['+i', path], { stdio: 'pipe' })
  } catch (error) {
    console.warn(`SKIPPED: nothing can be made undeletable here: ${error}`)
    return
  }
  atTheEnd(release)
  expect(await tasks.cleanup(everything)).toBe(3)
  expect(stuck.map((path) => existsSync(path))).toEqual([true, true])
  // The one that could not be begun is there as before, for every host.
  expect(tasks.status(ids[2]!)).toMatchObject({ status: 'completed', outputPreview: 'done\n' })
  expect(await store.registry().replay(sessionId)).toMatchObject({ finished: 1, unreadable: [] })
  // When nothing is left but such, their owner hears why.
  await expect(tasks.cleanup(everything)).rejects.toMatchObject({ code: 'STORAGE_FAILED', cause: { code: 'EPERM' } })
  release()
  expect(await tasks.cleanup(everything)).toBe(2)
  expect(ids.map((id) => store.taskDir(id))).toEqual([undefined, undefined, undefined, undefined, undefined])
})

const inUse = `SKIPPED: what stays in a directory while it is in use, which takes`

test('a task goes also where its file system keeps what is in use, and the rest of its directory goes an hour later', async () => {
  // R6
  const sessionId = 'in use'
  const tasks = store.registry()
  const id = await finished(tasks, sessionId)
  const [dir, stdout] = [store.taskDir(id)!, file(id, 'stdout')]
  // A network file system says of a file that is open what any says of one that is mounted on.
  const mounted = spawnSync('mount', ['--bind', stdout, stdout]).status === 0
  if (!mounted) return console.warn(`${inUse} the right to mount`)
  atTheEnd(() => void spawnSync('umount', ['-l', stdout]))
  expect(await tasks.cleanup(everything)).toBe(1)
  expect([tasks.status(id, { sessionId }), readdirSync(dir)]).toEqual([null, ['stdout']])
  const next = store.registry()
  expect(await next.replay(sessionId)).toMatchObject({ finished: 0, unreadable: [] })
  execFileSync('umount', [stdout])
  expect(await next.cleanup(everything)).toBe(0)
  expect(existsSync(dir)).toBe(true)
  makeOld(dir)
  await next.cleanup(everything)
  expect(existsSync(dir)).toBe(false)
})

test('a task goes also where its file system, in user space, keeps what is open under another name', async () => {
  // R6
  const [below, above] = ['below', 'above'].map((name) => join(store.dir, name)) as [string, string]
  for (const dir of [below, above]) mkdirSync(dir, { mode: 0o700 })
  const mounted = spawnSync('bindfs', [below, above]).status === 0
  if (!mounted) return console.warn(`${inUse} bindfs, and /dev/fuse`)
  atTheEnd(() => void spawnSync('umount', ['-l', above]))
  const tasks = registryAt(above)
  const id = await tasks.spawn('echo done')
  const { stdoutPath } = await tasks.wait(id)
  const [dir, fd] = [dirname(stdoutPath), openSync(stdoutPath, 'r')]
  expect(await tasks.cleanup(everything)).toBe(1)
  expect(tasks.status(id)).toBeNull()
  closeSync(fd)
  await eventually(() => readdirSync(dir).length === 0, 'nobody has a file of it open')
  makeOld(dir)
  await tasks.cleanup(everything)
  expect(existsSync(dir)).toBe(false)
})

test('what a dead host left of a task that never was goes when it is an hour old, and not before', async () => {
  // R6
  const sessionId = 'debris'
  const tasks = store.registry()
  const good = await tasks.spawn('true', { sessionId })
  await tasks.wait(good)
  const session = dirname(store.taskDir(good)!)
  const make = (name: string, fill: (dir: string) => void): string => {
    const dir = join(session, name)
    mkdirSync(dir, { mode: 0o700 })
    fill(dir)
    return dir
  }
  const empty = (): void => {}
  const half = (dir: string): void => {
    writeFileSync(join(dir, 'command'), 'true', { mode: 0o600 })
    writeFileSync(join(dir, 'task.json'), '{"version":1,"taskId":"ba', { mode: 0o600 })
  }
  const old = [make('bash-0000000000000001', empty), make('bash-0000000000000002', half)]
  const young = [make('bash-0000000000000003', empty), make('bash-0000000000000004', half)]
  const ahead = make('bash-0000000000000005', empty)
  const foreign = make('not-of-ours', empty)
  for (const dir of [...old, foreign]) makeOld(dir)
  const tomorrow = new Date(Date.now() + 24 * hour)
  utimesSync(ahead, tomorrow, tomorrow)
  expect(await tasks.cleanup()).toBe(0)
  expect(old.map((dir) => existsSync(dir))).toEqual([false, false])
  expect([...young, ahead, foreign].map((dir) => existsSync(dir))).toEqual([true, true, true, true])
  expect(tasks.status(good)).toMatchObject({ status: 'completed' })
})

test('what dead hosts have written aside goes with cleanup too', async () => {
  // R6
  const tasks = store.registry()
  const session = dirname(store.taskDir(await finished(tasks, 'drafts'))!)
  const copy = readdirSync(store.dir).find((name) => /^supervisor-[0-9a-f]+$/.test(name))!
  const drafts = [join(session, 'session.1.1'), join(store.dir, `${copy}.1.1`)]
  for (const draft of drafts) writeFileSync(draft, '')
  await tasks.cleanup()
  expect(drafts.map((draft) => existsSync(draft))).toEqual([true, true])
  for (const draft of drafts) makeOld(draft)
  await tasks.cleanup()
  expect(drafts.map((draft) => existsSync(draft))).toEqual([false, false])
})

test('cleanup deletes nothing through a link that was planted in a task’s place', async () => {
  // R6 R15
  const sessionId = 'planted debris'
  const tasks = store.registry()
  const good = await finished(tasks, sessionId)
  const outside = join(store.dir, 'outside')
  mkdirSync(outside)
  const names = ['task.json', 'notes', 'stdout']
  for (const name of names) writeFileSync(join(outside, name), 'precious')
  const link = join(dirname(store.taskDir(good)!), 'bash-0000000000000009')
  symlinkSync(outside, link)
  makeOld(outside)
  makeOld(link)
  for (let turn = 0; turn < 2; turn++) await tasks.cleanup(everything)
  expect(names.filter((name) => existsSync(join(outside, name)))).toEqual(names)
})

test('cleanup takes a task whose directory holds a tree of any depth, and its host lives', async () => {
  // R6
  const node = await host(store)
  const id = await node.call(async ({ tasks }) => {
    const id = await tasks.spawn('true', { sessionId: 'deep', notify: false })
    await tasks.wait(id)
    return id
  })
  await gone(id)
  const grow = "for (let i = 0; i < 15000; i++) { fs.mkdirSync('d'); process.chdir('d') }"
  execFileSync(process.execPath, ['-e', grow], { cwd: store.taskDir(id)! })
  const removed = () =>
    node.call(({ tasks }, everything) => tasks.cleanup(everything).catch((error: Error) => error.message), everything)
  let outcome = await removed()
  for (let turn = 0; turn < 5 && outcome !== 1; turn++) {
    expect(outcome).toMatch(/the rest goes the next time/)
    outcome = await removed()
  }
  expect(outcome).toBe(1)
  expect(store.taskDir(id)).toBeUndefined()
  await node.kill()
}, 180_000)

describe('an end that lies in the future', () => {
  // Seen from a clock that has just been reset, every end lies half a century ahead.
  const aheads = [hour, 24 * hour, Date.now()]
  const anyAge = { olderThanMs: 1, undeliveredOlderThanMs: 1 }

  async function ahead(sessionId: string, task: object = {}): Promise<[TaskRegistry, string[]]> {
    const first = store.registry()
    const ids: string[] = []
    for (const ahead of aheads) {
      const id = await finished(first, sessionId)
      rewriteEnd(id, { finishedAt: Date.now() + ahead })
      rewrite(store.taskDir(id)!, 'task.json', (record) => ({ ...record, ...task }))
      ids.push(id)
    }
    first.detach()
    const tasks = store.registry()
    expect(await tasks.replay(sessionId)).toMatchObject({ finished: 3, unreadable: [] })
    return [tasks, ids]
  }

  test('says nothing about its age: a clock near 1970 deletes nothing of before, until all is to go', async () => {
    // R12
    const [tasks, ids] = await ahead('future', { bootId: '11111111-2222-3333-4444-555555555555' })
    expect(await tasks.cleanup(anyAge)).toBe(0)
    expect(await tasks.cleanup()).toBe(0)
    expect(ids.filter((id) => store.taskDir(id) === undefined)).toEqual([])
    expect(await tasks.cleanup({ olderThanMs: 0 })).toBe(3)
  })

  test('is as old as the clock says that nobody sets, in the boot that it was in', async () => {
    // R12
    const [tasks, ids] = await ahead('future of this boot')
    expect(await tasks.cleanup()).toBe(0)
    expect(ids.filter((id) => store.taskDir(id) === undefined)).toEqual([])
    expect(await tasks.cleanup(anyAge)).toBe(3)
  })
})

test('a duration is of the clock that nobody sets, whatever the dates say', async () => {
  // R12
  const sessionId = 'duration'
  const first = store.registry()
  const before = process.hrtime.bigint()
  const id = await finished(first, sessionId, 'sleep 0.3')
  const elapsedMs = Number(process.hrtime.bigint() - before) / 1e6
  const { durationMs, startedAt } = first.status(id)!
  expect(durationMs).toBeGreaterThanOrEqual(299)
  expect(durationMs).toBeLessThanOrEqual(elapsedMs + 1)
  // The clock was set back by an hour while it ran.
  rewriteEnd(id, { finishedAt: startedAt - hour })
  first.detach()
  const tasks = store.registry()
  await tasks.replay(sessionId)
  expect(tasks.status(id)).toMatchObject({ durationMs, startedAt, finishedAt: startedAt - hour, exitCode: 0 })
})

test('a host that only starts tasks forgets what another one has removed', async () => {
  // R6
  const sessionId = 'only starts'
  const first = store.registry({ maxRunning: 300 })
  const past = await finished(first, sessionId)
  const other = store.registry()
  await other.replay(sessionId)
  expect(await other.cleanup(everything)).toBe(1)
  expect(store.taskDir(past)).toBeUndefined()
  // It does not look after each of them.
  await Promise.all(Array.from({ length: 256 }, () => first.spawn('true', { sessionId, notify: false })))
  expect(first.status(past, { sessionId })).toBeNull()
})

test('a clock that was set forward since takes nothing away that ended a moment ago', async () => {
  // R12
  const sessionId = 'forward'
  const first = store.registry()
  const id = await first.spawn('true', { sessionId })
  await first.wait(id)
  await gone(id)
  first.detach()
  rewriteEnd(id, { startedAt: Date.now() - 720 * hour, finishedAt: Date.now() - 720 * hour })
  const tasks = store.registry()
  await tasks.replay(sessionId)
  expect(await tasks.cleanup()).toBe(0)
  expect(tasks.drain({ sessionId })).toMatchObject([{ taskId: id }])
  expect(await tasks.cleanup(everything)).toBe(1)
})

test('two hosts that clean up at once take what is finished and leave the rest alone', async () => {
  // R6
  const sessionId = 'both'
  const tasks = store.registry({ maxRunning: 20 })
  const other = await host(store)
  const ids = await Promise.all(Array.from({ length: 20 }, () => finished(tasks, sessionId, 'true')))
  await other.call(({ tasks }, sessionId) => tasks.replay(sessionId), sessionId)
  const wait = gate(store)
  const ready = readyFifo(store)
  const runs = await tasks.spawn(obedient(ready, wait), { sessionId, notify: false })
  await ready.line()
  await Promise.all([
    tasks.cleanup(everything),
    other.call(({ tasks }, everything) => tasks.cleanup(everything), everything),
  ])
  expect(ids.filter((id) => store.taskDir(id) !== undefined)).toEqual([])
  expect(tasks.status(runs)).toMatchObject({ status: 'running' })
  wait.open()
  await eventually(() => tasks.status(runs)?.status === 'completed', 'the last one ends')
  await other.kill()
})

test('what another host has told and removed is neither listed nor told again, however many tasks came since', async () => {
  // D15
  const sessionId = 'removed elsewhere'
  const [one, other] = [store.registry(), store.registry()]
  const past = await one.spawn('true', { sessionId })
  await one.wait(past)
  await gone(past)
  expect(other.pending({ sessionId })).toMatchObject([{ taskId: past }])
  expect(one.drain({ sessionId })).toMatchObject([{ taskId: past }])
  expect(await one.cleanup({ olderThanMs: 0 })).toBe(1)
  const since = [await finished(one, sessionId), await finished(one, sessionId)]
  expect(other.list({ sessionId }).map((task) => task.taskId)).toEqual(since)
  expect(other.drain({ sessionId })).toEqual([])
})

test('what a host was removing when it was killed is neither listed nor counted', async () => {
  // D19
  const sessionId = 'half removed'
  const tasks = store.registry()
  const [half, whole] = [await finished(tasks, sessionId), await finished(tasks, sessionId)]
  // It goes first.
  rmSync(file(half, 'task.json'))
  expect(tasks.status(half, { sessionId })).toBeNull()
  expect(tasks.list({ sessionId }).map((task) => task.taskId)).toEqual([whole])
  expect(await tasks.replay(sessionId)).toMatchObject({ finished: 1 })
})

test('who takes over a session does not tell an end again that its former owner has told and removed', async () => {
  // D15
  const sessionId = 'removed before the takeover'
  const [one, other] = [store.registry(), store.registry()]
  const told: string[] = []
  one.onCompletion(({ taskId }) => void told.push(taskId), { sessionId, ack: 'manual' })
  const past = await one.spawn('true', { sessionId })
  await eventually(() => told.includes(past), 'its owner tells it')
  await gone(past)
  const heard: string[] = []
  other.onCompletion(({ taskId }) => void heard.push(taskId), { sessionId })
  expect(other.pending({ sessionId })).toMatchObject([{ taskId: past }])
  one.ack([past])
  expect(await one.cleanup({ olderThanMs: 0 })).toBe(1)
  await finished(one, sessionId)
  await finished(one, sessionId)
  one.detach()
  const last = await other.spawn('true', { sessionId })
  await eventually(() => heard.includes(last), 'the new owner tells the end that comes after it')
  expect(heard).toEqual([last])
})

test('who was stopped while an end was told and removed elsewhere, and then takes over, does not tell it as lost', async () => {
  // D15 D16
  const sessionId = 'removed while stopped'
  const go = gate(store)
  const say = ({ tasks, say }: HostScope, sessionId: string): void => {
    tasks.onCompletion(({ taskId, status }) => say({ taskId, status }), { sessionId })
  }
  const owner = await host(store)
  await owner.call(say, sessionId)
  const id = await owner.call(
    ({ tasks }, sessionId, path) => tasks.spawn(`read _ < ${path}`, { sessionId }),
    sessionId,
    go.path,
  )
  const next = await host(store)
  await next.call(say, sessionId)
  expect(await next.call(({ tasks }, id) => tasks.status(id, { sessionId: 'removed while stopped' })?.status, id)).toBe(
    'running',
  )
  await stop(next.pid)
  const other = store.registry()
  await finished(other, sessionId) // it rings, so that the owner's end is not the first that the stopped host hears of
  go.open()
  expect(await owner.heard()).toEqual({ taskId: id, status: 'completed' })
  await gone(id)
  expect(await owner.call(({ tasks }) => tasks.cleanup({ olderThanMs: 0 }))).toBe(2)
  await owner.kill()
  process.kill(next.pid, 'SIGCONT')
  await eventually(
    async () => (await next.call(({ tasks }, id) => tasks.status(id)?.status, id)) !== 'running',
    'it knows that the task is over',
  )
  const last = await other.spawn('true', { sessionId })
  expect(await next.heard()).toEqual({ taskId: last, status: 'completed' })
  await next.kill()
})
