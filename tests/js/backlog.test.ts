/** Many completions that wait, and subscriptions that change hands meanwhile. */
import { dirname } from 'node:path'
import type { TaskRegistry } from 'outlive'
import { gate } from './support/guests'
import { listen } from './support/listen'
import { copy, makeFifos, original } from './support/records'
import { blockUntil, eventually, temporaryStore } from './support/store'

const store = temporaryStore()

/** A registry to which the session is attached. */
async function replayed(sessionId: string): Promise<TaskRegistry> {
  const tasks = store.registry()
  await tasks.replay(sessionId)
  return tasks
}

/** A session with so many completions that nobody has heard of, attached. */
async function backlog(sessionId: string, count: number): Promise<TaskRegistry> {
  const good = await original(store, sessionId)
  const copies = Array.from({ length: count - 1 }, () => copy(good))
  makeFifos(dirname(good), copies)
  return replayed(sessionId)
}

test('a callback that fails on every completion of a long backlog holds up no other call', async () => {
  // N4 D9
  const [sessionId, count] = ['fails', 1000]
  const tasks = await backlog(sessionId, count)
  const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const { heard } = listen(tasks, sessionId, () => {
    throw new Error('the callback of this test fails')
  })
  let longest = 0
  await eventually(
    () => {
      const before = performance.now()
      tasks.list({ sessionId: 'another' })
      longest = Math.max(longest, performance.now() - before)
      return heard.length === 5 * count
    },
    'five attempts at each',
    60_000,
  )
  // Where each failure looks at all the others, it is seconds.
  expect(longest).toBeLessThan(1000)
  expect(new Set(heard.map(({ taskId }) => taskId)).size).toBe(count)
  expect(tasks.drain({ sessionId })).toHaveLength(count)
  warned.mockRestore()
})

test('a long backlog is told in its order, once, while other calls have their turn', async () => {
  // N4 D18
  const [sessionId, count] = ['long', 1000]
  const tasks = await backlog(sessionId, count)
  const order = tasks.pending({ sessionId }).map(({ taskId }) => taskId)
  const { heard, times } = listen(tasks, sessionId)
  // Asked before the event loop has its turn: the backlog is being handed out.
  const left = tasks.pending({ sessionId }).length
  expect(left).toBeGreaterThan(0)
  await times(count)
  expect(heard.map(({ taskId }) => taskId)).toEqual(order)
  expect(tasks.pending({ sessionId })).toEqual([])
})

test('what a closed subscription was not told yet comes before what ends later', async () => {
  // D18
  const sessionId = 'changes hands'
  const tasks = store.registry()
  const gates = ['A', 'B', 'C', 'D'].map(() => gate(store))
  const ids = await Promise.all(gates.map(({ path }) => tasks.spawn(`read _ < ${path}`, { sessionId })))
  const end = (which: number): void => {
    gates[which]!.open()
    const hasEnded = () => tasks.status(ids[which]!, { sessionId })?.finishedAt !== null
    blockUntil(() => hasEnded() && tasks.pending({ sessionId }).length === 0, 30_000)
  }
  const first = listen(tasks, sessionId)
  for (const which of [0, 1, 2]) end(which)
  first.subscription.close()
  const second = listen(tasks, sessionId)
  end(3)
  await second.times(ids.length)
  expect(first.heard).toEqual([])
  expect(second.heard.map(({ taskId }) => taskId)).toEqual(ids)
})

test('a subscription that is closed while a backlog is handed out leaves its order to the next one', async () => {
  // D18
  const sessionId = 'closed at once'
  await backlog(sessionId, 600)
  for (let standMs = 2; standMs < 20; standMs += 1.5) {
    const tasks = await replayed(sessionId)
    const order = tasks.pending({ sessionId }).map(({ taskId }) => taskId)
    const first = listen(tasks, sessionId, () => {}, { ack: 'manual' })
    // In the middle of it, with nothing of it heard.
    for (const until = performance.now() + standMs; performance.now() < until; );
    first.subscription.close()
    const { heard, times } = listen(tasks, sessionId, () => {}, { ack: 'manual' })
    await times(order.length)
    expect(heard.map(({ taskId }) => taskId)).toEqual(order)
    tasks.detach()
  }
})

test('a shutdown is answered when the backlog has been told', async () => {
  // D17
  const [sessionId, count] = ['before the answer', 500]
  const tasks = await backlog(sessionId, count)
  const { heard } = listen(tasks, sessionId)
  await tasks.shutdown()
  expect(heard).toHaveLength(count)
})

test('while a registry shuts down its callbacks can accept what they are told', async () => {
  // D16
  const sessionId = 'shutdown'
  const tasks = store.registry()
  const ids = await Promise.all([1, 2].map(() => tasks.spawn('sleep 1000', { sessionId })))
  const acked: number[] = []
  listen(tasks, sessionId, ({ taskId }) => acked.push(tasks.ack([taskId])), { ack: 'manual' })
  const ends = tasks.shutdown()
  await expect(tasks.spawn('true', { sessionId })).rejects.toMatchObject({ code: 'REGISTRY_CLOSED' })
  expect((await ends).map(({ status }) => status)).toEqual(['killed', 'killed'])
  expect(acked).toEqual([1, 1])
  expect(() => tasks.status(ids[0]!)).toThrow(expect.objectContaining({ code: 'REGISTRY_CLOSED' }))
  expect(store.registry().drain({ sessionId })).toEqual([])
})
