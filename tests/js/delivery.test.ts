import type { Completion } from 'outlive'
import { gate, obedient, readyFifo } from './support/guests'
import { host } from './support/host'
import { listen } from './support/listen'
import { eventually, rejectionOf, temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 200 })

let sessions = 0
const session = (): string => `session ${++sessions}`
const idsOf = (completions: { taskId: string }[]): string[] => completions.map(({ taskId }) => taskId)

describe('a completion', () => {
  test('whose callback was running when Node was killed is told again as attempt 2, and after that never', async () => {
    // D1
    const sessionId = session()
    const first = await host(store)
    const id = await first.call(({ tasks, say }, sessionId) => {
      tasks.onCompletion(
        (completion) => {
          say(completion)
          return new Promise(() => {}) // killed before it ends
        },
        { sessionId },
      )
      return tasks.spawn('exit 3', { sessionId })
    }, sessionId)
    expect(await first.heard<Completion>()).toMatchObject({ taskId: id, attempt: 1, exitCode: 3 })
    await first.kill()

    const second = await host(store)
    await second.call(({ tasks, say }, sessionId) => void tasks.onCompletion(say, { sessionId }), sessionId)
    expect(await second.heard<Completion>()).toMatchObject({ taskId: id, attempt: 2, exitCode: 3 })
    await eventually(() => tasks.status(id, { sessionId })?.completionDelivered, 'the completion is delivered')
    await second.kill()

    const third = await host(store)
    await third.call(({ tasks, say }, sessionId) => void tasks.onCompletion(say, { sessionId }), sessionId)
    const next = await third.call(({ tasks }, sessionId) => tasks.spawn('true', { sessionId }), sessionId)
    expect(await third.heard<Completion>()).toMatchObject({ taskId: next, attempt: 1 })
    expect(await third.call(({ tasks }, sessionId) => tasks.drain({ sessionId }), sessionId)).toEqual([])
    await third.kill()
  })

  test('of a task that ended while the host was down comes with the first subscription, complete', async () => {
    // D3
    const sessionId = session()
    const [ready, wait] = [readyFifo(store), gate(store)]
    const first = await host(store)
    const id = await first.call(
      ({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId, metadata: { for: ['you'] } }),
      obedient(ready, wait, 'echo out; echo err >&2; exit 7'),
      sessionId,
    )
    await ready.line()
    await first.kill()
    wait.open()
    await eventually(() => tasks.status(id, { sessionId })?.status === 'failed', 'it has ended')

    const second = await host(store)
    await second.call(({ tasks, say }, sessionId) => void tasks.onCompletion(say, { sessionId }), sessionId)
    const told = await second.heard<Completion>()
    expect(told).toMatchObject({ taskId: id, sessionId, status: 'failed', exitCode: 7, metadata: { for: ['you'] } })
    const snapshot = await second.call(({ tasks }, id, sessionId) => tasks.status(id, { sessionId }), id, sessionId)
    expect(snapshot).toMatchObject({ status: 'failed', exitCode: 7, stdoutBytes: 4, stderrBytes: 4 })
    for (const { outputPreview } of [told, snapshot!]) {
      expect(outputPreview).toContain('out\n')
      expect(outputPreview).toContain('err\n')
    }
    await second.kill()
  })

  test('comes although the event loop has nothing else to do, twice, 500 ms apart', async () => {
    // D6
    const node = await host(store)
    const sessionId = session()
    const began = performance.now()
    const ids = await node.call(async ({ tasks, say }, sessionId) => {
      let told = 0
      const subscription = tasks
        .onCompletion(
          ({ taskId }) => {
            say(taskId)
            if (++told === 2) subscription.unref()
          },
          { sessionId },
        )
        .ref()
      return [await tasks.spawn('true', { sessionId }), await tasks.spawn('sleep 0.5', { sessionId })]
    }, sessionId)
    node.leave()
    expect([await node.heard(), await node.heard()]).toEqual(ids)
    expect(performance.now() - began).toBeGreaterThan(500)
    expect(await node.exited).toEqual({ code: 0, signal: null })
  })

  test('is queued when kill resolves, and its task known when spawn resolves', async () => {
    // D17
    const sessionId = session()
    for (let turn = 0; turn < 30; turn++) {
      const id = await tasks.spawn('exec sleep 1000', { sessionId })
      expect(tasks.status(id)).toMatchObject({ taskId: id, sessionId })
      expect(idsOf(tasks.list({ sessionId }))).toContain(id)
      await tasks.kill(id)
      expect(idsOf(tasks.pending({ sessionId }))).toEqual([id])
      expect(idsOf(tasks.drain({ sessionId }))).toEqual([id])
    }
  })
})

