import { existsSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Completion } from 'outlive'
import { gate, isAlive, killProcessesOf, obedient, patient, processesOf, readyFifo } from './support/guests'
import { host } from './support/host'
import { copy, makeFifos, original, rewrite } from './support/records'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const nothing = { running: 0, finished: 0, lost: 0, pending: 0, unreadable: [] }

test('replay 100 times while a task runs: the same task, the same deadline, one completion', async () => {
  // R1
  const sessionId = 'again'
  const [ready, wait] = [readyFifo(store), gate(store)]
  const first = await host(store)
  const id = await first.call(
    ({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId, timeoutMs: 3_600_000 }),
    obedient(ready, wait, 'exit 5'),
    sessionId,
  )
  const pid = Number(await ready.line())
  const before = await first.call(({ tasks }, id) => tasks.status(id), id)
  await first.kill()

  const tasks = store.registry()
  for (let turn = 0; turn < 50; turn++) expect(await tasks.replay(sessionId)).toEqual({ ...nothing, running: 1 })
  const others = Array.from({ length: 50 }, () => store.registry())
  for (const other of others) expect(await other.replay(sessionId)).toEqual({ ...nothing, running: 1 })
  const { durationMs: _, ...same } = before!
  expect(tasks.status(id)).toMatchObject({ ...same, status: 'running', pid, timeoutMs: 3_600_000 })

  const told: string[] = []
  let accept = () => {}
  const accepted = new Promise<void>((resolve) => {
    accept = resolve
  })
  // Until it is accepted each of them could tell it.
  const tell = ({ taskId }: Completion): Promise<void> => {
    told.push(taskId)
    return accepted
  }
  for (const registry of [tasks, ...others]) registry.onCompletion(tell, { sessionId })
  wait.open()
  await Promise.all([tasks, ...others].map((registry) => registry.wait(id, { sessionId })))
  await eventually(() => told.length > 0, 'it is told')
  // Who waits has an answer behind the completion, whose callback is called before this resolves.
  await new Promise(setImmediate)
  accept()
  await eventually(() => tasks.status(id)?.completionDelivered, 'the completion is delivered')
  // Each of them hears of its own task, told after what the session had before.
  const last = await tasks.spawn('true', { sessionId })
  await eventually(() => told.includes(last), 'the next completion is told')
  expect(told).toEqual([id, last])
  expect(await tasks.replay(sessionId)).toEqual({ ...nothing, finished: 2 })
  for (const other of others) other.detach()
})

test('replay counts what it finds, and an end stays as it was', async () => {
  // R11
  const sessionId = 'counted'
  const first = await host(store)
  const ids = await first.call(async ({ tasks }, sessionId) => {
    const commands = ['exit 3', 'kill -9 $PPID; sleep 1000', 'exec sleep 1000']
    const ids = []
    for (const command of commands) ids.push(await tasks.spawn(command, { sessionId }))
    for (const id of ids.slice(0, 2)) await tasks.wait(id)
    return ids
  }, sessionId)
  const before = await first.call(({ tasks }, ids) => ids.slice(0, 2).map((id) => tasks.status(id)), ids)
  await first.kill()
  for (let restart = 0; restart < 3; restart++) {
    const tasks = store.registry()
    const found = { running: 1, finished: 1, lost: 1, pending: 2, unreadable: [] }
    expect(await tasks.replay(sessionId)).toEqual(found)
    await Promise.all(ids.slice(0, 2).map((id) => tasks.kill(id)))
    expect(ids.slice(0, 2).map((id) => tasks.status(id))).toEqual(before)
    tasks.detach()
  }
})

