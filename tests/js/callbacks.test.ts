// N5: whatever a callback does, the host lives and no completion is lost.
import { join } from 'node:path'
import type { Completion } from 'outlive'
import { host } from './support/host'
import { listen } from './support/listen'
import { blockUntil, eventually, temporaryStore, within } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 100 })

let sessions = 0
const session = (): string => `session ${++sessions}`

/** All have ended and are on their way to a callback: nobody else can have them. */
function areHandedOut(sessionId: string): boolean {
  const ends = tasks.list({ sessionId }).map(({ finishedAt }) => finishedAt)
  return !ends.includes(null) && tasks.pending({ sessionId }).length === 0
}

describe('a callback of onCompletion', () => {
  test('that returns has taken its completion', async () => {
    const sessionId = session()
    const { times, subscription } = listen(tasks, sessionId)
    const id = await tasks.spawn('exit 4', { sessionId })
    await times(1)
    await eventually(() => tasks.status(id)?.completionDelivered, 'the completion is delivered')
    subscription.close()
    expect(tasks.drain({ sessionId })).toEqual([])
  })

  test('runs after the code that waits for the same spawn, also when both come in the same moment', async () => {
    const sessionId = session()
    const known = new Set<string>()
    const toldTooEarly: string[] = []
    const { times } = listen(tasks, sessionId, ({ taskId }) => {
      if (!known.has(taskId)) toldTooEarly.push(taskId)
    })
    const start = async (): Promise<string> => {
      const before = tasks.list({ sessionId }).length
      const starting = tasks.spawn('true', { sessionId })
      // The event loop stands still until the completion has been handed out, so it gets both at once.
      blockUntil(() => tasks.list({ sessionId }).length > before && areHandedOut(sessionId))
      return starting
    }
    for (let round = 0; round < 10; round++) known.add(await start())
    await times(10)
    expect(toldTooEarly).toEqual([])
  })

  test.each([
    ['a promise', (settle: Promise<void>) => settle],
    // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
    ['a thenable', (settle: Promise<void>) => ({ then: settle.then.bind(settle) })],
  ])('that returns %s holds its completion until that resolves', async (_, answer) => {
    const sessionId = session()
    let resolve = (): void => {}
    const { times } = listen(tasks, sessionId, () => answer(new Promise((done) => (resolve = done))))
    const id = await tasks.spawn('true', { sessionId })
    await times(1)
    expect(tasks.pending({ sessionId })).toEqual([])
    expect(tasks.drain({ sessionId })).toEqual([])
    expect(tasks.status(id)?.completionDelivered).toBe(false)
    resolve()
    await eventually(() => tasks.status(id)?.completionDelivered, 'the completion is delivered')
  })

  const unshowable = ['throws what cannot be shown', 'rejects with what cannot be shown']
  test.each(['throws', 'rejects', 'has a bad then', 'throws undefined', ...unshowable])(
    'that %s is told again; nothing escapes, and one warning says so',
    async (way) => {
      const sessionId = session()
      const node = await host(store)
      await node.call(
        ({ tasks, say }, sessionId, way) => {
          const unshowable = {
            [Symbol.for('nodejs.util.inspect.custom')]: () => {
              throw new Error('not even that')
            },
          }
          const ways: Record<string, () => unknown> = {
            throws: () => {
              throw new Error('no')
            },
            rejects: () => Promise.reject(new Error('no')),
            'has a bad then': () => {
              const error = new Error('no')
              return Object.defineProperty({}, 'then', {
                get: () => {
                  throw error
                },
              })
            },
            'throws undefined': () => {
              throw undefined
            },
            'throws what cannot be shown': () => {
              throw unshowable
            },
            'rejects with what cannot be shown': () => Promise.reject(unshowable),
          }
          process.on('uncaughtException', (error) => say({ escaped: String(error) }))
          process.on('unhandledRejection', (error) => say({ escaped: String(error) }))
          process.on('warning', ({ name, message }) => say({ warning: name, message }))
          tasks.onCompletion(({ attempt }) => (attempt <= 2 ? ways[way]!() : say({ taken: attempt })), { sessionId })
        },
        sessionId,
        way,
      )
      const id = await node.call(({ tasks }, sessionId) => tasks.spawn('true', { sessionId }), sessionId)
      expect(await node.heard()).toEqual({ warning: 'OutliveWarning', message: expect.stringContaining(id) })
      expect(await node.heard()).toEqual({ taken: 3 })
      await node.call(() => new Promise((resolve) => setImmediate(resolve)))
      expect(node.untaken()).toEqual([])
      await node.kill()
    },
  )

  test('that fails five times leaves its completion to drain, and a second warning says so', async () => {
    // D9
    const sessionId = session()
    const node = await host(store)
    await node.call(({ tasks, say }, sessionId) => {
      process.on('warning', ({ name, message }) => say({ name, message }))
      const fail = () => {
        throw new Error('always')
      }
      tasks.onCompletion(fail, { sessionId })
    }, sessionId)
    const id = await node.call(({ tasks }, sessionId) => tasks.spawn('true', { sessionId }), sessionId)
    const name = 'OutliveWarning'
    const failed = `the callback of onCompletion failed on ${id}`
    expect(await node.heard()).toEqual({ name, message: `${failed}, which is pending again` })
    expect(await node.heard()).toEqual({ name, message: `${failed} five times: it is left to drain` })
    await eventually(async () => {
      const drained = await node.call(({ tasks }, sessionId) => tasks.drain({ sessionId }), sessionId)
      return drained.length === 1
    }, 'drain has it')
    expect(node.untaken()).toEqual([])
    await node.kill()
  })

  test('is called without waiting for the promise of the call before, in the order of the ends', async () => {
    const sessionId = session()
    const ids: string[] = []
    for (let n = 0; n < 3; n++) ids.push((await tasks.wait(await tasks.spawn('true', { sessionId }))).taskId)
    let letGo = () => {}
    const all = new Promise<void>((resolve) => (letGo = resolve))
    const { heard, times } = listen(tasks, sessionId, () => all)
    await times(3)
    expect(heard.map(({ taskId }) => taskId)).toEqual(ids)
    expect(ids.map((id) => tasks.status(id)?.completionDelivered)).toEqual([false, false, false])
    letGo()
    await eventually(() => ids.every((id) => tasks.status(id)?.completionDelivered), 'all are delivered')
  })

  test('that fails is called again after 0.1, 0.2, 0.4 and 0.8 s; then the next registry tells', async () => {
    const sessionId = session()
    const first = store.registry()
    const times: number[] = []
    const fail = () => {
      times.push(performance.now())
      throw new Error('always')
    }
    const { subscription, heard } = listen(first, sessionId, fail)
    await first.spawn('true', { sessionId })
    await eventually(() => heard.length === 5, 'it has failed five times')
    const pauses = times.slice(1).map((time, at) => time - times[at]!)
    for (const [at, least] of [100, 200, 400, 800].entries()) expect(pauses[at]).toBeGreaterThan(least - 5)
    subscription.close()
    const again = listen(first, sessionId)
    first.detach()
    const next = listen(store.registry(), sessionId)
    await next.times(1)
    expect(next.heard[0]?.attempt).toBe(6)
    expect(again.heard).toEqual([])
  })

  test('that fails on what it has accepted is not said to be told again', async () => {
    const sessionId = session()
    const node = await host(store)
    await node.call(({ tasks, say }, sessionId) => {
      process.on('warning', ({ message }) => say(message))
      const acceptAndFail = ({ taskId }: Completion) => {
        tasks.ack([taskId])
        throw new Error('afterwards')
      }
      tasks.onCompletion(acceptAndFail, { sessionId, ack: 'manual' })
    }, sessionId)
    const id = await node.call(({ tasks }, sessionId) => tasks.spawn('true', { sessionId }), sessionId)
    const failed = `the callback of onCompletion failed on ${id}`
    expect(await node.heard()).toBe(`${failed}, which it had accepted or given back itself`)
    await node.kill()
  })

  test('is called whatever it is named', async () => {
    // N5
    const sessionId = session()
    const callback = Object.defineProperty(() => {}, 'name', { value: 5 })
    tasks.onCompletion(callback, { sessionId })
    const id = await tasks.spawn('true', { sessionId })
    await eventually(() => tasks.status(id)?.completionDelivered, 'it is called')
  })

  test('that fails where warnings are errors is called again, and so are the others', async () => {
    // N5 D9
    const sessionId = session()
    const node = await host(store)
    await node.call(({ tasks, say }, sessionId) => {
      process.emitWarning = () => {
        throw new Error('this test takes no warnings')
      }
      const failOnce = ({ taskId, attempt }: Completion) => {
        say([taskId, attempt])
        if (attempt === 1) throw new Error('the first time')
      }
      tasks.onCompletion(failOnce, { sessionId })
    }, sessionId)
    const spawn = () => node.call(({ tasks }, sessionId) => tasks.spawn('true', { sessionId }), sessionId)
    for (const _ of ['first', 'second']) {
      const id = await spawn()
      expect(await node.heard()).toEqual([id, 1])
      expect(await node.heard()).toEqual([id, 2])
    }
    await node.kill()
  })

  test('runs in the asynchronous context of who has subscribed, whatever was entered in the call before', async () => {
    const [one, other] = [session(), session()]
    const node = await host(store)
    await node.call(
      ({ tasks, say }, sessions) => {
        const { AsyncLocalStorage } = require('node:async_hooks') as typeof import('node:async_hooks')
        const project = new AsyncLocalStorage<string>()
        for (const sessionId of sessions) {
          const callback = () => {
            say([sessionId, project.getStore()])
            project.enterWith('the last task')
          }
          project.run(sessionId, () => tasks.onCompletion(callback, { sessionId }))
        }
      },
      [one, other],
    )
    for (const sessionId of [one, other, one]) {
      await node.call(({ tasks }, sessionId) => tasks.spawn('true', { sessionId }), sessionId)
      expect(await node.heard()).toEqual([sessionId, sessionId])
    }
    await node.kill()
  })

  test('that returns a query builder begins its work in that context, and whoever opened the registry is forgotten', async () => {
    const sessionId = session()
    const node = await host(store, { execArgv: ['--expose-gc'] })
    await node.call((scope, sessionId) => {
      const { AsyncLocalStorage } = require('node:async_hooks') as typeof import('node:async_hooks')
      const project = new AsyncLocalStorage<{ name: string }>()
      const opener = { name: 'who opened it' }
      scope.shared.opener = new WeakRef(opener)
      project.run(opener, () => scope.tasks.sessions())
      const query = {
        // biome-ignore lint/suspicious/noThenProperty: as a query builder's
        then(resolve: () => void) {
          scope.say(project.getStore()?.name)
          resolve()
        },
      }
      project.run({ name: 'who subscribed' }, () => scope.tasks.onCompletion(() => query, { sessionId }))
    }, sessionId)
    const id = await node.call(({ tasks }, sessionId) => tasks.spawn('true', { sessionId }), sessionId)
    expect(await node.heard()).toBe('who subscribed')
    const isDelivered = () => node.call(({ tasks }, id) => tasks.status(id)?.completionDelivered, id)
    await eventually(isDelivered, 'it is delivered')
    const isForgotten = () =>
      node.call(({ shared }) => {
        ;(globalThis as unknown as { gc(): void }).gc()
        return shared.opener.deref() === undefined
      })
    await eventually(isForgotten, 'nothing keeps what the opener has stored')
    await node.kill()
  })

  test('is told while a test has put another `JSON.parse` in its place', async () => {
    const sessionId = session()
    const { times } = listen(tasks, sessionId)
    const parse = jest.spyOn(JSON, 'parse').mockImplementation(() => {
      throw new SyntaxError('settings that are broken')
    })
    try {
      const id = await tasks.spawn('true', { sessionId })
      await times(1)
      expect(tasks.status(id)).toMatchObject({ status: 'completed' })
      await expect(tasks.kill(`${id}0`)).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
    } finally {
      parse.mockRestore()
    }
  })

  test('is told what comes behind a batch that cannot be read, and another host what was in it', async () => {
    const sessionId = session()
    const node = await host(store, { execArgv: ['--require', join(__dirname, 'support/break-parse.cjs')] })
    const metadata = 'x'.repeat(30_000) // four to a batch
    const ids = await Promise.all(Array.from({ length: 20 }, () => tasks.spawn('true', { sessionId, metadata })))
    await Promise.all(ids.map((id) => tasks.wait(id)))
    const told = await node.call(async ({ tasks }, sessionId) => {
      const told: string[] = []
      Object.assign(globalThis, { breaksParse: '{"type":"more"}' })
      tasks.onCompletion(({ taskId }) => void told.push(taskId), { sessionId })
      // All are on their way before the first is taken: a batch says only then that there is more.
      while (tasks.pending({ sessionId }).length > 0);
      const spawn = () => tasks.spawn('true', { sessionId, notify: false })
      await spawn().catch(() => {}) // Its answer may have been in that batch.
      await tasks.wait(await spawn())
      await tasks.shutdown()
      return told
    }, sessionId)
    expect(told.length).toBeLessThan(20)
    expect(told.length).toBeGreaterThan(10)
    await node.kill()
    const rest = tasks.drain({ sessionId }).map(({ taskId }) => taskId)
    expect([...told, ...rest].sort()).toEqual([...ids].sort())
  })

  test('gets a completion that is its own: changing it changes nothing', async () => {
    const sessionId = session()
    const { times, heard } = listen(tasks, sessionId, (completion) => {
      completion.taskId = 'changed'
    })
    const id = await tasks.spawn('true', { sessionId })
    await times(1)
    await eventually(() => tasks.status(id)?.completionDelivered, 'the completion is delivered')
    expect(heard).toHaveLength(1)
  })

  test('of a manual subscription leaves the delivery to ack and release', async () => {
    const sessionId = session()
    const { times, heard, subscription } = listen(tasks, sessionId, () => {}, { ack: 'manual' })
    const id = await tasks.spawn('true', { sessionId })
    await times(1)
    expect(tasks.pending({ sessionId })).toEqual([])
    expect(tasks.status(id)?.completionDelivered).toBe(false)
    expect(tasks.release([id])).toBe(1)
    await times(2)
    expect(heard[1]?.attempt).toBe(2)
    for (let attempt = 3; attempt < 9; attempt++) {
      expect(tasks.release([id])).toBe(1)
      await times(attempt)
    }
    expect(tasks.ack([id])).toBe(1)
    expect(tasks.ack([id])).toBe(0)
    expect(tasks.release([id])).toBe(0)
    expect(tasks.status(id)?.completionDelivered).toBe(true)
    subscription.close()
  })

  test('that has given back its completion does not take it when it returns', async () => {
    // N5
    const sessionId = session()
    let finish = (): void => {}
    const first = new Promise<void>((resolve) => {
      finish = resolve
    })
    const second = new Promise<void>(() => {})
    const { times, heard, subscription } = listen(tasks, sessionId, ({ attempt }) => (attempt === 1 ? first : second))
    const id = await tasks.spawn('true', { sessionId })
    await times(1)
    expect(tasks.release([id])).toBe(1)
    await times(2)
    finish()
    await first
    // Behind what the first call's end has set off.
    await new Promise(setImmediate)
    expect(tasks.status(id)?.completionDelivered).toBe(false)
    expect(tasks.release([id])).toBe(1)
    await times(3)
    expect(heard[2]?.attempt).toBe(3)
    expect(tasks.ack([id])).toBe(1)
    subscription.close()
  })

  test('that gives back each time is called again after the pauses of one that fails, and five times at most', async () => {
    // N5
    const sessionId = session()
    const { times, heard } = listen(tasks, sessionId, ({ taskId }) => void tasks.release([taskId]))
    await tasks.spawn('true', { sessionId })
    await times(5)
    const drained = await eventually(() => tasks.drain({ sessionId })[0], 'it is left to drain')
    expect([heard.length, drained.attempt]).toEqual([5, 6])
  })

  test('may use and end everything from inside', async () => {
    const sessionId = session()
    const own = store.registry()
    const inside: unknown[] = []
    const done = new Promise<void>((resolve) => {
      const subscription = own.onCompletion(
        (completion) => {
          inside.push(own.status(completion.taskId)?.status, own.list({ sessionId }).length, own.pending({ sessionId }))
          inside.push(own.output(completion.taskId).text)
          const inner = own.spawn('true', { sessionId })
          void inner.then(() => inside.push('started')).catch((error) => inside.push(error.code))
          subscription.ref().unref().close()
          subscription.close()
          own.detach()
          resolve()
        },
        { sessionId },
      )
    })
    await own.spawn('echo hi', { sessionId })
    await within(done, 'the callback ran')
    expect(inside.slice(0, 4)).toEqual(['completed', 1, [], 'hi\n'])
    await eventually(() => inside.length === 5, 'the spawn inside settles')
    expect(['started', 'REGISTRY_CLOSED']).toContain(inside[4])
  })

  test('runs under Jest’s fake timers', async () => {
    jest.useFakeTimers()
    try {
      const sessionId = session()
      const told = new Promise<Completion>((resolve) => tasks.onCompletion(resolve, { sessionId }))
      const id = await tasks.spawn('true', { sessionId })
      expect((await told).taskId).toBe(id)
    } finally {
      jest.useRealTimers()
    }
  })
})

