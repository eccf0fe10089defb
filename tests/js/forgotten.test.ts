// R6: what nobody comes back to does not fill the disk for ever, and what somebody may come back to stays.
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { gate, killProcessesOf, obedient, readyFifo } from './support/guests'
import { type HostScope, host } from './support/host'
import { listen } from './support/listen'
import { aged, dateBack, makeFifos, original, rewrite } from './support/records'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const DAY = 86_400_000
const everything = { olderThanMs: 0, undeliveredOlderThanMs: 0 }

interface Past {
  days: number
  isTold?: boolean
}

/** A session with tasks of an earlier boot that ended so long ago: its directory and their ids. */
async function past(sessionId: string, ...tasks: Past[]): Promise<{ session: string; ids: string[] }> {
  const good = await original(store, sessionId)
  const session = dirname(good)
  const ids = tasks.map(({ days, isTold }) => aged(good, days, isTold))
  makeFifos(session, ids)
  rmSync(good, { recursive: true })
  for (const [at, id] of ids.entries()) dateBack(join(session, id), tasks[at]!.days)
  return { session, ids }
}

const tasksIn = (session: string) => readdirSync(session).filter((name) => name.startsWith('bash-'))

test('cleanup takes what was left alone for a month in sessions that are not attached, and nothing younger', async () => {
  // R6
  const { session, ids } = await past(
    'never opened again',
    { days: 29, isTold: true },
    { days: 31, isTold: true },
    { days: 29 },
    { days: 31 },
  )
  const [young, , untold] = ids
  const tasks = store.registry()
  // They may be another program's: its month is not shortened by our limits.
  expect(await tasks.cleanup(everything)).toBe(2)
  expect(tasksIn(session).sort()).toEqual([young, untold].sort())
  expect(await tasks.cleanup({ olderThanMs: 0 })).toBe(0)
  // They were not attached by it.
  expect(tasks.list()).toEqual([])
})

test('longer limits than a month are kept to in sessions that are not attached', async () => {
  // R6
  const { session, ids } = await past('kept', { days: 31, isTold: true }, { days: 41, isTold: true }, { days: 41 })
  const tasks = store.registry()
  expect(await tasks.cleanup({ olderThanMs: 40 * DAY, undeliveredOlderThanMs: 50 * DAY })).toBe(1)
  expect(tasksIn(session).sort()).toEqual([ids[0], ids[2]].sort())
  expect(await tasks.cleanup()).toBe(2)
})

test('the end of a long task makes it young, however long ago it was started', async () => {
  // R6
  const { session, ids } = await past('long', { days: 2, isTold: true })
  dateBack(join(session, ids[0]!), 60)
  expect(await store.registry().cleanup(everything)).toBe(0)
  expect(tasksIn(session)).toEqual(ids)
})

test('a task that runs for more than a month stays, whoever cleans up', async () => {
  // R6
  const sessionId = 'runs for months'
  const [ready, wait] = [readyFifo(store), gate(store)]
  const node = await host(store)
  const spawn = ({ tasks }: HostScope, command: string, sessionId: string) => tasks.spawn(command, { sessionId })
  const id = await node.call(spawn, obedient(ready, wait, 'exit 5'), sessionId)
  await ready.line()
  await node.kill()
  const dir = store.taskDir(id)!
  rewrite(dir, 'started.json', (started) => ({ ...started, startedAt: Date.now() - 60 * DAY }))
  for (const name of readdirSync(dir)) if (!['control', 'events'].includes(name)) dateBack(join(dir, name), 60)
  for (const path of [dir, dirname(dir)]) dateBack(path, 60)
  expect(await store.registry().cleanup(everything)).toBe(0)
  wait.open()
  const next = store.registry()
  const listener = listen(next, sessionId)
  await listener.times(1)
  expect(listener.heard).toMatchObject([{ taskId: id, status: 'failed', exitCode: 5 }])
  await killProcessesOf([id])
})

test('of a task that went with the machine the news waits for a month from when it was first seen', async () => {
  // R6
  const { session, ids } = await past('went with the machine', { days: 60 })
  const dir = join(session, ids[0]!)
  rmSync(join(dir, 'ended.json'))
  for (const name of ['command', 'stdout', 'stderr', 'task.json', 'started.json']) dateBack(join(dir, name), 60)
  rewrite(dir, 'started.json', (started) => ({ ...started, startedAt: Date.now() - 60 * DAY }))
  dateBack(dir, 60)
  const tasks = store.registry()
  expect(await tasks.cleanup(everything)).toBe(0)
  dateBack(join(dir, 'command'), 29)
  expect(await tasks.cleanup(everything)).toBe(0)
  dateBack(join(dir, 'command'), 31)
  expect(await tasks.cleanup(everything)).toBe(1)
})