test('each of hundreds of tasks is what it would be alone', async () => {
  // R10 R11
  const sessionId = 'hundreds'
  const first = await host(store)
  await first.call(async ({ tasks }, sessionId) => {
    for (const command of ['sleep 1000', 'sleep 1000']) await tasks.spawn(command, { sessionId })
  }, sessionId)
  await first.kill()
  const good = await original(store, sessionId)
  const many = (count: number, spoil?: (dir: string) => void) => Array.from({ length: count }, () => copy(good, spoil))
  const spoilt = many(10, (dir) => writeFileSync(join(dir, 'ended.json'), '{"cause":"exit"}\n'))
  const lost = many(20, (dir) => rmSync(join(dir, 'ended.json')))
  const reboot = many(30, (dir) => {
    rewrite(dir, 'task.json', (task) => ({ ...task, bootId: 'another' }))
    rmSync(join(dir, 'ended.json'))
  })
  const finished = many(300)
  makeFifos(dirname(good), [...spoilt, ...lost, ...reboot, ...finished])
  const tasks = store.registry()
  const { unreadable, ...found } = await tasks.replay(sessionId)
  expect(found).toEqual({ running: 2, finished: 301, lost: 50, pending: 351 })
  const path = (id: string): string => join(dirname(good), id)
  expect(new Set(unreadable)).toEqual(new Set(spoilt.map(path)))
  const ended = new Map(tasks.list({ sessionId, previewBytes: 0 }).map(({ taskId, cause }) => [taskId, cause]))
  const causes = (ids: string[]) => new Set(ids.map((id) => ended.get(id)))
  expect([finished, lost, reboot].map(causes)).toEqual(
    ['exit', 'supervisor_lost', 'reboot'].map((cause) => new Set([cause])),
  )
  expect(tasks.drain({ sessionId })).toHaveLength(351)
})

test('tasks that were lost while no host lived are told in the order of their last signs of life', async () => {
  // D18
  const sessionId = 'signs'
  const first = store.registry()
  const ready = readyFifo(store)
  const ids: string[] = []
  for (let count = 0; count < 5; count++) ids.push(await first.spawn(patient(ready), { sessionId }))
  for (const _ of ids) await ready.line()
  first.detach()
  await killProcessesOf(ids)
  const then = Date.now() - 10_000
  const order = [3, 0, 4, 1, 2]
  order.forEach((at, place) => {
    const dir = store.taskDir(ids[at]!)!
    rewrite(dir, 'started.json', (started) => ({ ...started, startedAt: then }))
    const sign = then / 1000 + place
    for (const name of ['stdout', 'stderr']) utimesSync(join(dir, name), sign, sign)
  })
  const told = store.registry().drain({ sessionId })
  expect(told.map(({ taskId }) => ids.indexOf(taskId))).toEqual(order)
})

