// `sessions` reads the names of a store's sessions, and touches none of them.
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { host } from './support/host'
import { temporaryStore } from './support/store'

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

test('of a store that was removed it is an error that names the place', () => {
  const store = temporaryStore()
  const tasks = store.registry()
  rmSync(store.dir, { recursive: true })
  expect(() => tasks.sessions()).toThrow(
    expect.objectContaining({ code: 'STORAGE_FAILED', message: expect.stringContaining(store.dir) }),
  )
})
