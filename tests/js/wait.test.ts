import { getEventListeners } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SpawnOptions, TaskSnapshot } from 'outlive'
import { gate, isAlive, obedient, patient, readyFifo, stop } from './support/guests'
import { host } from './support/host'
import { eventually, rejectionOf, temporaryStore, within } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 50 })

/** A task that has said that it runs, and that ends with 3 when it is let through. */
async function waitingTask(options?: SpawnOptions): Promise<{ task: string; pid: number; letThrough: () => void }> {
  const [ready, start] = [readyFifo(store), gate(store)]
  const task = await tasks.spawn(obedient(ready, start, 'exit 3'), options)
  return { task, pid: Number(await ready.line()), letThrough: () => start.open() }
}

const outcome = { status: 'failed', cause: 'exit', exitCode: 3, signal: null, pid: null }

describe('a wait', () => {
  test('resolves at the end, for everybody who waits, with the snapshot that status then gives', async () => {
    const { task, letThrough } = await waitingTask()
    const other = store.registry()
    const waiting = [tasks.wait(task), tasks.wait(task), other.wait(task, { sessionId: 'default' })]
    expect(tasks.status(task)).toMatchObject({ status: 'running', exitCode: null, finishedAt: null })
    letThrough()
    for (const snapshot of await Promise.all(waiting)) {
      expect(snapshot).toMatchObject({ taskId: task, ...outcome })
      expect(snapshot).toEqual(tasks.status(task))
    }
    await expect(within(tasks.wait(task), 'a later wait is answered at once')).resolves.toMatchObject(outcome)
  })

  test('resolves with the task as it stands when its time passes, and the task goes on', async () => {
    const { task, pid, letThrough } = await waitingTask()
    for (const timeoutMs of [0, 50]) {
      const begun = performance.now()
      const snapshot = await tasks.wait(task, { timeoutMs })
      expect(snapshot).toMatchObject({ status: 'running', exitCode: null, finishedAt: null, pid })
      expect(performance.now() - begun).toBeGreaterThanOrEqual(timeoutMs)
    }
    expect(isAlive(pid)).toBe(true)
    letThrough()
    expect(await tasks.wait(task, { timeoutMs: 60_000 })).toMatchObject(outcome)
  })

  test('whose time passes while its host stands still resolves with the end that came meanwhile', async () => {
    const timeoutMs = 3000
    const { task, letThrough } = await waitingTask()
    const node = await host(store)
    // The replay is answered behind the wait, so that has been heard.
    await node.call(
      async ({ tasks, shared }, task, timeoutMs) => {
        shared.answer = tasks.wait(task, { timeoutMs })
        await tasks.replay()
      },
      task,
      timeoutMs,
    )
    const heard = performance.now()
    await stop(node.pid)
    letThrough()
    await tasks.wait(task)
    await eventually(() => performance.now() - heard > timeoutMs, 'its time has passed')
    process.kill(node.pid, 'SIGCONT')
    expect(await node.call(({ shared }) => shared.answer)).toMatchObject(outcome)
  })

  test('is not the news: the completion stays pending', async () => {
    const sessionId = 'waited for'
    const { task, letThrough } = await waitingTask({ sessionId })
    letThrough()
    expect(await tasks.wait(task)).toMatchObject({ ...outcome, completionDelivered: false })
    expect(tasks.drain({ sessionId })).toMatchObject([{ taskId: task, attempt: 1 }])
  })

  test('resolves in the order in which the tasks end, not in that of their starts', async () => {
    const [first, second, third] = [await waitingTask(), await waitingTask(), await waitingTask()]
    const seen: string[] = []
    const note = (snapshot: TaskSnapshot) => void seen.push(snapshot.taskId)
    const waiting = [first, second, third].map(({ task }) => tasks.wait(task).then(note))
    for (const [at, { task, letThrough }] of [third, first, second].entries()) {
      letThrough()
      await eventually(() => seen.length === at + 1, 'one more has ended')
      expect(seen.at(-1)).toBe(task)
    }
    await Promise.all(waiting)
  })

  test('works for a task whose host has died, also when it ended meanwhile', async () => {
    const [ready, start] = [readyFifo(store), gate(store)]
    const first = await host(store)
    const [running, over] = await first.call(
      async ({ tasks }, commands) =>
        Promise.all(commands.map((command) => tasks.spawn(command, { sessionId: 'orphaned' }))),
      [obedient(ready, start, 'exit 3'), `echo $$ > ${ready.path}; exit 3`],
    )
    for (const _ of [running, over]) await ready.line()
    await first.kill()

    const waiting = tasks.wait(running!, { sessionId: 'orphaned' })
    expect(await within(tasks.wait(over!, { sessionId: 'orphaned' }), 'the other has ended')).toMatchObject(outcome)
    expect(tasks.status(running!)!.status).toBe('running')
    start.open()
    expect(await within(waiting, 'the adopted task has ended')).toMatchObject(outcome)
  })
})

