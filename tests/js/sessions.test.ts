// `sessions` reads the names of a store's sessions, and touches none of them.
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { TaskRegistry } from 'outlive'
import { gate } from './support/guests'
import { host } from './support/host'
import { listen } from './support/listen'
import { eventually, rejectionOf, temporaryStore } from './support/store'

const NAMES = ['default', 'chat-1', 'Chat-1', ' a b\n', 'ü', 'x'.repeat(1024)]
const SORTED = [' a b\n', 'Chat-1', 'chat-1', 'default', 'x'.repeat(1024), 'ü']

/** Every file of a directory with its size and its times; all but those of access, which reading may change. */
function everything(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' }).map((name) => {
    const { size, mtimeMs, ctimeMs, mode } = statSync(join(dir, name))
    return [name, size, mtimeMs, ctimeMs, mode].join(' ')
  })
}

test('a new host hears of every session on disk, sorted, and attaches none of them', async () => {
  const store = temporaryStore()
  const first = await host(store)
  await first.call(async ({ tasks }, names) => {
    for (const sessionId of names) await tasks.wait(await tasks.spawn('true', { sessionId }))
  }, NAMES)
  await first.kill()
  const tasks = store.registry()
  const before = everything(store.dir)
  expect(tasks.sessions()).toEqual(SORTED)
  expect(everything(store.dir)).toEqual(before)
  expect(tasks.list().map((task) => task.sessionId)).toEqual(['default'])
  expect(await tasks.replay('chat-1')).toMatchObject({ finished: 1, pending: 1 })
})

test('a session is known from its first task on, and after its last was removed', async () => {
  const tasks = temporaryStore().registry()
  expect(tasks.sessions()).toEqual([])
  const id = await tasks.spawn('true', { sessionId: 'brief' })
  expect(tasks.sessions()).toContain('brief')
  await tasks.kill(id)
  tasks.drain()
  await tasks.cleanup({ olderThanMs: 0 })
  expect(tasks.sessions()).toContain('brief')
})

test('a session that a power cut has left without its name is found by its tasks, and gets it back', async () => {
  // R18
  for (const left of [undefined, '', 'lon']) {
    const store = temporaryStore()
    const first = await host(store)
    const taskId = await first.call(async ({ tasks }) => {
      const id = await tasks.spawn('exit 7', { sessionId: 'long ago' })
      await tasks.wait(id)
      return id
    })
    await first.kill()
    const dir = dirname(store.taskDir(taskId)!)
    for (const name of ['session', 'owner']) rmSync(join(dir, name))
    if (left !== undefined) writeFileSync(join(dir, 'session'), left)
    cpSync(join(dir, taskId), join(store.dir, '0'.repeat(32), taskId), {
      recursive: true,
      filter: (path) => !/control|events/.test(path),
    })
    const tasks = store.registry()
    const before = everything(store.dir)
    expect(tasks.sessions()).toEqual(['long ago'])
    expect(everything(store.dir)).toEqual(before)
    const of = { sessionId: 'long ago' }
    expect(tasks.list(of)).toMatchObject([{ taskId, exitCode: 7 }])
    expect(readFileSync(join(dir, 'session'), 'utf8')).toBe('long ago')
    expect(await tasks.replay('long ago')).toMatchObject({ finished: 1, pending: 1, unreadable: [] })
    expect(tasks.drain(of)).toMatchObject([{ taskId, exitCode: 7 }])
    const id = await tasks.spawn('exit 8', of)
    expect(await tasks.wait(id, of)).toMatchObject({ exitCode: 8 })
    tasks.detach()
  }
})

test('what is damaged, planted or no session at all is passed over', async () => {
  const store = temporaryStore()
  const tasks = store.registry()
  const dirs: Record<string, string> = {}
  for (const sessionId of ['good', 'linked', 'torn', 'long', 'blocked']) {
    const task = await tasks.wait(await tasks.spawn('true', { sessionId }))
    dirs[sessionId] = dirname(dirname(task.stdoutPath))
  }
  const elsewhere = temporaryStore()
  mkdirSync(elsewhere.dir, { recursive: true })
  renameSync(dirs.linked!, join(elsewhere.dir, 'moved'))
  symlinkSync(join(elsewhere.dir, 'moved'), dirs.linked!)
  writeFileSync(join(dirs.torn!, 'session'), Buffer.from([0xff, 0xfe]))
  writeFileSync(join(dirs.long!, 'session'), 'long'.repeat(1000))
  rmSync(join(dirs.blocked!, 'session'))
  mkdirSync(join(dirs.blocked!, 'session'))
  const copy = join(store.dir, '0'.repeat(32))
  mkdirSync(copy, { mode: 0o700 })
  cpSync(join(dirs.good!, 'session'), join(copy, 'session'))
  writeFileSync(join(store.dir, 'notes.txt'), 'good')
  expect(tasks.sessions()).toEqual(['good'])
})

