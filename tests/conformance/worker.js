'use strict'
// A worker thread of the suite. It plays one scene and posts what it saw.

const { readlinkSync } = require('node:fs')
const { parentPort, workerData } = require('node:worker_threads')
const { TaskRegistry } = require('outlive')

const { scene, order, thread } = workerData
thread[0] = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
const { storageDir, sessionId, command } = order
const tasks = new TaskRegistry({ storageDir, maxRunning: 100 })

const scenes = {
  /** Everything once, then nothing is left that keeps the worker alive. */
  async round() {
    process.env.CONFORMANCE_WORKER = sessionId
    let told = 0
    const heard = new Promise((resolve) => {
      const subscription = tasks.onCompletion(
        () => {
          told++
          subscription.unref()
          resolve()
        },
        { sessionId },
      )
      subscription.ref()
    })
    const id = await tasks.spawn('echo "$CONFORMANCE_WORKER"; exit 5', { sessionId })
    const { exitCode } = await tasks.wait(id)
    await heard
    parentPort.postMessage({ exitCode, told, envWins: tasks.output(id).text === `${sessionId}\n` })
  },

  async start() {
    setInterval(() => {}, 1_000_000)
    parentPort.postMessage({ taskId: await tasks.spawn(command, { sessionId }) })
  },

  /** Starts tasks that end at once, again and again, until it is terminated. */
  async rain() {
    tasks.onCompletion(() => void tasks.spawn('true', { sessionId }).catch(() => {}), { sessionId })
    setInterval(() => {}, 1_000_000)
    await Promise.all(Array.from({ length: 5 }, () => tasks.spawn('true', { sessionId })))
    parentPort.postMessage({ rains: true })
  },

  /** Makes every kind of call, many at once, until it is terminated. */
  async storm() {
    tasks.onCompletion(({ taskId }) => parentPort.postMessage({ taskId }), { sessionId })
    setInterval(() => {}, 1_000_000)
    const calls = async () => {
      const id = await tasks.spawn('echo hi', { sessionId })
      const stubborn = await tasks.spawn('sleep 1', { sessionId })
      const all = [
        tasks.wait(id),
        tasks.wait(stubborn, { timeoutMs: 1 }),
        tasks.kill(stubborn),
        tasks.replay(sessionId),
      ]
      tasks.status(id)
      tasks.output(id)
      tasks.pending({ sessionId })
      await Promise.all([...all, tasks.cleanup({ olderThanMs: 3_600_000 })])
      await calls()
    }
    parentPort.postMessage({ storms: true })
    await Promise.all([calls(), calls(), calls()])
  },
}

scenes[scene]()
