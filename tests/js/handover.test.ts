/** A host closes its registry, or dies, with completions on their way or in a callback: who is told, and how often. */
import type { Completion } from 'outlive'
import { type Host, host } from './support/host'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry()

let sessions = 0
const session = (): string => `session ${++sessions}`

type Way = 'resolve' | 'reject' | 'stay' | 'manual'

/** Subscribes; the callback says its completion and then waits for `settle`. */
const listenAndWait = (node: Host, sessionId: string, way: Way): Promise<void> =>
  node.call(
    ({ tasks, say, shared }, sessionId, way) => {
      const callback = (completion: Completion) => {
        say(completion)
        return new Promise<void>((resolve, reject) => {
          shared.settle = () => (way === 'reject' ? reject(new Error('no')) : resolve())
        })
      }
      shared.subscription = tasks.onCompletion(callback, { sessionId, ack: way === 'manual' ? 'manual' : 'auto' })
    },
    sessionId,
    way,
  )

const spawnIn = (node: Host, sessionId: string): Promise<string> =>
  node.call(({ tasks }, sessionId) => tasks.spawn('true', { sessionId }), sessionId)

/** A task whose completion a callback of `first` is at work on, and `second`, which listens to the same session. */
async function inCallback(way: Way) {
  const sessionId = session()
  const [first, second] = await Promise.all([host(store), host(store)])
  await listenAndWait(first, sessionId, way)
  const id = await spawnIn(first, sessionId)
  expect(await first.heard()).toMatchObject({ taskId: id, attempt: 1 })
  await second.call(({ tasks, say }, sessionId) => void tasks.onCompletion(say, { sessionId }), sessionId)
  const end = () => Promise.all([first.kill(), second.kill()])
  return { sessionId, first, second, id, end }
}

const detach = (node: Host): Promise<void> => node.call(({ tasks }) => tasks.detach())
const settle = (node: Host): Promise<void> => node.call(({ shared }) => shared.settle())

describe('a registry that is detached while a callback is at work', () => {
  test('keeps other hosts from the completion until the callback is done; then they tell what came meanwhile', async () => {
    // D16
    const { sessionId, first, second, id, end } = await inCallback('resolve')
    await detach(first)
    const next = await spawnIn(second, sessionId)
    await second.call(({ tasks }, next, sessionId) => tasks.wait(next, { sessionId }), next, sessionId)
    expect(second.untaken()).toEqual([])
    await settle(first)
    expect(await second.heard()).toMatchObject({ taskId: next, attempt: 1 })
    expect(tasks.status(id, { sessionId })?.completionDelivered).toBe(true)
    expect(second.untaken()).toEqual([])
    await end()
  })

  test('gives the completion to the next host when the callback fails: the second attempt', async () => {
    // D1 D5
    const { first, second, id, end } = await inCallback('reject')
    await first.call(({ say }) => void process.on('warning', ({ message }) => say(message)))
    await detach(first)
    await settle(first)
    expect(await second.heard()).toMatchObject({ taskId: id, attempt: 2 })
    // And its developer hears of that alone.
    await first.call(() => new Promise(setImmediate))
    expect(first.untaken()).toEqual([`the callback of onCompletion failed on ${id}, which is pending again`])
    await end()
  })

  test('gives it to the next host when it is killed: the second attempt', async () => {
    // D1
    const { first, second, id, end } = await inCallback('resolve')
    await detach(first)
    await first.kill()
    expect(await second.heard()).toMatchObject({ taskId: id, attempt: 2 })
    await end()
  })

  test('gives it to the next host at once where nobody can acknowledge it any more', async () => {
    // D5
    const { first, second, id, end } = await inCallback('manual')
    await detach(first)
    expect(await second.heard()).toMatchObject({ taskId: id, attempt: 2 })
    await end()
  })

  test('does not keep a session for ever for a callback that is never done', async () => {
    // N5
    const { first, second, id, end } = await inCallback('stay')
    await detach(first)
    expect(await second.heard('the session is left to others', 30_000)).toMatchObject({ taskId: id, attempt: 2 })
    await settle(first)
    await eventually(() => second.call(({ tasks }) => tasks.pending().length === 0), 'it is told')
    await end()
  })
})

test('what a callback is at work on when its subscription is closed is told by no other host, nor what came meanwhile', async () => {
  // D15 D16
  const { sessionId, first, second, id, end } = await inCallback('resolve')
  await first.call(({ shared }) => shared.subscription.close())
  const next = await spawnIn(first, sessionId)
  await second.call(({ tasks }, next, sessionId) => tasks.wait(next, { sessionId }), next, sessionId)
  // Callbacks run behind what waits for a promise of the same moment.
  await second.call(() => new Promise(setImmediate))
  expect(second.untaken()).toEqual([])
  await settle(first)
  expect(await second.heard()).toMatchObject({ taskId: next, attempt: 1 })
  expect(tasks.status(id, { sessionId })?.completionDelivered).toBe(true)
  await end()
})

test('of the completions that wait for a callback when their host is killed, only the one in it was told', async () => {
  // D1
  const sessionId = session()
  const first = await host(store, { registry: { maxRunning: 20 } })
  const ids: string[] = []
  for (let count = 0; count < 20; count++) {
    ids.push(await spawnIn(first, sessionId))
    await first.call(({ tasks }, id) => tasks.wait(id), ids[count]!)
  }
  void first.call(({ tasks, say }, sessionId) => {
    tasks.onCompletion(
      ({ taskId }) => {
        // From here on the event loop stands still: the others have been handed out and are never told.
        while (tasks.pending({ sessionId }).length > 0);
        say(taskId)
        for (;;);
      },
      { sessionId },
    )
  }, sessionId)
  expect(await first.heard()).toBe(ids[0])
  await first.kill()
  expect(tasks.drain({ sessionId }).map(({ taskId, attempt }) => [taskId, attempt])).toEqual(
    ids.map((id, place) => [id, place === 0 ? 2 : 1]),
  )
})
