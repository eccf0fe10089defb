/** What two hosts of one session do at the same moment, and what one of them could not hear. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Completion, TaskRegistry } from 'outlive'
import { addonWithFailpoints } from './support/failpoints'
import { gate, obedient, processesOf, readyFifo, statOf, stop } from './support/guests'
import { type Host, type HostScope, host } from './support/host'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const holding = join(store.dir, 'hold.so')
execFileSync('cc', ['-O1', '-Wall', '-Werror', '-shared', '-fPIC', '-o', holding, join(__dirname, 'support/hold.c')])
let addon: string

beforeAll(async () => {
  addon = await addonWithFailpoints()
}, 300_000)

let sessions = 0
const session = (): string => `session ${++sessions}`

/** Says every completion of the session, and takes it; when this resolves, the host has looked at the session. */
const listenIn = (node: Host, sessionId: string, ack: 'auto' | 'manual' = 'auto'): Promise<unknown> =>
  node.call(
    ({ tasks, say }, sessionId, ack) => {
      tasks.onCompletion(say, { sessionId, ack })
      return tasks.replay(sessionId)
    },
    sessionId,
    ack,
  )

const spawnIn = (node: Host, sessionId: string, command: string): Promise<string> =>
  node.call(({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId }), command, sessionId)

function directoryOf(sessionId: string): string {
  const keys = readdirSync(store.dir).filter((key) => !key.startsWith('supervisor-'))
  return join(store.dir, keys.find((key) => readFileSync(join(store.dir, key, 'session'), 'utf8') === sessionId)!)
}

test('the owner dies while another host drains: what it left is told all the same', async () => {
  // D15
  const [other, sessionId] = [session(), session()] // drained in this order
  const env = { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: 'host.before_delivered=1*delay(3000ms)' }
  const [owner, next] = [await host(store), await host(store, { env })]
  const ready = readyFifo(store)
  const wait = gate(store)
  await listenIn(owner, sessionId, 'manual')
  const held = await spawnIn(owner, sessionId, 'true')
  expect(await owner.heard()).toMatchObject({ taskId: held })
  const first = await spawnIn(owner, other, 'true')
  await owner.call(({ tasks }, id, sessionId) => tasks.wait(id, { sessionId }), first, other)
  await next.call(({ tasks }, other) => tasks.replay(other), other)
  await listenIn(next, sessionId)
  const drained = next.call(({ tasks, say }) => {
    say('draining')
    return tasks.drain().map(({ taskId }) => taskId)
  })
  expect(await next.heard()).toBe('draining')
  // It has looked at the session, and is held up at another one.
  const left = await spawnIn(owner, sessionId, obedient(ready, wait))
  await ready.line()
  await owner.kill()
  expect(await drained).toEqual([first, held])
  wait.open()
  expect(await next.heard()).toMatchObject({ taskId: left, status: 'completed' })
  await next.kill()
})

test('a host that was held up tells in the order of the ends, whatever rang first', async () => {
  // D18
  const sessionId = session()
  const [owner, other] = [await host(store), await host(store)]
  const ready = readyFifo(store)
  const waits = [gate(store), gate(store)] as const
  await listenIn(owner, sessionId)
  const first = await spawnIn(owner, sessionId, obedient(ready, waits[0]))
  await ready.line()
  await stop(owner.pid)
  // Its start rings the owner, before the other one's end does.
  const second = await spawnIn(other, sessionId, obedient(ready, waits[1]))
  await ready.line()
  for (const [id, wait] of [
    [first, waits[0]],
    [second, waits[1]],
  ] as const) {
    wait.open()
    await eventually(() => processesOf(id).length === 0, 'it has ended')
  }
  process.kill(owner.pid, 'SIGCONT')
  const told = [await owner.heard<Completion>(), await owner.heard<Completion>()]
  expect(told.map(({ taskId }) => taskId)).toEqual([first, second])
  await Promise.all([owner.kill(), other.kill()])
})

