import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { gate, obedient, readyFifo } from './support/guests'
import { host } from './support/host'
import { eventually, temporaryStore, within } from './support/store'

const root = join(__dirname, '../../index.js')
const store = temporaryStore()
const tasks = store.registry({ maxRunning: 100 })

let sessions = 0
const session = (): string => `session ${++sessions}`

/** A worker thread with a registry of its own, `tasks`, that runs `code` and posts what it has to say. */
function worker(code: string, sessionId: string): { thread: Worker; said: unknown[] } {
  const prelude = `
    const { parentPort, workerData: { root, dir, sessionId } } = require('node:worker_threads')
    const { TaskRegistry } = require(root)
    const tasks = new TaskRegistry({ storageDir: dir, maxRunning: 100 })
    const say = (value) => parentPort.postMessage(value)
    parentPort.on('message', () => {})
  `
  const thread = new Worker(prelude + code, { eval: true, workerData: { root, dir: store.dir, sessionId } })
  const said: unknown[] = []
  thread.on('message', (message) => said.push(message))
  thread.on('error', (error) => said.push({ error: String(error) }))
  return { thread, said }
}

const listening = `tasks.onCompletion(({ taskId, attempt }) => say({ taskId, attempt }), { sessionId }); say('listens')`

describe('worker threads', () => {
  test('one spawns, another is told; either may be terminated, and the next one takes over', async () => {
    // N3
    const sessionId = session()
    const [ready, wait] = [readyFifo(store), gate(store)]
    const first = worker(listening, sessionId)
    await eventually(() => first.said.includes('listens'), 'the first worker listens')
    const command = JSON.stringify(obedient(ready, wait, 'exit 3'))
    const spawner = worker(`tasks.spawn(${command}, { sessionId }).then(say)`, sessionId)
    await ready.line()
    await eventually(() => spawner.said.length === 1, 'the task is known')
    await spawner.thread.terminate()
    wait.open()
    await eventually(() => first.said.length === 2, 'the other worker is told')
    expect(first.said[1]).toEqual({ taskId: spawner.said[0], attempt: 1 })

    const second = worker(listening, sessionId)
    await eventually(() => second.said.includes('listens'), 'the second worker listens')
    await first.thread.terminate()
    const id = await tasks.spawn('true', { sessionId })
    await eventually(() => second.said.length === 2, 'the second worker is told')
    expect(second.said[1]).toMatchObject({ taskId: id })
    await second.thread.terminate()
  })

  test('terminated at any moment with completions in flight: nothing crashes, nothing is lost', async () => {
    // N3 D24
    const node = await host(store)
    const sessionId = session()
    const outcome = await node.call(
      async ({ tasks }, root, dir, sessionId) => {
        const { Worker } = require('node:worker_threads')
        const code = `
          const { parentPort, workerData: { root, dir, sessionId } } = require('node:worker_threads')
          const { TaskRegistry } = require(root)
          const tasks = new TaskRegistry({ storageDir: dir, maxRunning: 100 })
          tasks.onCompletion(({ taskId }) => parentPort.postMessage({ told: taskId }), { sessionId })
          const spawn = () => tasks.spawn('true', { sessionId }).then((id) => parentPort.postMessage({ id }))
          for (let count = 0; count < 5; count++) void spawn().then(spawn)
          parentPort.postMessage('busy')`
        const ids = new Set<string>()
        const told = new Set<string>()
        for (let turn = 0; turn < 20; turn++) {
          const thread = new Worker(code, { eval: true, workerData: { root, dir, sessionId } })
          const busy = new Promise<void>((resolve, reject) => {
            thread.on('error', reject)
            thread.on('message', (message: 'busy' | { id?: string; told?: string }) => {
              if (message === 'busy') resolve()
              else if (message.id) ids.add(message.id)
              else told.add(message.told!)
            })
          })
          await busy
          const until = performance.now() + turn
          while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve))
          await thread.terminate()
        }
        await tasks.replay(sessionId)
        for (const { taskId } of tasks.list({ sessionId })) await tasks.wait(taskId)
        for (const { taskId } of tasks.drain({ sessionId })) told.add(taskId)
        const all = tasks.list({ sessionId }).map(({ taskId }) => taskId)
        return {
          lost: all.filter((id) => !told.has(id) && !tasks.status(id)?.completionDelivered),
          unknown: [...ids, ...told].filter((id) => !all.includes(id)),
          count: all.length,
        }
      },
      root,
      store.dir,
      sessionId,
    )
    expect(outcome).toMatchObject({ lost: [], unknown: [] })
    expect(outcome.count).toBeGreaterThan(0)
    await node.kill()
  })

  test('that ask for ends in an exit handler of theirs are heard', async () => {
    // N3
    const sessionId = session()
    const spawns = Array.from({ length: 64 }, () => tasks.spawn('exec sleep 1000', { sessionId, shell: '/bin/sh' }))
    const ids = await Promise.all(spawns)
    const { said } = worker(
      `process.on('exit', () => ${JSON.stringify(ids)}.forEach((id) => void tasks.kill(id, { sessionId })))
       process.exit()`,
      sessionId,
    )
    const ended = within(Promise.all(ids.map((id) => tasks.wait(id))), 'all have ended')
    expect((await ended).map(({ cause }) => cause)).toEqual(ids.map(() => 'kill'))
    expect(said).toEqual([])
    tasks.drain({ sessionId })
  })

  test('that end leave no thread and no descriptor behind', async () => {
    // N3
    const node = await host(store)
    const counts = await node.call(
      async (_, root, dir) => {
        const { Worker } = require('node:worker_threads')
        const { readdirSync } = require('node:fs')
        const code = `
          const { parentPort, workerData: { root, dir } } = require('node:worker_threads')
          const { TaskRegistry } = require(root)
          const tasks = new TaskRegistry({ storageDir: dir })
          tasks.onCompletion(() => {}, { sessionId: 'of a worker' })
          tasks.replay('of a worker').then(() => parentPort.postMessage('up'))`
        const count = () => ['fd', 'task'].map((name) => readdirSync(`/proc/self/${name}`).length)
        const round = async (last: 'terminate' | 'end') => {
          const thread = new Worker(code, { eval: true, workerData: { root, dir } })
          const gone = new Promise((resolve) => thread.once('exit', resolve))
          await new Promise((resolve) => thread.once('message', resolve))
          if (last === 'terminate') await thread.terminate()
          await gone // with nothing left to do, a worker ends by itself
        }
        for (const way of ['terminate', 'end'] as const) await round(way)
        const before = count()
        for (let turn = 0; turn < 10; turn++) await round(turn % 2 === 0 ? 'terminate' : 'end')
        return { before, after: count() }
      },
      root,
      store.dir,
    )
    expect(counts.after[0]).toBeLessThanOrEqual(counts.before[0]! + 2)
    expect(counts.after[1]).toBeLessThanOrEqual(counts.before[1]! + 2)
    await node.kill()
  })
})