describe('an aborted wait', () => {
  test('rejects with an AbortError, and the task goes on', async () => {
    const { task, pid, letThrough } = await waitingTask()
    const abort = new AbortController()
    const waiting = tasks.wait(task, { signal: abort.signal })
    const other = tasks.wait(task)
    abort.abort()
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
    expect(isAlive(pid)).toBe(true)
    letThrough()
    expect(await other).toMatchObject(outcome)
  })

  test('rejects for any reason, also for one that throws when it is looked at', async () => {
    // N5
    const { task, letThrough } = await waitingTask()
    const abort = new AbortController()
    const waiting = tasks.wait(task, { signal: abort.signal })
    const reason = Object.defineProperty({}, 'name', {
      get: () => {
        throw new Error('a getter')
      },
    })
    abort.abort(reason)
    const rejected = await within(rejectionOf(waiting), 'it is rejected')
    expect(rejected).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' })
    expect(rejected.cause).toBe(reason)
    letThrough()
    await tasks.wait(task)
  })

  test('rejects also when another listener of its signal keeps the event from the others', async () => {
    const { task, letThrough } = await waitingTask()
    const abort = new AbortController()
    abort.signal.addEventListener('abort', (event) => event.stopImmediatePropagation())
    const waiting = tasks.wait(task, { signal: abort.signal })
    abort.abort()
    expect((await within(rejectionOf(waiting), 'it is rejected')).name).toBe('AbortError')
    letThrough()
    await tasks.wait(task)
  })

  test('rejects where the prototypes of errors are frozen, and the host lives', async () => {
    const node = await host(store)
    const told = await node.call(async ({ tasks }) => {
      Object.freeze(Error.prototype)
      const id = await tasks.spawn('exec sleep 1000')
      const aborts = [new AbortController(), new AbortController()]
      const waiting = aborts.map(({ signal }) =>
        tasks.wait(id, { signal }).catch(({ name, code }) => `${name} ${code}`),
      )
      for (const abort of aborts) abort.abort('somebody pressed Escape')
      return Promise.all([...waiting, tasks.kill(id).then(({ status }) => status)])
    })
    expect(told).toEqual(['AbortError ABORT_ERR', 'AbortError ABORT_ERR', 'killed'])
    await node.kill()
  })

  test('rejects at once when its signal is aborted already, and with the reason as its cause', async () => {
    const { task, letThrough } = await waitingTask()
    const reason = new Error('the user has gone')
    const waiting = tasks.wait(task, { signal: AbortSignal.abort(reason) })
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError', cause: reason })
    letThrough()
    await tasks.wait(task)
  })

  test('settles whatever the methods of its signal do', async () => {
    // N5
    const { task, letThrough } = await waitingTask()
    const own = store.registry()
    const oops = () => {
      throw new Error('oops')
    }
    const wait = (methods: object, from = tasks) => {
      const signal = { aborted: false, addEventListener() {}, removeEventListener() {}, ...methods }
      return from.wait(task, { signal: signal as unknown as AbortSignal })
    }
    const rejected = (waiting: Promise<unknown>) => within(rejectionOf(waiting), 'it is rejected')
    expect((await rejected(wait({ addEventListener: oops }))).message).toBe('oops')
    const atOnce = {
      addEventListener(_: string, listener: () => void) {
        this.aborted = true
        listener()
      },
      aborted: false,
    }
    expect((await rejected(wait(atOnce))).name).toBe('AbortError')
    const mute = {
      addEventListener(_: string, listener: () => void) {
        Object.defineProperties(this, { aborted: { value: true }, reason: { get: oops } })
        listener()
      },
    }
    expect(await rejected(wait(mute))).toMatchObject({ name: 'AbortError', cause: { message: 'oops' } })
    expect((await rejected(wait({ addEventListener: () => own.detach() }, own))).code).toBe('REGISTRY_CLOSED')
    const others = [wait({ removeEventListener: oops }), wait({ removeEventListener: undefined }), tasks.wait(task)]
    letThrough()
    for (const other of others) expect(await within(other, 'it resolves')).toMatchObject(outcome)
  })

  test('leaves nothing behind on its signal once it has settled', async () => {
    const { task, letThrough } = await waitingTask()
    const abort = new AbortController()
    const waiting = tasks.wait(task, { signal: abort.signal })
    letThrough()
    expect(await waiting).toMatchObject(outcome)
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
  })

  test('shares one listener of its signal with others, so that Node warns of no leak', async () => {
    const { task, letThrough } = await waitingTask()
    const short = await tasks.spawn('true')
    const abort = new AbortController()
    const ended = Array.from({ length: 15 }, () => tasks.wait(short, { signal: abort.signal }))
    const waiting = Array.from({ length: 15 }, () => tasks.wait(task, { signal: abort.signal }))
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(1)
    await Promise.all(ended)
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(1)
    abort.abort()
    for (const { status } of await Promise.allSettled(waiting)) expect(status).toBe('rejected')
    expect(getEventListeners(abort.signal, 'abort')).toEqual([])
    const again = new AbortController()
    for (let turn = 0; turn < 2; turn++) await tasks.wait(short, { signal: again.signal })
    expect(getEventListeners(again.signal, 'abort')).toEqual([])
    letThrough()
  })
})