test('a completion that another host takes on its way to a callback is not told any more', async () => {
  // D16
  const sessionId = session()
  const [owner, other] = [await host(store), await host(store)]
  await listenIn(owner, sessionId)
  const wait = gate(store)
  const id = await spawnIn(owner, sessionId, `read _ < ${wait.path}`)
  const held = owner.call(
    ({ say }, flag) => {
      const { existsSync } = require('node:fs')
      say('held')
      while (!existsSync(flag));
    },
    join(store.dir, 'go on'),
  )
  expect(await owner.heard()).toBe('held')
  wait.open()
  await other.call(({ tasks }, id, sessionId) => tasks.wait(id, { sessionId }), id, sessionId)
  // `leases` says that it is on its way.
  await eventually(() => readdirSync(store.taskDir(id)!).includes('leases'), 'it was handed out')
  expect(await other.call(({ tasks }, id) => tasks.ack([id]), id)).toBe(1)
  execFileSync('touch', [join(store.dir, 'go on')])
  await held
  const last = await spawnIn(owner, sessionId, 'exit 3')
  expect(await owner.heard()).toMatchObject({ taskId: last })
  expect(owner.printed().stderr).toBe('')
  await Promise.all([owner.kill(), other.kill()])
})

test('a completion that another host takes while a slow disk notes its attempt is not told any more', async () => {
  // D16
  const sessionId = session()
  const env = { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: 'host.after_lease=1*delay(3000ms)' }
  const [owner, other] = [await host(store, { env }), await host(store)]
  await listenIn(owner, sessionId)
  const id = await spawnIn(other, sessionId, 'exit 2')
  await other.call(({ tasks }, id) => tasks.wait(id), id)
  // From here on the owner is held up for a while, with the completion in its hands.
  await eventually(() => {
    const leases = join(store.taskDir(id)!, 'leases')
    return existsSync(leases) && statSync(leases).size === 1
  }, 'its attempt is noted')
  expect(await other.call(({ tasks }, id) => tasks.ack([id]), id)).toBe(1)
  const last = await spawnIn(owner, sessionId, 'exit 3')
  expect(await owner.heard()).toMatchObject({ taskId: last })
  expect(owner.printed().stderr).toBe('')
  await Promise.all([owner.kill(), other.kill()])
})

test('a session whose FIFO is gone, as a copy without FIFOs leaves it, is served again', async () => {
  // D15
  const sessionId = session()
  const before = await host(store)
  const id = await spawnIn(before, sessionId, 'exit 4')
  await before.call(({ tasks }, id, sessionId) => tasks.wait(id, { sessionId }), id, sessionId)
  await before.kill()
  unlinkSync(join(directoryOf(sessionId), 'owner'))
  const next = await host(store)
  await listenIn(next, sessionId)
  expect(await next.heard()).toMatchObject({ taskId: id, exitCode: 4 })
  await next.kill()
})

test('who waited for an owner whose session was taken away and made anew waits for the new one', async () => {
  // D15
  const sessionId = session()
  const [owner, waiting, anew] = [await host(store), await host(store), await host(store)]
  await listenIn(owner, sessionId)
  await listenIn(waiting, sessionId)
  rmSync(directoryOf(sessionId), { recursive: true })
  await listenIn(anew, sessionId)
  const ready = readyFifo(store)
  const wait = gate(store)
  await owner.kill()
  const id = await spawnIn(anew, sessionId, obedient(ready, wait))
  await ready.line()
  // It has heard of the owner's end: this is answered behind it.
  await waiting.call(({ tasks }) => tasks.sessions())
  await anew.kill()
  wait.open()
  expect(await waiting.heard()).toMatchObject({ taskId: id, status: 'completed' })
  await waiting.kill()
})

test('a spawn that fails leaves no zombie behind', async () => {
  // P5
  const env = { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: 'supervisor.before_leader=kill' }
  const node = await host(store, { env, registry: { maxRunning: 100 } })
  const codes = await node.call(({ tasks }) =>
    Promise.all(Array.from({ length: 20 }, () => tasks.spawn('true').catch((error) => error.code))),
  )
  expect(new Set(codes)).toEqual(new Set(['SPAWN_FAILED']))
  const children = () => readFileSync(`/proc/${node.pid}/task/${node.pid}/children`, 'utf8').trim().split(' ')
  const threads = () => readdirSync(`/proc/${node.pid}/task`)
  const ofThreads = () =>
    threads().flatMap((thread) => {
      const text = readFileSync(`/proc/${node.pid}/task/${thread}/children`, 'utf8').trim()
      return text === '' ? [] : text.split(' ')
    })
  await eventually(() => ofThreads().every((pid) => statOf(Number(pid))?.state !== 'Z'), 'no zombie is left')
  expect(children().join('')).toBe('')
  await node.kill()
})

