'use strict'
// What callbacks may do, what another realm may pass, and where a worker may be cut off: alike in every runtime.

const assert = require('node:assert/strict')
const { runInNewContext } = require('node:vm')
const { TaskRegistry } = require('outlive')
const { eventually, temporaryDirectory, workerScene } = require('./support.js')

const storageDir = temporaryDirectory()
const tasks = new TaskRegistry({ storageDir, maxRunning: 200 })
const promises = []
const promise = (title, run) => promises.push({ title, run })

let sessions = 0
const newSession = () => `session ${++sessions}`
const idsOf = (list) => list.map(({ taskId }) => taskId)
const isDelivered = (taskId, sessionId) =>
  eventually(() => tasks.status(taskId, { sessionId })?.completionDelivered, `${taskId} is delivered`)

promise('a callback may ask everything of the registry that calls it', async () => {
  const sessionId = newSession()
  const other = await tasks.spawn('sleep 1000', { sessionId })
  const answers = []
  const subscription = tasks.onCompletion(
    async ({ taskId, exitCode }) => {
      if (exitCode !== 5) return
      const seen = tasks.status(taskId)
      answers.push(seen.status, seen.completionDelivered, tasks.list({ sessionId }).length, tasks.output(taskId).text)
      answers.push(tasks.pending({ sessionId }).length, tasks.drain({ sessionId }).length)
      answers.push((await tasks.wait(other, { timeoutMs: 1 })).status, (await tasks.kill(other)).status)
      answers.push((await tasks.replay(sessionId)).finished)
      answers.push((await tasks.wait(await tasks.spawn('exit 6', { sessionId }))).exitCode)
      answers.push(await tasks.cleanup({ olderThanMs: 3_600_000 }))
      // Accepted by hand while its callback is at work.
      answers.push(tasks.ack([taskId]), tasks.release([taskId]))
      answers.push('end')
    },
    { sessionId },
  )
  await tasks.spawn('echo hi; exit 5', { sessionId })
  await eventually(() => answers.at(-1) === 'end', 'the callback is done')
  assert.deepEqual(answers, ['failed', false, 2, 'hi\n', 0, 0, 'running', 'killed', 2, 6, 0, 1, 0, 'end'])
  await eventually(() => tasks.list({ sessionId }).every((task) => task.completionDelivered), 'all are delivered')
  assert.equal(tasks.list({ sessionId }).length, 3)
  subscription.close()
})

promise('a callback may end its subscription and begin another: each end is told once', async () => {
  const sessionId = newSession()
  const heard = []
  let current
  const subscribe = () => {
    const own = tasks.onCompletion(
      ({ taskId, attempt }) => {
        assert.equal(own, current)
        heard.push([taskId, attempt])
        own.close()
        subscribe()
      },
      { sessionId },
    )
    current = own
  }
  subscribe()
  const ids = await Promise.all(Array.from({ length: 20 }, () => tasks.spawn('true', { sessionId })))
  for (const id of ids) await isDelivered(id)
  assert.deepEqual(heard.map(([id]) => id).sort(), [...ids].sort())
  assert.deepEqual([...new Set(heard.map(([, attempt]) => attempt))], [1])
  current.close()
})

promise('a callback may detach its registry, at once or on its way: nobody is told a second time', async () => {
  for (const way of ['at once', 'on its way']) {
    const sessionId = newSession()
    const own = new TaskRegistry({ storageDir })
    const [heard, next] = [[], []]
    const callback = ({ taskId }) => {
      heard.push(taskId)
      own.detach()
      return way === 'at once' ? undefined : new Promise((resolve) => setTimeout(resolve, 50))
    }
    own.onCompletion(callback, { sessionId })
    await own.replay(sessionId) // from here on it is the one that tells, and the other is next in line
    const subscription = tasks.onCompletion(({ taskId }) => next.push(taskId), { sessionId })
    const id = await own.spawn('true', { sessionId })
    await tasks.wait(id, { sessionId }) // news comes in the order of the ends
    const last = await tasks.spawn('true', { sessionId })
    await isDelivered(last)
    assert.deepEqual([heard, next], [[id], [last]])
    assert.equal(tasks.status(id).completionDelivered, true)
    subscription.close()
  }
})

promise(
  'a callback that fails after it has detached leaves its completion to the next, as the second attempt',
  async () => {
    const sessionId = newSession()
    const own = new TaskRegistry({ storageDir })
    own.onCompletion(
      () => {
        own.detach()
        throw new Error('on purpose')
      },
      { sessionId },
    )
    const id = await own.spawn('true', { sessionId })
    const next = []
    const subscription = tasks.onCompletion((completion) => next.push(completion), { sessionId })
    await eventually(() => next.length > 0, 'the completion, again')
    assert.deepEqual([next[0].taskId, next[0].attempt, next.length], [id, 2, 1])
    subscription.close()
  },
)

