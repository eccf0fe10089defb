/**
 * Worker threads of one process, each with every kind of call in flight, terminated at random moments and replaced, for a few
 * seconds, or as long as `just torture [minutes] [seed]` says. A failure names its seed.
 */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { host } from './support/host'
import { randomFrom } from './support/random'
import { eventually, type TemporaryStore, temporaryStore } from './support/store'

const MINUTES = Number(process.env.TORTURE_MINUTES ?? 0.05)
const SEED = Number(process.env.TORTURE_SEED ?? Date.now() % 1_000_000)
const AT_ONCE = 3
const TERMINATIONS = 20
const SESSION = 'workers'

/** What a worker runs. Its callbacks are done when they return, so a termination cuts off one at most. */
const busy = `
  const { parentPort, workerData: { root, storageDir, sessionId } } = require('node:worker_threads')
  const { TaskRegistry } = require(root)
  const tasks = new TaskRegistry({ storageDir, maxRunning: 1000 })
  const settled = (calls) => Promise.allSettled(calls)
  const listen = () => {
    const subscription = tasks.onCompletion(() => void (Math.random() < 0.2 && (subscription.close(), listen())), { sessionId })
  }
  listen()
  const round = async () => {
    const id = await tasks.spawn('echo hi; exit 3', { sessionId })
    const other = await tasks.spawn('exec sleep 1', { sessionId })
    const stop = new AbortController()
    const calls = [tasks.wait(id), tasks.wait(other, { signal: stop.signal }), tasks.wait(other, { timeoutMs: 60_000 })]
    tasks.status(id); tasks.output(id); tasks.pending({ sessionId }); tasks.release([id]); tasks.list({ sessionId, previewBytes: 0 })
    stop.abort()
    await settled([...calls, tasks.kill(other), tasks.replay(sessionId), tasks.cleanup({ olderThanMs: 3_600_000 })])
    if (Math.random() < 0.1) {
      const own = new TaskRegistry({ storageDir })
      await settled([own.spawn('true', { sessionId }), own.shutdown({ graceMs: 0 })])
    }
    return round()
  }
  void settled([round(), round()])
  parentPort.on('message', () => {})
  parentPort.postMessage('busy')`

/** Terminates workers of one host, each after its pause, and has the others end. Resolves when all are gone. */
async function terminateWorkers(store: TemporaryStore, pauses: number[]): Promise<void> {
  const node = await host(store)
  const counts = await node.call(
    async (_, code, workerData, pauses, atOnce) => {
      const { readdirSync } = require('node:fs')
      const { setTimeout: pause } = require('node:timers/promises')
      const { Worker } = require('node:worker_threads')
      const count = () => ['fd', 'task'].map((name) => readdirSync(`/proc/self/${name}`).length)
      const errors: string[] = []
      const start = async () => {
        const thread = new Worker(code, { eval: true, workerData })
        thread.on('error', (error: Error) => errors.push(String(error.stack)))
        await new Promise((resolve, reject) => thread.once('message', resolve).once('error', reject))
        return thread
      }
      await (await start()).terminate() // the first one leaves what is kept for all
      const before = count()
      const threads = await Promise.all(Array.from({ length: atOnce }, start))
      for (const [turn, length] of pauses.entries()) {
        await pause(length)
        await threads[turn % atOnce].terminate()
        threads[turn % atOnce] = await start()
      }
      await Promise.all(threads.map((thread) => thread.terminate()))
      return { before, after: count(), errors }
    },
    busy,
    { root: join(__dirname, '../../index.js'), storageDir: store.dir, sessionId: SESSION },
    pauses,
    AT_ONCE,
  )
  expect(counts.errors).toEqual([])
  expect(counts.after[0]).toBeLessThanOrEqual(counts.before[0]! + 2)
  expect(counts.after[1]).toBeLessThanOrEqual(counts.before[1]! + 2)
  await node.kill()
}

async function run(seed: number): Promise<{ tasks: number; again: number }> {
  const random = randomFrom(seed)
  const store = temporaryStore()
  const pauses = Array.from({ length: TERMINATIONS }, () => random() * 60)
  await terminateWorkers(store, pauses)
  const tasks = store.registry()
  const list = () => tasks.list({ sessionId: SESSION, previewBytes: 0 })
  await eventually(() => list().every(({ finishedAt }) => finishedAt !== null), 'all have ended', 60_000)
  tasks.drain({ sessionId: SESSION })
  const outcomes = ['failed exit 3', 'killed kill', 'completed exit 0']
  const wrong: string[] = []
  let again = 0
  for (const { taskId, status, cause, exitCode, completionDelivered } of list()) {
    const outcome = `${status} ${cause}${cause === 'exit' ? ` ${exitCode}` : ''}`
    if (!outcomes.includes(outcome) || !completionDelivered)
      wrong.push(`${taskId}: ${outcome}, told: ${completionDelivered}`)
    const leases = join(store.taskDir(taskId)!, 'leases')
    if (existsSync(leases)) again += Math.max(0, statSync(leases).size - 1)
  }
  expect(wrong).toEqual([])
  // A callback that was running when its worker was terminated.
  expect(again).toBeLessThanOrEqual(TERMINATIONS + AT_ONCE)
  const count = list().length
  tasks.detach()
  await store.remove()
  return { tasks: count, again }
}

test(
  `workers are terminated with every call in flight: nothing crashes, all is told (seed ${SEED}, ${MINUTES} minutes)`,
  async () => {
    // N3 D24 D16
    const end = Date.now() + MINUTES * 60_000
    const sum = { runs: 0, tasks: 0, again: 0 }
    for (let seed = SEED; sum.runs === 0 || Date.now() < end; seed++) {
      const { tasks, again } = await run(seed).catch((error) => {
        throw new Error(`TORTURE_SEED=${seed}: ${error.stack}`)
      })
      sum.runs++
      sum.tasks += tasks
      sum.again += again
    }
    const { runs, tasks, again } = sum
    process.stdout.write(`torture: ${runs} runs, ${runs * TERMINATIONS} workers, ${tasks} tasks, ${again} told again\n`)
    expect(tasks).toBeGreaterThan(runs * TERMINATIONS)
  },
  MINUTES * 60_000 + 120_000,
)