test('a vm context that is dropped with completions in flight takes none of them along', async () => {
  // D24
  const sessionId = session()
  const node = await host(store, { execArgv: ['--expose-gc'] })
  const ids = await node.call(
    async ({ outlive }, dir, sessionId) => {
      const { createContext, Script } = require('node:vm')
      const ids: string[] = []
      for (let turn = 0; turn < 20; turn++) {
        const context = createContext({ TaskRegistry: outlive.TaskRegistry, dir, sessionId })
        const script = new Script(`
          const tasks = new TaskRegistry({ storageDir: dir, maxRunning: 100 })
          const subscription = tasks.onCompletion(() => new Promise(() => {}), { sessionId })
          tasks.spawn('true', { sessionId }).finally(() => { subscription.close(); tasks.detach() })`)
        ids.push(await script.runInContext(context))
        globalThis.gc!()
      }
      return ids
    },
    store.dir,
    sessionId,
  )
  await Promise.all(ids.map((id) => tasks.wait(id, { sessionId })))
  // Where a callback was at work, the session is left to others once that callback's promise has been collected.
  const drained = new Set<string>()
  await eventually(async () => {
    await node.call(() => globalThis.gc!())
    for (const { taskId } of tasks.drain({ sessionId })) drained.add(taskId)
    return drained.size === ids.length
  }, 'all are drained')
  expect([...drained].sort()).toEqual(ids.sort()) // they may end in another order than they start in
  await node.kill()
})