test('a default session that cannot be used keeps nobody from the tasks of others', async () => {
  const store = temporaryStore()
  const sessionId = 'usable'
  const before = store.registry()
  const { stdoutPath } = await before.wait(await before.spawn('true'))
  before.detach()
  const spoilt = dirname(dirname(stdoutPath))
  rmSync(spoilt, { recursive: true })
  writeFileSync(spoilt, 'no directory')
  const tasks = store.registry()
  const id = await tasks.spawn('sleep 600', { sessionId })
  expect(tasks.status('bash-0000000000000000')).toBeNull()
  expect(await tasks.kill(id)).toMatchObject({ status: 'killed' })
  expect(await tasks.wait(id)).toMatchObject({ status: 'killed' })
})

test('of a store that was removed it is an error that names the place', () => {
  const store = temporaryStore()
  const tasks = store.registry()
  rmSync(store.dir, { recursive: true })
  expect(() => tasks.sessions()).toThrow(
    expect.objectContaining({ code: 'STORAGE_FAILED', message: expect.stringContaining(store.dir) }),
  )
})

test.each<[string, (tasks: TaskRegistry, id: string, sessionId: string) => unknown]>([
  ['status', (tasks, id, sessionId) => tasks.status(id, { sessionId })],
  ['output', (tasks, id, sessionId) => tasks.output(id, { sessionId })],
  ['wait', (tasks, id, sessionId) => tasks.wait(id, { sessionId })],
  ['kill', (tasks, id, sessionId) => tasks.kill(id, { sessionId })],
])('a subscription to every session is told of one that %s has named', async (sessionId, name) => {
  // D3
  const store = temporaryStore()
  const first = store.registry()
  const ids = [await first.spawn('true', { sessionId }), await first.spawn('true', { sessionId })]
  for (const id of ids) await first.wait(id, { sessionId })
  first.detach()
  const tasks = store.registry()
  const told = new Set<string>()
  tasks.onCompletion(({ taskId }) => void told.add(taskId))
  await name(tasks, ids[0]!, sessionId)
  await eventually(() => told.size === 2, 'both are told')
  expect(told).toEqual(new Set(ids))
})

test('a subscription to every session is the only one of its registry, and owns the default session from the start', async () => {
  const store = temporaryStore()
  const [all, other] = [store.registry(), store.registry()]
  const told: string[] = []
  const subscription = all.onCompletion(({ taskId }) => void told.push(taskId))
  expect(() => all.onCompletion(() => {}, { sessionId: 'own' })).toThrow(/there is one for every session/)
  all.drain() // when this returns, the subscription has what it owns
  const { heard, times } = listen(other, 'default')
  const id = await other.spawn('true')
  await other.wait(id)
  await eventually(() => told.length === 1, 'it is told of what another registry has started')
  expect(heard).toEqual([])
  subscription.close()
  await other.spawn('true')
  await times(1)
  expect(told).toEqual([id])
})

test('a session that cannot be used keeps no call that names none from the others', async () => {
  // R10
  const store = temporaryStore()
  const tasks = store.registry()
  const [good, bad] = [
    await tasks.spawn('true', { sessionId: 'good' }),
    await tasks.spawn('true', { sessionId: 'bad' }),
  ]
  const { stdoutPath } = await tasks.wait(bad)
  await tasks.wait(good)
  writeFileSync(join(dirname(dirname(stdoutPath)), 'session'), 'another')
  expect(tasks.list().map(({ taskId }) => taskId)).toEqual([good])
  expect(tasks.pending().map(({ taskId }) => taskId)).toEqual([good])
  expect(tasks.drain().map(({ taskId }) => taskId)).toEqual([good])
  expect(await tasks.cleanup({ olderThanMs: 0 })).toBe(1)
  const named = rejectionOf((async () => tasks.list({ sessionId: 'bad' }))())
  expect(await named).toMatchObject({ code: 'STORAGE_FAILED' })
})

test('a session that was removed and made anew has one owner, and each of its completions is told once', async () => {
  // D15
  const store = temporaryStore()
  const [sessionId, gates] = ['anew', [1, 2, 3].map(() => gate(store))]
  const [first, second] = [store.registry(), store.registry()]
  const one = listen(first, sessionId)
  const { stdoutPath } = await first.wait(await first.spawn('true', { sessionId }), { sessionId })
  await one.times(1)
  rmSync(dirname(dirname(stdoutPath)), { recursive: true })
  const ids = await Promise.all(gates.map(({ path }) => first.spawn(`read _ < ${path}`, { sessionId })))
  const other = listen(second, sessionId)
  await second.replay(sessionId)
  for (const { open } of gates) open()
  for (const id of ids) {
    await eventually(() => first.status(id, { sessionId })?.completionDelivered, 'it is delivered')
    await second.wait(id, { sessionId })
  }
  const told = [...one.heard.slice(1), ...other.heard]
  expect(told.map(({ taskId }) => taskId).sort()).toEqual([...ids].sort())
  expect(told.map(({ attempt }) => attempt)).toEqual([1, 1, 1])
})