describe('a wait that cannot be answered', () => {
  test('is TASK_NOT_FOUND for an unknown id, for what is no id, and for another session', async () => {
    const { task, letThrough } = await waitingTask({ sessionId: 'mine' })
    for (const [id, options] of [['bash-0000000000000000'], ['../../etc'], [task, { sessionId: 'theirs' }]] as const) {
      const waiting = tasks.wait(id, options)
      await expect(waiting).rejects.toMatchObject({ code: 'TASK_NOT_FOUND', message: expect.stringContaining(id) })
    }
    letThrough()
    await tasks.wait(task)
  })

  test('is TASK_NOT_FOUND when the start of its task fails', async () => {
    // D22
    const [ready, fail] = [readyFifo(store), gate(store)]
    const supervisor = join(store.dir, 'starts-nothing')
    writeFileSync(supervisor, `#!/bin/sh\necho up > ${ready.path}\nread _ < ${fail.path}\n`, { mode: 0o755 })
    const node = await host(store, { env: { OUTLIVE_SUPERVISOR: supervisor } })
    const sessionId = 'starting'
    const spawned = node.call(
      ({ tasks }, sessionId) => tasks.spawn('true', { sessionId }).catch((error) => error.code),
      sessionId,
    )
    await ready.line('its supervisor is there')
    const waited = node.call(({ tasks, say }, sessionId) => {
      const [{ taskId }] = tasks.list({ sessionId }) as [TaskSnapshot]
      const waiting = tasks.wait(taskId).catch((error) => error.code)
      tasks.list() // is answered behind it
      say('waits')
      return waiting
    }, sessionId)
    expect(await node.heard()).toBe('waits')
    fail.open()
    expect(await spawned).toBe('SPAWN_FAILED')
    expect(await within(waited, 'the wait is answered')).toBe('TASK_NOT_FOUND')
    await node.kill()
  })

  test('rejects with REGISTRY_CLOSED when the registry is detached, and the task goes on', async () => {
    const ready = readyFifo(store)
    const own = store.registry()
    const task = await own.spawn(patient(ready), { sessionId: 'left' })
    const pid = Number(await ready.line())
    const waiting = own.wait(task)
    own.detach()
    await expect(waiting).rejects.toMatchObject({ code: 'REGISTRY_CLOSED' })
    expect(isAlive(pid)).toBe(true)
    const ended = await tasks.kill(task, { sessionId: 'left' })
    expect(ended).toMatchObject({ status: 'killed', signal: 'SIGTERM' })
  })
})