test('a task that another host has cleaned away is unknown, and its ack keeps nobody from the others', async () => {
  // D16
  const sessionId = session()
  const [owner, other] = [store.registry(), store.registry()]
  const held: string[] = []
  owner.onCompletion(({ taskId }) => held.push(taskId), { sessionId, ack: 'manual' })
  const ids = [await owner.spawn('true', { sessionId }), await owner.spawn('true', { sessionId })] as const
  await eventually(() => held.length === 2, 'both are held')
  await eventually(() => ids.every((id) => processesOf(id).length === 0), 'nothing of them lives')
  await other.replay(sessionId)
  expect(other.ack([ids[0]])).toBe(1)
  expect(await other.cleanup({ olderThanMs: 0 })).toBe(1)
  expect(owner.status(ids[0])).toBeNull()
  expect(() => owner.output(ids[0])).toThrow(expect.objectContaining({ code: 'TASK_NOT_FOUND' }))
  await expect(owner.kill(ids[0])).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
  await expect(owner.wait(ids[0])).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
  expect(owner.ack([...ids])).toBe(1)
  expect(owner.status(ids[1])).toMatchObject({ completionDelivered: true })
})

const looks: [string, (scope: HostScope, id: string, sessionId: string) => unknown, unknown][] = [
  ['status', ({ tasks }, id, sessionId) => tasks.status(id, { sessionId }), null],
  ['list', ({ tasks }, _, sessionId) => tasks.list({ sessionId }), []],
  ['pending', ({ tasks }, _, sessionId) => tasks.pending({ sessionId }), []],
  ['output', ({ tasks }, id, sessionId) => tasks.output(id, { sessionId }), 'TASK_NOT_FOUND'],
]

test.each(looks)(
  '%s knows nothing of a task that another host cleans away while it is looked at',
  async (_, look, seen) => {
    // R6
    const sessionId = session()
    const other = store.registry()
    const id = await other.spawn('echo done', { sessionId })
    await other.wait(id)
    await eventually(() => processesOf(id).length === 0, 'nothing of it lives')
    const [held, until] = [readyFifo(store), gate(store)]
    const hold = { LD_PRELOAD: holding, HOLD_AT: 'stdout', HOLD_READY: held.path, HOLD_UNTIL: until.path }
    const node = await host(store, { env: hold })
    const answer = node.call(look, id, sessionId).catch(({ code }) => code)
    await held.line('it opens what the task wrote')
    expect(other.ack([id])).toBe(1)
    expect(await other.cleanup({ olderThanMs: 0 })).toBe(1)
    until.open()
    expect(await answer).toEqual(seen)
    await node.kill()
  },
)

const calls: [string, (tasks: TaskRegistry, id: string, sessionId: string) => unknown][] = [
  ['status', (tasks, id, sessionId) => tasks.status(id, { sessionId })],
  ['output', (tasks, id, sessionId) => tasks.output(id, { sessionId })],
  ['wait', (tasks, id, sessionId) => tasks.wait(id, { sessionId })],
  ['kill', (tasks, id, sessionId) => tasks.kill(id, { sessionId })],
]

test.each(calls)('%s makes no session that is not there', async (_, ask) => {
  const tasks = store.registry()
  tasks.onCompletion(() => {})
  const before = tasks.sessions()
  for (const id of ['bash-0123456789abcdef', 'no id']) {
    await Promise.resolve()
      .then(() => ask(tasks, id, session()))
      .catch(() => {})
  }
  expect(tasks.sessions()).toEqual(before)
  tasks.detach()
})

test.each(calls)('%s attaches the session that it names, whatever it asks for', async (_, ask) => {
  // D3
  const sessionId = session()
  const before = store.registry()
  const id = await before.spawn('exit 5', { sessionId })
  await before.wait(id)
  before.detach()
  const tasks = store.registry()
  const told: Completion[] = []
  tasks.onCompletion((completion) => told.push(completion))
  for (const unknown of ['bash-0123456789abcdef', 'no id']) {
    await Promise.resolve()
      .then(() => ask(tasks, unknown, sessionId))
      .catch(() => {})
  }
  await eventually(() => told.some(({ taskId }) => taskId === id), 'the session is told')
  tasks.detach()
})
