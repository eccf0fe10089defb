import { host } from './support/host'
import { listen } from './support/listen'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 100 })

let sessions = 0
const session = (): string => `session ${++sessions}`
const idsOf = (completions: { taskId: string }[]): string[] => completions.map(({ taskId }) => taskId)

async function ended(sessionId: string, command = 'true'): Promise<string> {
  const id = await tasks.spawn(command, { sessionId })
  await tasks.wait(id)
  return id
}

test('drain takes what is pending once; pending changes nothing', async () => {
  const sessionId = session()
  const id = await ended(sessionId, 'exit 4')
  for (let look = 0; look < 3; look++) expect(idsOf(tasks.pending({ sessionId }))).toEqual([id])
  expect(tasks.status(id)?.completionDelivered).toBe(false)
  expect(tasks.drain({ sessionId })).toMatchObject([{ taskId: id, exitCode: 4, attempt: 1, type: 'bash_completed' }])
  expect(tasks.status(id)?.completionDelivered).toBe(true)
  expect([tasks.pending({ sessionId }), tasks.drain({ sessionId })]).toEqual([[], []])
})

test('what a callback holds is neither drained nor pending until the callback gives it back', async () => {
  // D5
  const sessionId = session()
  let refuse = (_: Error): void => {}
  const { times, heard, subscription } = listen(tasks, sessionId, () => new Promise((_, reject) => (refuse = reject)))
  const id = await ended(sessionId)
  await times(1)
  expect([tasks.pending({ sessionId }), tasks.drain({ sessionId })]).toEqual([[], []])
  subscription.close() // or it would be told again at once
  expect([tasks.pending({ sessionId }), tasks.drain({ sessionId })]).toEqual([[], []])
  refuse(new Error('no'))
  await eventually(() => tasks.pending({ sessionId }).length === 1, 'it is given back')
  expect(tasks.drain({ sessionId })).toMatchObject([{ taskId: id, attempt: 2 }])
  expect(heard).toHaveLength(1)
})

test('a callback that always fails is called 5 times, then drain still has the completion', async () => {
  // D9
  const sessionId = session()
  const { times, heard } = listen(tasks, sessionId, () => {
    throw new Error('always')
  })
  const id = await ended(sessionId)
  await times(5)
  // Two others go the same way, longer than the pause before a sixth attempt would be.
  const timesOf = (task: string) => heard.filter(({ taskId }) => taskId === task).length
  const other = await ended(sessionId)
  await eventually(() => timesOf(other) === 5, 'the other one was tried too')
  const last = await ended(sessionId)
  await eventually(() => timesOf(last) === 4, 'the last one was tried too')
  expect(heard.filter(({ taskId }) => taskId === id).map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5])
  await eventually(() => tasks.pending({ sessionId }).length === 3, 'all are given back')
  expect(idsOf(tasks.drain({ sessionId }))).toEqual([id, other, last])
})

test('closing a manual subscription gives back what it holds unaccepted, told or on its way', async () => {
  // D5
  const sessionId = session()
  const first = listen(tasks, sessionId, () => {}, { ack: 'manual' })
  const ids = [await ended(sessionId), await ended(sessionId), await ended(sessionId)]
  await first.times(3)
  expect(tasks.ack([ids[1]!])).toBe(1)
  const onItsWay = await ended(sessionId)
  first.subscription.close()
  expect(idsOf(tasks.pending({ sessionId }))).toEqual([ids[0], ids[2], onItsWay])

  const next = listen(tasks, sessionId, () => {}, { ack: 'manual' })
  await next.times(3)
  await new Promise((resolve) => setImmediate(resolve))
  expect(idsOf(next.heard)).toEqual([ids[0], ids[2], onItsWay])
  expect(tasks.release(ids)).toBe(2)
  await next.times(5)
  expect(idsOf(next.heard.slice(3))).toEqual([ids[0], ids[2]])
  expect(tasks.ack([...ids, onItsWay])).toBe(3)
  next.subscription.close()
  expect(tasks.drain({ sessionId })).toEqual([])
})

test('a manual subscription that is closed leaves its session to another host', async () => {
  // D5 D15
  const sessionId = session()
  const { subscription, times } = listen(tasks, sessionId, () => {}, { ack: 'manual' })
  const id = await ended(sessionId)
  await times(1)
  const node = await host(store)
  await node.call(({ tasks, say }, sessionId) => void tasks.onCompletion(say, { sessionId }), sessionId)
  expect(node.untaken()).toEqual([])
  subscription.close()
  expect(await node.heard('the other host is told')).toMatchObject({ taskId: id, attempt: 2 })
  await node.kill()
})

test('what was accepted by its id is not told any more, at whatever moment that was', async () => {
  // D16
  const sessionId = session()
  const told: string[] = []
  const { subscription } = listen(tasks, sessionId, ({ taskId }) => told.push(taskId))
  let early = 0
  for (let turn = 0; turn < 100; turn++) {
    const id = await tasks.spawn('true', { sessionId })
    await tasks.wait(id) // in the moment in which the completion is on its way to the callback
    const wasTold = told.includes(id)
    if (tasks.ack([id]) === 1) {
      early++
      expect(wasTold).toBe(false)
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
      expect(told).not.toContain(id)
    }
  }
  expect(early).toBeGreaterThan(0)
  subscription.close()
})

test('an ack reaches a completion that only the disk knows of, and survives a restart', async () => {
  // D16
  const node = await host(store)
  const ids = await node.call(async ({ tasks }) => {
    const ids = [await tasks.spawn('true'), await tasks.spawn('true')]
    for (const id of ids) await tasks.wait(id)
    return ids
  })
  await node.kill()
  const [accepted, open] = ids as [string, string]
  const second = await host(store)
  expect(await second.call(({ tasks }, id) => [tasks.ack([id]), tasks.ack([id])], accepted)).toEqual([1, 0])
  await second.kill()
  const third = await host(store)
  expect(idsOf(await third.call(({ tasks }) => tasks.drain({ sessionId: 'default' })))).toEqual([open])
  await third.kill()
})

test('two registries that drain at once share the completions, each to one of them', async () => {
  // D15
  const sessionId = session()
  const other = store.registry()
  const ids = []
  for (let count = 0; count < 20; count++) ids.push(await ended(sessionId))
  const drained = [...tasks.drain({ sessionId }), ...other.drain({ sessionId })]
  expect(idsOf(drained)).toEqual(ids)
  expect(other.pending({ sessionId })).toEqual([])
})

test('everything that is pending is drained, also when it is longer than any string', async () => {
  const sessionId = session()
  const node = await host(store)
  const count = await node.call(async ({ tasks }, sessionId) => {
    // As JSON six times as long, and V8 has no string of 512 MiB.
    const command = '\x01'.repeat(8_000_000)
    const spawn = () => tasks.spawn(command, { sessionId, shell: '/bin/true' })
    for (let made = 0; made < 12; made++) await tasks.wait(await spawn())
    return tasks.drain({ sessionId }).filter((done) => done.command === command).length
  }, sessionId)
  expect(count).toBe(12)
  await node.kill()
})