/** Numbers that look random and are the same in every run: Marsaglia's xorshift. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

test('Node killed before the supervisor has begun: the command never ran, and that is told', async () => {
  // P23
  const sessionId = 'never ran'
  const supervisor = join(store.dir, 'kills-its-host')
  writeFileSync(supervisor, '#!/bin/sh\nkill -9 $PPID\n', { mode: 0o755 })
  const node = await host(store, { env: { OUTLIVE_SUPERVISOR: supervisor } })
  const trace = join(store.dir, 'it-ran')
  void node.call(({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId }), `: > ${trace}`, sessionId)
  expect(await node.exited).toMatchObject({ signal: 'SIGKILL' })
  const tasks = store.registry()
  await tasks.replay(sessionId)
  const id = tasks.list({ sessionId })[0]!.taskId
  expect(await tasks.wait(id)).toMatchObject({ status: 'failed', cause: 'spawn_error', exitCode: null, signal: null })
  expect(tasks.drain({ sessionId })).toMatchObject([{ taskId: id, cause: 'spawn_error' }])
  expect(existsSync(trace)).toBe(false)
})

test('Node killed at any moment of a spawn: the command never ran, or it is adopted and told', async () => {
  // P23
  const random = numbers(20_260)
  const tasks = store.registry({ maxRunning: 1000 })
  const outcomes = { nothing: 0, neverRan: 0, adopted: 0 }
  for (let turn = 0; turn < 25; turn++) {
    const sessionId = `killed ${turn}`
    const mark = (at: number): string => join(store.dir, `ran-${turn}-${at}`)
    const node = await host(store)
    // By its own hand: a signal from here would come long after the spawns.
    void node.call(
      async ({ tasks }, sessionId, marks, pauseMs) => {
        const { Worker } = require('node:worker_threads')
        const code = `
          const { workerData: { flag, pid, pauseMs } } = require('node:worker_threads')
          Atomics.wait(flag, 0, 0)
          const until = performance.now() + pauseMs
          while (performance.now() < until);
          process.kill(pid, 'SIGKILL')`
        const flag = new Int32Array(new SharedArrayBuffer(4))
        const worker = new Worker(code, { eval: true, workerData: { flag, pid: process.pid, pauseMs } })
        await new Promise((resolve) => worker.once('online', resolve))
        await tasks.replay(sessionId)
        Atomics.store(flag, 0, 1)
        Atomics.notify(flag, 0)
        for (const mark of marks) void tasks.spawn(`: > ${mark}`, { sessionId })
      },
      sessionId,
      [mark(0), mark(1), mark(2)],
      random() ** 2 * 60,
    )
    await node.exited
    await tasks.replay(sessionId)
    const found = tasks.list({ sessionId })
    const ends = await Promise.all(found.map(({ taskId }) => tasks.wait(taskId, { sessionId })))
    for (const { command, status, cause, exitCode } of ends) {
      const didRun = existsSync(command.slice(': > '.length))
      expect({ status, cause, exitCode }).toEqual(
        didRun
          ? { status: 'completed', cause: 'exit', exitCode: 0 }
          : { status: 'failed', cause: 'spawn_error', exitCode: null },
      )
      outcomes[didRun ? 'adopted' : 'neverRan']++
    }
    // What ran is known: nothing runs that no record tells of.
    const ran = [0, 1, 2].map(mark).filter((path) => existsSync(path))
    expect(ran.filter((path) => !ends.some(({ command }) => command === `: > ${path}`))).toEqual([])
    outcomes.nothing += 3 - ends.length
    expect(
      tasks
        .drain({ sessionId })
        .map(({ taskId }) => taskId)
        .sort(),
    ).toEqual(found.map(({ taskId }) => taskId).sort())
    for (const { taskId } of found) await eventually(() => processesOf(taskId).length === 0, 'its supervisor is gone')
  }
  expect(outcomes.adopted).toBeGreaterThan(0)
  expect(outcomes.nothing + outcomes.neverRan).toBeGreaterThan(0)
})

test('a task that runs is found again by every host that comes after', async () => {
  // R1
  const sessionId = 'found'
  const [ready, wait] = [readyFifo(store), gate(store)]
  let node = await host(store)
  const id = await node.call(
    ({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId }),
    obedient(ready, wait, 'exit 6'),
    sessionId,
  )
  const pid = Number(await ready.line())
  for (let restart = 0; restart < 5; restart++) {
    await node.kill()
    node = await host(store)
    expect(await node.call(({ tasks }, sessionId) => tasks.replay(sessionId), sessionId)).toMatchObject({ running: 1 })
    expect(isAlive(pid)).toBe(true)
  }
  wait.open()
  expect(await node.call(({ tasks }, id) => tasks.wait(id), id)).toMatchObject({ status: 'failed', exitCode: 6 })
  expect(await node.call(({ tasks }, sessionId) => tasks.drain({ sessionId }), sessionId)).toHaveLength(1)
  await node.kill()
})

test('whoever has just subscribed to a session knows its tasks by their ids alone', async () => {
  // D19
  const sessionId = 'subscribed'
  const id = await store.registry().spawn('echo here; exit 2', { sessionId, notify: false })
  await store.registry().wait(id, { sessionId })
  for (let round = 0; round < 10; round++) {
    const tasks = store.registry()
    tasks.onCompletion(() => {}, { sessionId })
    expect(tasks.status(id)?.exitCode).toBe(2)
    tasks.detach()
  }
})