describe('100 tasks that end one after the other', () => {
  /** Starts them all, then lets each end when the one before has ended. */
  async function endInOrder(sessionId: string): Promise<string[]> {
    const waits = Array.from({ length: 100 }, () => gate(store))
    const ids = await Promise.all(waits.map((wait) => tasks.spawn(`read _ < ${wait.path}`, { sessionId })))
    const order = ids.map((_, place) => (place * 37) % 100)
    for (const place of order) {
      waits[place]!.open()
      await tasks.wait(ids[place]!)
    }
    return order.map((place) => ids[place]!)
  }

  test('are told in that order: as they end, as a backlog, by drain, and after a restart', async () => {
    // D18
    const [live, late] = [session(), session()]
    const { heard, times } = listen(tasks, live)
    const told = await endInOrder(live)
    await times(100)
    expect(idsOf(heard)).toEqual(told)

    const ended = await endInOrder(late)
    expect(idsOf(tasks.pending({ sessionId: late }))).toEqual(ended)
    const node = await host(store)
    const pending = await node.call(({ tasks }, sessionId) => tasks.pending({ sessionId }), late)
    expect(idsOf(pending)).toEqual(ended)
    await node.call(({ tasks, say }, sessionId) => void tasks.onCompletion(say, { sessionId }), late)
    const backlog: Completion[] = []
    while (backlog.length < 60) backlog.push(await node.heard<Completion>())
    await node.kill()
    const rest = idsOf(tasks.drain({ sessionId: late }))
    expect(rest).toEqual(ended.slice(100 - rest.length))
    expect(idsOf(backlog)).toEqual(ended.slice(0, 60))
  })
})

test('a session sees nothing of another: status, list, output, kill, wait, drain, pending, push and replay', async () => {
  // D20
  const [mine, theirs] = [session(), session()]
  const heard = { mine: listen(tasks, mine), theirs: listen(tasks, theirs) }
  const ready = readyFifo(store)
  const id = await tasks.spawn(`echo $$ > ${ready.path}; exec sleep 1000`, { sessionId: theirs })
  await ready.line()
  const ended = await tasks.spawn('exit 1', { sessionId: theirs })
  await heard.theirs.times(1)
  heard.theirs.subscription.close()
  const silent = await tasks.spawn('exit 2', { sessionId: theirs })
  await tasks.wait(silent)

  for (const other of [id, ended, silent]) {
    expect(tasks.status(other, { sessionId: mine })).toBeNull()
    expect(() => tasks.output(other, { sessionId: mine })).toThrow(expect.objectContaining({ code: 'TASK_NOT_FOUND' }))
    expect((await rejectionOf(tasks.kill(other, { sessionId: mine }))).code).toBe('TASK_NOT_FOUND')
    expect((await rejectionOf(tasks.wait(other, { sessionId: mine }))).code).toBe('TASK_NOT_FOUND')
  }
  expect(tasks.list({ sessionId: mine })).toEqual([])
  expect(tasks.pending({ sessionId: mine })).toEqual([])
  expect(tasks.drain({ sessionId: mine })).toEqual([])
  const nothing = { running: 0, finished: 0, lost: 0, pending: 0, unreadable: [] }
  expect(await tasks.replay(mine)).toEqual(nothing)
  expect(await tasks.replay(theirs)).toEqual({ ...nothing, running: 1, finished: 2, pending: 1 })
  expect(heard.mine.heard).toEqual([])
  expect(idsOf(tasks.drain({ sessionId: theirs }))).toEqual([silent])
})

describe('a spawn either rejects, or its completion comes', () => {
  test('whatever is wrong with it', async () => {
    // D22
    const sessionId = session()
    const { heard, times } = listen(tasks, sessionId)
    const orders = [
      ...Array.from({ length: 10 }, () => ['true', {}] as const),
      ['true', { cwd: '/no/such/place' }] as const,
      ['true', { shell: '/no/such/shell' }] as const,
      ['true', { env: { LARGE: 'x'.repeat(1 << 20) } }] as const,
      [`# ${'x'.repeat(1 << 20)}`, {}] as const,
    ]
    const spawns = await Promise.allSettled(orders.map(([command, how]) => tasks.spawn(command, { ...how, sessionId })))
    const started = spawns.flatMap((spawn) => (spawn.status === 'fulfilled' ? [spawn.value] : []))
    expect(spawns.length - started.length).toBeGreaterThanOrEqual(2)
    await times(started.length)
    await Promise.all(started.map((id) => tasks.wait(id)))
    expect(idsOf(heard).sort()).toEqual([...started].sort())
    expect(idsOf(tasks.list({ sessionId })).sort()).toEqual([...started].sort())
  })

  test('also when the registry is closed in the middle of it', async () => {
    // D22
    const sessionId = session()
    const started: string[] = []
    for (let turn = 0; turn < 40; turn++) {
      const own = store.registry({ maxRunning: 100 }) // on a slow machine the last turns may still run
      const spawns = [1, 2, 3].map(() => own.spawn('true', { sessionId }))
      const pause = performance.now() + (turn % 8) / 4
      while (performance.now() < pause); // the loop is held, as a busy plugin holds it
      own.detach()
      for (const spawn of await Promise.allSettled(spawns)) {
        if (spawn.status === 'fulfilled') started.push(spawn.value)
        else expect(spawn.reason.code).toBe('REGISTRY_CLOSED')
      }
    }
    const told = new Set<string>()
    await eventually(() => {
      for (const id of idsOf(tasks.drain({ sessionId }))) told.add(id)
      return tasks.list({ sessionId }).every(({ completionDelivered }) => completionDelivered)
    }, 'all that ran is told')
    expect([...told].sort()).toEqual([...started].sort())
  })
})
