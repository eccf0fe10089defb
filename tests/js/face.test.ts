// N5: errors are real, promises settle, and a registry ends in order.
import { getEventListeners } from 'node:events'
import { writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { TaskRegistry } from 'outlive'
import { isAlive, patient, readyFifo, stubborn } from './support/guests'
import { host } from './support/host'
import { blockUntil, eventually, rejectionOf, temporaryStore, within } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 100 })

let sessions = 0
const session = (): string => `session ${++sessions}`

describe('errors', () => {
  test('are Errors of the caller’s realm with a code, and so is the cause with the system’s', async () => {
    const error = await rejectionOf(tasks.spawn('true', { cwd: '/no/such/place' }))
    expect(error).toBeInstanceOf(Error)
    expect(error.code).toBe('CWD_NOT_FOUND')
    expect(error.message).toContain('/no/such/place')
    expect(error.cause).toBeInstanceOf(Error)
    expect((error.cause as NodeJS.ErrnoException).code).toBe('ENOENT')
  })

  test('of a promise point at whoever awaits it', async () => {
    async function theCallInQuestion(): Promise<void> {
      await tasks.kill('bash-0000000000000000')
    }
    const error = await rejectionOf(theCallInQuestion())
    expect(error.stack).toMatch(/^Error: .*bash-0000000000000000/)
    expect(error.stack).toContain('theCallInQuestion')
  })

  test('of promises come whatever the host has made of stacks', async () => {
    const { prepareStackTrace } = Error
    Error.prepareStackTrace = () => {
      throw new Error('a tool that shows stacks')
    }
    try {
      const rejected = rejectionOf(tasks.kill('bash-0000000000000000'))
      expect(await within(rejected, 'it is rejected')).toMatchObject({ code: 'TASK_NOT_FOUND' })
    } finally {
      Object.assign(Error, { prepareStackTrace })
    }
  })

  test('of the constructor have a code too', () => {
    const inTheWay = `${store.dir}/file`
    writeFileSync(inTheWay, '')
    expect(() => new TaskRegistry({ storageDir: `${inTheWay}/store` })).toThrow(
      expect.objectContaining({ code: 'STORAGE_FAILED', message: expect.stringContaining(inTheWay) }),
    )
  })

  test('that native code could not put into JSON come out as INTERNAL with their text', () => {
    const { fromThrown } = require('../../errors.js')
    for (const text of ['index out of bounds', '{"half":', '5', 'null', '{"code":1}']) {
      expect(fromThrown(new Error(text))).toMatchObject({ code: 'INTERNAL', message: text })
    }
  })
})

describe('what a command inherits', () => {
  const printed = async (command: string, options: object = {}): Promise<string> => {
    const id = await tasks.spawn(command, options)
    await tasks.wait(id)
    return tasks.output(id).text
  }

  test('is the environment as it is now, with env laid over it', async () => {
    process.env.FACE_TEST_OLD = 'old'
    process.env.FACE_TEST_GONE = 'here'
    const env = { FACE_TEST_NEW: 'new=\n😀', FACE_TEST_GONE: undefined, FACE_TEST_EMPTY: '' }
    const command =
      'printf "%s|%s|%s|%s" "$FACE_TEST_OLD" "$FACE_TEST_NEW" "${FACE_TEST_GONE-gone}" "${FACE_TEST_EMPTY-unset}"'
    expect(await printed(command, { env })).toBe('old|new=\n😀|gone|')
  })

  test('is text, whatever a copy such as Jest’s holds, without what no environment can hold', async () => {
    const strange = { FACE_TEST_NUMBER: 5, FACE_TEST_NUL: 'a\0b', FACE_TEST_HALF: '\ud800', 'FACE_TEST=': 'x' }
    Object.assign(process.env, strange)
    try {
      const command = 'printf "%s|%s|%s" "$FACE_TEST_NUMBER" "${FACE_TEST_NUL-unset}" "${FACE_TEST_HALF-unset}"'
      expect(await printed(command)).toBe('5|unset|unset')
    } finally {
      for (const name of Object.keys(strange)) delete process.env[name]
    }
  })

  test('has ELECTRON_RUN_AS_NODE only when env asks for it', async () => {
    process.env.ELECTRON_RUN_AS_NODE = '1'
    try {
      expect(await printed('echo "$ELECTRON_RUN_AS_NODE"')).toBe('\n')
      expect(await printed('echo "$ELECTRON_RUN_AS_NODE"', { env: { ELECTRON_RUN_AS_NODE: '2' } })).toBe('2\n')
    } finally {
      delete process.env.ELECTRON_RUN_AS_NODE
    }
  })

  test('is the working directory of the host, from which a relative cwd is taken', async () => {
    expect(await printed('pwd -P')).toBe(`${process.cwd()}\n`)
    expect(await printed('pwd -P', { cwd: '..' })).toBe(`${dirname(process.cwd())}\n`)
    expect(tasks.list().at(-1)?.cwd).toBe(dirname(process.cwd()))
  })
})