test('what another host tells is left to that one', async () => {
  // R6
  const sessionId = 'has an owner'
  const { session, ids } = await past(sessionId, { days: 31 })
  const node = await host(store)
  const hold = ({ tasks }: HostScope, sessionId: string) =>
    new Promise<string>((resolve) => {
      tasks.onCompletion(
        ({ taskId }) => {
          resolve(taskId)
          return new Promise(() => {})
        },
        { sessionId },
      )
    })
  expect(await node.call(hold, sessionId)).toBe(ids[0])
  dateBack(join(session, ids[0]!), 31)
  const tasks = store.registry()
  expect(await tasks.cleanup(everything)).toBe(0)
  await node.kill()
  await eventually(async () => (await tasks.cleanup(everything)) === 1, 'it goes when its host has gone')
})

test('who subscribes while a cleanup goes on is told what is still there, and nothing of that goes', async () => {
  // R6 D5
  const sessionId = 'opened again'
  const { session, ids } = await past(sessionId, ...Array.from({ length: 400 }, () => ({ days: 31 })))
  const tasks = store.registry()
  const cleaned = tasks.cleanup(everything)
  while (tasksIn(session).length === ids.length) await setImmediate()
  const { heard } = listen(tasks, sessionId, () => {}, { ack: 'manual' })
  const removed = await cleaned
  await eventually(() => heard.length + removed === ids.length, 'each has gone or was told')
  expect(heard.length).toBeGreaterThan(0)
  expect(heard.filter(({ taskId }) => store.taskDir(taskId) === undefined)).toEqual([])
  expect(tasks.ack(heard.map(({ taskId }) => taskId))).toBe(heard.length)
})

test('what a dead host left half made in a session that is not attached goes too', async () => {
  // R6
  const { session, ids } = await past('half made', { days: 31 })
  rmSync(join(session, ids[0]!, 'task.json'))
  dateBack(join(session, ids[0]!), 31)
  expect(await store.registry().cleanup(everything)).toBe(0)
  expect(tasksIn(session)).toEqual([])
})

describe('the directory of a session without tasks', () => {
  async function empty(sessionId: string): Promise<string> {
    const { session } = await past(sessionId)
    dateBack(session, 31)
    return session
  }

  test('goes when nothing has happened in it for a month, and the session with it', async () => {
    // R6
    const sessionId = 'empty'
    const session = await empty(sessionId)
    const tasks = store.registry()
    dateBack(session, 29)
    await tasks.cleanup()
    expect(tasks.sessions()).toContain(sessionId)
    dateBack(session, 31)
    await tasks.cleanup()
    expect(existsSync(session)).toBe(false)
    expect(tasks.sessions()).not.toContain(sessionId)
  })

  test('stays while a host listens to it, which hears of what is started there by others', async () => {
    // R6
    const sessionId = 'listened to'
    const session = await empty(sessionId)
    const listening = store.registry()
    const listener = listen(listening, sessionId)
    await listening.replay(sessionId)
    for (const name of ['owner', 'session']) expect(existsSync(join(session, name))).toBe(true)
    dateBack(session, 31)
    const others = store.registry()
    await others.cleanup()
    expect(existsSync(session)).toBe(true)
    const id = await others.spawn('exit 4', { sessionId })
    await listener.times(1)
    expect(listener.heard).toMatchObject([{ taskId: id, exitCode: 4 }])
  })

  test('is made anew for who has attached it, where tasks start and are told as ever', async () => {
    // R6
    const sessionId = 'came back'
    const session = await empty(sessionId)
    const attached = store.registry()
    await attached.replay(sessionId)
    await attached.cleanup()
    expect(existsSync(session)).toBe(false)
    const listener = listen(attached, sessionId)
    const id = await attached.spawn('exit 6', { sessionId })
    await listener.times(1)
    expect(listener.heard).toMatchObject([{ taskId: id, exitCode: 6 }])
  })

  test('stays as it is where others can write to it', async () => {
    // R6 R14
    const session = await empty('open to others')
    chmodSync(session, 0o777)
    await store.registry().cleanup()
    expect(readdirSync(session).sort()).toEqual(['owner', 'session'])
  })

  test('is not taken for one of another name', async () => {
    // R6
    const other = join(store.dir, 'notes')
    mkdirSync(other)
    dateBack(other, 60)
    await store.registry().cleanup()
    expect(existsSync(other)).toBe(true)
  })

  test('stays with what somebody else has put there', async () => {
    // R6
    const sessionId = 'not only ours'
    const session = await empty(sessionId)
    const tasks = store.registry()
    writeFileSync(join(session, 'notes'), 'mine')
    dateBack(session, 31)
    await tasks.cleanup()
    expect(existsSync(join(session, 'notes'))).toBe(true)
    expect(tasks.sessions()).toContain(sessionId)
  })
})

test('a session that is spoilt keeps no other from being cleaned up', async () => {
  // R6
  const { session } = await past('beside a spoilt one', { days: 31, isTold: true })
  const spoilt = dirname(await original(store, 'default'))
  rmSync(spoilt, { recursive: true })
  writeFileSync(spoilt, 'no directory')
  expect(await store.registry().cleanup()).toBe(1)
  expect(tasksIn(session)).toEqual([])
  await expect(store.registry().cleanup()).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
})