promise('a callback may shut its registry down and wait for that', async () => {
  const sessionId = newSession()
  const own = new TaskRegistry({ storageDir })
  let ended
  const callback = async ({ status }) => {
    if (status === 'completed') ended = await own.shutdown({ graceMs: 0 })
  }
  own.onCompletion(callback, { sessionId })
  const running = await own.spawn('sleep 1000', { sessionId })
  const id = await own.spawn('true', { sessionId })
  await eventually(() => ended !== undefined, 'the registry is shut down')
  assert.deepEqual(
    ended.map(({ taskId, status }) => [taskId, status]),
    [[running, 'killed']],
  )
  assert.throws(() => own.list(), { code: 'REGISTRY_CLOSED' })
  await isDelivered(id, sessionId)
  const left = []
  await eventually(() => {
    left.push(...tasks.drain({ sessionId }))
    return tasks.list({ sessionId }).every((task) => task.completionDelivered)
  }, 'all are delivered')
  // The callback may have been called for the killed one too, before the registry closed.
  assert.ok(left.every(({ taskId }) => taskId === running))
})

promise('a callback that never settles holds its own completion, and nothing else', async () => {
  const sessionId = newSession()
  const heard = []
  const callback = ({ taskId, exitCode }) => {
    heard.push(taskId)
    return exitCode === 1 ? new Promise(() => {}) : undefined
  }
  const subscription = tasks.onCompletion(callback, { sessionId })
  const stuck = await tasks.spawn('exit 1', { sessionId })
  await eventually(() => heard.length === 1, 'the first completion')
  const next = await tasks.spawn('exit 0', { sessionId })
  await isDelivered(next)
  subscription.close()
  const last = await tasks.spawn('exit 0', { sessionId })
  await tasks.wait(last)
  assert.deepEqual([heard, idsOf(tasks.drain({ sessionId }))], [[stuck, next], [last]])
  assert.equal(tasks.status(stuck).completionDelivered, false)
  // Somebody who knows better may give it back.
  assert.equal(tasks.release([stuck]), 1)
  assert.deepEqual(
    tasks.drain({ sessionId }).map(({ taskId, attempt }) => [taskId, attempt]),
    [[stuck, 2]],
  )
})

promise('options, arrays, callbacks and promises may come from another realm', async () => {
  const sessionId = newSession()
  const foreign = runInNewContext(
    '({ make: (json) => JSON.parse(json), later: () => Promise.resolve(), Error, Array })',
  )
  const options = foreign.make(
    JSON.stringify({ sessionId, env: { FROM: 'elsewhere' }, metadata: { list: [1] }, description: 'd' }),
  )
  assert.notEqual(Object.getPrototypeOf(options), Object.prototype)
  const heard = []
  const callback = runInNewContext('(completion) => { heard.push(completion); return Promise.resolve() }', { heard })
  const subscription = tasks.onCompletion(callback, foreign.make(JSON.stringify({ sessionId })))
  const id = await tasks.spawn('echo $FROM; exit 3', options)
  await isDelivered(id)
  assert.deepEqual([heard[0].taskId, heard[0].metadata, heard[0].description], [id, { list: [1] }, 'd'])
  assert.equal(tasks.output(id).text, 'elsewhere\n')
  assert.equal(tasks.ack(foreign.make(JSON.stringify([id]))), 0)
  assert.throws(() => tasks.list(foreign.make('{"statsu":1}')), { name: 'TypeError', code: 'INVALID_ARGUMENT' })
  subscription.close()
  const failing = tasks.onCompletion(
    runInNewContext('({ attempt }) => { if (attempt === 1) throw new Error("of another realm") }'),
    { sessionId },
  )
  await isDelivered(await tasks.spawn('true', { sessionId }))
  failing.close()
})

promise('workers may be terminated with every kind of call in flight: the process lives, nothing is lost', async () => {
  const sessionId = newSession()
  const told = new Map()
  for (let round = 0; round < 8; round++) {
    const worker = workerScene('storm', { storageDir, sessionId })
    assert.deepEqual(await worker.said(), { storms: true })
    for (let call = 0; call < round * 3; call++) {
      const { taskId } = await worker.said()
      told.set(taskId, (told.get(taskId) ?? 0) + 1)
    }
    await worker.terminate()
  }
  await eventually(() => tasks.list({ sessionId }).every(({ finishedAt }) => finishedAt !== null), 'all have ended')
  tasks.drain({ sessionId })
  await eventually(() => tasks.list({ sessionId }).every((task) => task.completionDelivered), 'all are delivered')
  const known = new Set(idsOf(tasks.list({ sessionId })))
  assert.deepEqual(
    [...told.keys()].filter((id) => !known.has(id)),
    [],
  )
  // A callback that was running when its worker was terminated: there is one at most.
  const again = [...told.values()].filter((times) => times > 1)
  assert.ok(again.length <= 8, `${again.length} were told again`)
  assert.deepEqual(
    await tasks.replay(sessionId).then(({ lost, pending, unreadable }) => ({ lost, pending, unreadable })),
    {
      lost: 0,
      pending: 0,
      unreadable: [],
    },
  )
})

module.exports = { promises }