describe('an abort of wait', () => {
  test('rejects at once when the signal was aborted before', async () => {
    const error = await rejectionOf(tasks.wait('bash-0000000000000000', { signal: AbortSignal.abort() }))
    expect(error.name).toBe('AbortError')
  })

  test('rejects with the reason, leaves the task alone, and leaves no listener behind', async () => {
    const ready = readyFifo(store)
    const id = await tasks.spawn(patient(ready))
    const pid = Number(await ready.line())
    const stop = new AbortController()
    const waiting = rejectionOf(tasks.wait(id, { signal: stop.signal }))
    await eventually(() => getEventListeners(stop.signal, 'abort').length === 1, 'wait listens to the signal')
    stop.abort()
    expect(await waiting).toBe(stop.signal.reason)
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
    expect(isAlive(pid)).toBe(true)
    expect(await tasks.kill(id)).toMatchObject({ status: 'killed' })
  })

  test('with a reason of another kind rejects with an AbortError that has it as cause', async () => {
    const id = await tasks.spawn(patient(readyFifo(store)))
    for (const reason of [new Error('changed my mind'), 'words', 0]) {
      const stop = new AbortController()
      const waiting = rejectionOf(tasks.wait(id, { signal: stop.signal }))
      stop.abort(reason)
      expect(await waiting).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: reason })
    }
    await tasks.kill(id)
  })

  test('after the end changes nothing, and the end takes the listener away', async () => {
    const stop = new AbortController()
    const id = await tasks.spawn('true')
    expect(await tasks.wait(id, { signal: stop.signal })).toMatchObject({ status: 'completed' })
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
    stop.abort()
    expect(tasks.status(id)).toMatchObject({ status: 'completed' })
  })
})

/** One call of every method, by name. */
const everyCall: Record<string, (target: TaskRegistry) => unknown> = {
  spawn: (target) => target.spawn('true'),
  status: (target) => target.status('bash-0000000000000000'),
  list: (target) => target.list(),
  sessions: (target) => target.sessions(),
  kill: (target) => target.kill('bash-0000000000000000'),
  wait: (target) => target.wait('bash-0000000000000000'),
  output: (target) => target.output('bash-0000000000000000'),
  onCompletion: (target) => target.onCompletion(() => {}),
  drain: (target) => target.drain(),
  pending: (target) => target.pending(),
  ack: (target) => target.ack([]),
  release: (target) => target.release([]),
  replay: (target) => target.replay(),
  cleanup: (target) => target.cleanup(),
  shutdown: (target) => target.shutdown(),
}

async function expectClosed(registry: TaskRegistry): Promise<void> {
  for (const call of Object.values(everyCall)) {
    await expect((async () => call(registry))()).rejects.toMatchObject({ code: 'REGISTRY_CLOSED' })
  }
  registry.detach()
}