test.each([
  ['under Node', 1000, {}],
  ['under Node as PID 1', 300, { under: ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child'] }],
])('short tasks leave no zombie, no descriptor and no thread behind, %s', async (_, count, options) => {
  // P5
  const node = await host(store, options)
  const sessionId = session()
  const run = (count: number) =>
    node.call(
      async ({ tasks }, sessionId, count) => {
        let left = count
        const runner = async () => {
          while (left-- > 0) await tasks.wait(await tasks.spawn('exit 0', { sessionId }))
        }
        await Promise.all(Array.from({ length: 8 }, runner))
        return tasks.drain({ sessionId }).length
      },
      sessionId,
      count,
    )
  /** What the host has: zombies among its children, descriptors, threads. */
  const belongings = () =>
    node.call(() => {
      const { readdirSync, readFileSync } = require('node:fs')
      const isZombie = (pid: string) => {
        try {
          const [state, ppid] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').pop().split(' ')
          return state === 'Z' && Number(ppid) === process.pid
        } catch {
          return false // gone between two looks
        }
      }
      const pids: string[] = readdirSync('/proc').filter((name: string) => /^\d+$/.test(name))
      const [fds, threads] = ['fd', 'task'].map((name) => readdirSync(`/proc/self/${name}`).length)
      return { zombies: pids.filter(isZombie).length, fds: fds!, threads: threads! }
    })
  expect(await run(50)).toBe(50)
  let before = await belongings()
  await eventually(async () => {
    before = await belongings()
    return before.zombies === 0
  }, 'no zombie is left')
  expect(await run(count)).toBe(count)
  await eventually(async () => {
    const after = await belongings()
    return after.zombies === 0 && after.fds <= before.fds && after.threads <= before.threads
  }, 'all is given back')
  await node.kill()
})

test('no call holds the event loop: spawns, kills of stubborn trees, a backlog of completions', async () => {
  // N4
  const node = await host(store, { registry: { maxRunning: 400 } })
  const sessionId = session()
  const longest = await node.call(async ({ tasks }, sessionId) => {
    const { monitorEventLoopDelay } = require('node:perf_hooks')
    await tasks.spawn('true') // the first one writes the supervisor
    const delay = monitorEventLoopDelay({ resolution: 5 })
    delay.enable()
    // It measures from its first look on.
    while (delay.count === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    const stubborn = "trap '' TERM; while :; do sleep 1000 & wait; done"
    const trees = [1, 2, 3, 4].map(() => tasks.spawn(stubborn, { sessionId, graceMs: 200 }))
    const short = Array.from({ length: 100 }, () => tasks.spawn('true', { sessionId }))
    const kills = trees.map(async (tree) => tasks.kill(await tree))
    await Promise.all([...kills, ...short.map(async (task) => tasks.wait(await task))])
    let told = 0
    await new Promise<void>((resolve) => tasks.onCompletion(() => void (++told === 104 && resolve()), { sessionId }))
    delay.disable()
    return delay.max / 1e6
  }, sessionId)
  // A call that waited for a kill, or for all of the spawns, would hold it for longer than this on any machine.
  expect(longest).toBeLessThan(190)
  await node.kill()
})
