/** Many completions that wait, and subscriptions that change hands meanwhile. */
import { dirname } from 'node:path'
import type { TaskRegistry } from 'outlive'
import { gate } from './support/guests'
import { host } from './support/host'
import { listen } from './support/listen'
import { copy, makeFifos, original, rewrite } from './support/records'
import { blockUntil, eventually, temporaryStore } from './support/store'

const store = temporaryStore()

/** A registry to which the session is attached. */
async function replayed(sessionId: string): Promise<TaskRegistry> {
  const tasks = store.registry()
  await tasks.replay(sessionId)
  return tasks
}

/** A session with so many completions that nobody has heard of, each with so many bytes of metadata. */
async function written(sessionId: string, count: number, bytes = 0): Promise<void> {
  const good = await original(store, sessionId)
  rewrite(good, 'task.json', (task) => ({ ...task, metadata: { text: 'x'.repeat(bytes) } }))
  const copies = Array.from({ length: count - 1 }, () => copy(good))
  makeFifos(dirname(good), copies)
}

/** The same, attached. */
async function backlog(sessionId: string, count: number, bytes = 0): Promise<TaskRegistry> {
  await written(sessionId, count, bytes)
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

test('a backlog that is larger than the heap of its host is told all the same', async () => {
  // D18
  const [sessionId, count] = ['small heap', 600]
  await written(sessionId, count, 60_000)
  const small = await host(store, { execArgv: ['--max-old-space-size=16'] })
  const told = await small.call(
    ({ tasks }, session, all) =>
      new Promise<number>((resolve) => {
        let calls = 0
        // Each works for longer than it takes to hand out the next.
        tasks.onCompletion(
          () => {
            for (const until = performance.now() + 5; performance.now() < until; );
            if (++calls === all) resolve(calls)
          },
          { sessionId: session },
        )
      }),
    sessionId,
    count,
  )
  expect(told).toBe(count)
}, 120_000)

test.each(['auto', 'manual'] as const)(
  'callbacks (%s) that are at work keep nobody from hearing the rest of a large backlog',
  async (ack) => {
    // D5
    const [sessionId, other, count] = [`large ${ack}`, `beside ${ack}`, 50]
    const tasks = await backlog(sessionId, count, 60_000)
    let settle = () => {}
    const settled = new Promise<void>((resolve) => {
      settle = resolve
    })
    const first = listen(tasks, sessionId, () => settled, { ack })
    // All that fits is on its way, and no callback can run before.
    blockUntil(() => tasks.pending({ sessionId }).length === count - 18)
    await first.times(count)
    await written(other, count, 60_000)
    await tasks.replay(other)
    await listen(tasks, other).times(count)
    expect(first.heard).toHaveLength(count)
    settle()
  },
)

test('a large backlog whose subscription is closed on its way makes room for another session', async () => {
  // D5
  const [sessionId, other, count] = ['closed on its way', 'behind it', 50]
  const tasks = await backlog(sessionId, count, 60_000)
  await written(other, count, 60_000)
  await tasks.replay(other)
  const first = listen(tasks, sessionId)
  // No callback can run here, and no more is handed out than fits.
  blockUntil(() => tasks.pending({ sessionId }).length < count - 15)
  const second = listen(tasks, other)
  expect(tasks.pending({ sessionId: other }).length).toBeGreaterThan(count - 5)
  first.subscription.close()
  await second.times(count)
  expect(first.heard).toEqual([])
  expect(tasks.pending({ sessionId })).toHaveLength(count)
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