describe('the end of a registry', () => {
  test('detach rejects what is pending and every later call; its tasks go on', async () => {
    const registry = store.registry()
    const ready = readyFifo(store)
    const subscription = registry.onCompletion(() => {}, { sessionId: session() })
    const id = await registry.spawn(patient(ready))
    const pid = Number(await ready.line())
    const stop = new AbortController()
    const waits = [registry.wait(id), registry.wait(id, { timeoutMs: 60_000, signal: stop.signal })].map(rejectionOf)
    await eventually(() => getEventListeners(stop.signal, 'abort').length === 1, 'wait listens to the signal')
    registry.detach()
    for (const error of await Promise.all(waits)) expect(error.code).toBe('REGISTRY_CLOSED')
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
    await expectClosed(registry)
    subscription.close()
    expect(subscription.ref()).toBe(subscription)
    expect(isAlive(pid)).toBe(true)
    await tasks.replay()
    expect(await tasks.kill(id)).toMatchObject({ status: 'killed' })
  })

  test('shutdown ends what runs, tells it first, and closes', async () => {
    const sessionId = session()
    const registry = store.registry()
    const ready = readyFifo(store)
    const told: string[] = []
    registry.onCompletion(({ taskId }) => told.push(taskId), { sessionId })
    const ids = [
      await registry.spawn(patient(ready), { sessionId }),
      await registry.spawn(patient(ready), { sessionId }),
    ]
    await ready.line()
    await ready.line()
    const ended = registry.shutdown({ graceMs: 1000 })
    const again = registry.shutdown()
    const snapshots = await ended
    expect(await again).toEqual(snapshots)
    expect(snapshots.map(({ taskId }) => taskId).sort()).toEqual([...ids].sort())
    expect(snapshots.every(({ status }) => status === 'killed')).toBe(true)
    expect(told.sort()).toEqual([...ids].sort())
    await expectClosed(registry)
  })

  test('during a shutdown too a callback runs after the code that waits for the same spawn', async () => {
    // N5
    const sessionId = session()
    const registry = store.registry()
    const known = new Set<string>()
    const told: boolean[] = []
    registry.onCompletion(({ taskId }) => told.push(known.has(taskId)), { sessionId })
    await registry.replay(sessionId)
    // One whose directory has not been looked at yet comes too late for a shutdown in the same turn.
    await registry.wait(await registry.spawn('true'))
    const spawned = registry.spawn('true', { sessionId }).then((id) => known.add(id))
    const ended = registry.shutdown()
    // Both wait for us when we go on.
    blockUntil(() => registry.list({ sessionId }).some(({ finishedAt }) => finishedAt !== null))
    await Promise.all([spawned, ended])
    expect(told).toEqual([true])
  })

  test('a shutdown that is asked for again can only become faster', async () => {
    const registry = store.registry()
    const ready = readyFifo(store)
    const id = await registry.spawn(stubborn(ready))
    await ready.line()
    const ended = registry.shutdown({ graceMs: 3_600_000 })
    expect(await within(registry.shutdown({ graceMs: 0 }), 'it is over')).toMatchObject([{ taskId: id }])
    expect(await ended).toMatchObject([{ taskId: id, status: 'killed' }])
    await expectClosed(registry)
  })

  test('detach while it shuts down rejects every shutdown, and nothing else', async () => {
    const node = await host(store)
    const ready = readyFifo(store)
    const sessionId = session()
    await node.call(({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId }), stubborn(ready), sessionId)
    await ready.line()
    const seen = await node.call(async ({ tasks }) => {
      const escaped: unknown[] = []
      process.on('unhandledRejection', (error) => escaped.push(error))
      const both = [tasks.shutdown({ graceMs: 600_000 }), tasks.shutdown({ graceMs: 600_000 })]
      tasks.detach()
      const codes = both.map((ended) => ended.catch((error) => error.code))
      const seen = await Promise.all(codes)
      await new Promise(setImmediate) // by then nobody can take it any more
      return [...seen, ...escaped.map(String)]
    })
    expect(seen).toEqual(['REGISTRY_CLOSED', 'REGISTRY_CLOSED'])
    await node.kill()
    await tasks.replay(sessionId)
    for (const { taskId } of tasks.list({ sessionId })) await tasks.kill(taskId, { graceMs: 0 })
  })

  test('dispose detaches, by the method that a subclass has laid over it', async () => {
    const plain = store.registry()
    plain[Symbol.dispose]()
    await expectClosed(plain)

    const closed: string[] = []
    class Plugin extends TaskRegistry {
      override detach(): void {
        closed.push('ours')
        super.detach()
      }
    }
    const derived = new Plugin({ storageDir: store.dir })
    derived[Symbol.dispose]()
    expect(closed).toEqual(['ours'])
    await expectClosed(derived)
  })

  test('a registry that was dropped without a word gives back its threads and files', async () => {
    const node = await host(store, { execArgv: ['--expose-gc'] })
    const census = () =>
      node.call(() => {
        globalThis.gc!()
        const { readdirSync } = require('node:fs')
        return { threads: readdirSync('/proc/self/task').length, fds: readdirSync('/proc/self/fd').length }
      })
    const make = (count: number) =>
      node.call(
        async ({ outlive }, storageDir, count) => {
          for (let made = 0; made < count; made++) await new outlive.TaskRegistry({ storageDir }).replay()
        },
        store.dir,
        count,
      )
    await make(1)
    const before = await census()
    await make(20)
    await eventually(async () => {
      const now = await census()
      return now.threads <= before.threads + 1 && now.fds <= before.fds + 4
    }, 'threads and files are as before')
    await node.kill()
  })

  test('a registry that was dropped with a subscription goes on telling', async () => {
    const node = await host(store, { execArgv: ['--expose-gc'] })
    const sessionId = session()
    await node.call(
      ({ outlive, say }, storageDir, sessionId) => {
        const registry = new outlive.TaskRegistry({ storageDir })
        registry.onCompletion((completion) => say(completion.exitCode), { sessionId })
      },
      store.dir,
      sessionId,
    )
    await node.call(() => globalThis.gc!())
    await node.call(({ tasks }, sessionId) => tasks.spawn('exit 5', { sessionId }), sessionId)
    expect(await node.heard()).toBe(5)
    await node.kill()
  })
})