describe('a subscription', () => {
  test('is the only one of its session until it is closed', async () => {
    const sessionId = session()
    const { subscription } = listen(tasks, sessionId)
    expect(() => tasks.onCompletion(() => {}, { sessionId })).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'INVALID_ARGUMENT' }),
    )
    subscription.close()
    const { times } = listen(tasks, sessionId)
    await tasks.spawn('true', { sessionId })
    await times(1)
  })

  test('that is closed tells nothing more; what its callback holds is still delivered', async () => {
    const sessionId = session()
    let resolve = (): void => {}
    const { subscription, heard, times } = listen(tasks, sessionId, () => new Promise<void>((done) => (resolve = done)))
    const first = await tasks.spawn('true', { sessionId })
    await times(1)
    subscription.close()
    const second = await tasks.spawn('true', { sessionId })
    await tasks.wait(second)
    await eventually(
      () => tasks.pending({ sessionId }).some(({ taskId }) => taskId === second),
      'the second is pending',
    )
    resolve()
    await eventually(() => tasks.status(first)?.completionDelivered, 'the first is delivered')
    expect(heard.map(({ taskId }) => taskId)).toEqual([first])
    expect(tasks.drain({ sessionId }).map(({ taskId }) => taskId)).toEqual([second])
  })

  test('that is closed by the first of many callbacks gives the others to the next, in their order', async () => {
    const sessionId = session()
    const ids: string[] = []
    for (let count = 0; count < 20; count++) {
      ids.push(await tasks.spawn('true', { sessionId }))
      await tasks.wait(ids[count]!)
    }
    const first = listen(tasks, sessionId, () => first.subscription.close())
    // The event loop stands still until all are handed out, so the other 19 wait in the face when the first closes.
    blockUntil(() => areHandedOut(sessionId))
    await first.times(1)
    const next = listen(tasks, sessionId)
    await next.times(19)
    expect([...first.heard, ...next.heard].map(({ taskId }) => taskId)).toEqual(ids)
    // What nobody has seen is news for the first time.
    expect(next.heard.map(({ attempt }) => attempt)).toEqual(ids.slice(1).map(() => 1))
  })

  test('can be disposed of, where the language knows how', () => {
    const { subscription } = listen(tasks, session())
    subscription[Symbol.dispose]()
    subscription.close()
    expect(subscription.ref()).toBe(subscription)
    expect(subscription.unref()).toBe(subscription)
  })
})
