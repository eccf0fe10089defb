import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { gate, killProcessesOf, obedient, readyFifo } from './support/guests'
import { host } from './support/host'
import { atTheEnd, eventually, everythingIn, registryAt, rejectionOf, temporaryStore } from './support/store'

const store = temporaryStore()

async function refusal(storageDir: string): Promise<NodeJS.ErrnoException> {
  return rejectionOf((async () => registryAt(storageDir).spawn('true'))())
}

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn('SKIPPED: a directory of another user takes root to make')
const asRoot = isRoot ? test : test.skip

test('a store that is reached through a link or by a relative path is the same store', async () => {
  // R4
  const dir = join(store.dir, 'one')
  const link = join(store.dir, 'another-name')
  symlinkSync(dir, link)
  mkdirSync(dir, { mode: 0o700 })
  const id = await registryAt(dir).spawn('echo same', { sessionId: 's' })
  for (const name of [
    link,
    `${link}/`,
    join(link, '..', 'one'),
    relative(process.cwd(), dir),
    relative(process.cwd(), link),
  ]) {
    const tasks = registryAt(name)
    const found = await tasks.wait(id, { sessionId: 's' })
    expect(found).toMatchObject({ exitCode: 0, outputPreview: 'same\n' })
    expect(dirname(dirname(dirname(found.stdoutPath)))).toBe(dir)
    expect(await tasks.replay('s')).toMatchObject({ finished: 1 })
  }
  // A relative path is that of the moment in which it was given.
  const node = await host(store, { cwd: store.dir })
  const seen = await node.call(async ({ outlive }, id) => {
    const tasks = new outlive.TaskRegistry({ storageDir: './one' })
    process.chdir('/')
    return tasks.wait(id, { sessionId: 's' })
  }, id)
  expect(seen).toMatchObject({ taskId: id, outputPreview: 'same\n' })
  await node.kill()
})

test('directories are 0700 and files 0600, whatever the umask', async () => {
  // R14
  for (const umask of ['0', '077', '0277']) {
    const dir = join(store.dir, `umask-${umask}`, 'fresh')
    const node = await host(store, { under: ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh'] })
    await node.call(async ({ outlive }, storageDir) => {
      const tasks = new outlive.TaskRegistry({ storageDir })
      const noise = 'head -c 300000 /dev/zero; sleep 1000 & exit 1'
      const options = [{}, { stderr: 'merge' }, { maxOutputBytes: 65_536 }] as const
      const ids = await Promise.all(options.map((option) => tasks.spawn(noise, option)))
      await new Promise<void>((resolve) => {
        let told = 0
        tasks.onCompletion(() => ++told === ids.length && resolve())
      })
      await Promise.all(ids.map((id) => tasks.kill(id, { graceMs: 0 })))
      tasks.detach()
    }, dir)
    await node.kill()
    const modes = new Map<string, string[]>()
    for (const path of everythingIn(dirname(dir))) {
      const about = lstatSync(path)
      const name = basename(path)
      const isNamed = ['supervisor', 'control'].find((each) => name.split('-')[0] === each)
      const kind = about.isDirectory() ? 'directory' : (isNamed ?? 'file')
      const mode = `${kind} ${(about.mode & 0o7777).toString(8)}`
      modes.set(mode, [...(modes.get(mode) ?? []), basename(path)])
    }
    expect([...modes.keys()].sort()).toEqual(['control 200', 'directory 700', 'file 600', 'supervisor 500'])
    const names = ['command', 'stdout', 'stderr', 'output', 'events', 'task.json', 'started.json', 'ended.json']
    names.push('closed.json', 'dropped.json', 'leases', 'delivered', 'session', 'owner')
    expect(names.filter((name) => !modes.get('file 600')!.includes(name))).toEqual([])
  }
})

test('a storage directory that others can write to, or that is a file, is refused and left alone', async () => {
  // R14
  for (const mode of [0o777, 0o1777, 0o720, 0o702]) {
    const dir = join(store.dir, `open-${mode.toString(8)}`)
    mkdirSync(dir)
    chmodSync(dir, mode)
    const error = await refusal(dir)
    expect(error).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(dir) })
    expect(String(error.cause)).toMatch(/others can write to it/)
    expect(readdirSync(dir)).toEqual([])
    expect(lstatSync(dir).mode & 0o7777).toBe(mode)
  }
  const file = join(store.dir, 'a-file')
  writeFileSync(file, 'mine')
  const dangling = join(store.dir, 'dangling')
  symlinkSync(join(store.dir, 'nowhere'), dangling)
  for (const path of [file, join(file, 'below'), dangling]) {
    const error = await refusal(path)
    expect(error).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(path) })
    expect(error.cause).toBeInstanceOf(Error)
    expect(error.cause).toMatchObject({ code: path === dangling ? 'ENOENT' : 'ENOTDIR' })
  }
  expect(readFileSync(file, 'utf8')).toBe('mine')
})

asRoot('a storage directory of another user is refused', async () => {
  // R14
  const dir = join(store.dir, 'not-mine')
  mkdirSync(dir, { mode: 0o700 })
  chownSync(dir, 65_534, 65_534)
  const error = await refusal(dir)
  expect(error).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(dir) })
  expect(String(error.cause)).toMatch(/user 65534/)
  expect(readdirSync(dir)).toEqual([])
})

test('a session’s directory that others can write to is refused, and nothing is told of what lies there', async () => {
  // R14
  const [dir, sessionId] = [join(store.dir, 'open-session'), 'open']
  const first = registryAt(dir)
  const id = await first.spawn('echo forged', { sessionId })
  await first.wait(id)
  first.detach()
  const session = join(dir, readdirSync(dir).find((name) => /^[0-9a-f]{32}$/.test(name))!)
  chmodSync(session, 0o777)
  const tasks = registryAt(dir)
  const told: unknown[] = []
  tasks.onCompletion((completion) => void told.push(completion), { sessionId })
  for (const ask of [() => tasks.spawn('true', { sessionId }), () => tasks.replay(sessionId)]) {
    const error = await rejectionOf((async () => ask())())
    expect(error).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(session) })
    expect(error.message).toMatch(/others can write to it \(mode 777\).*chmod -R go-w/)
  }
  expect(() => tasks.drain({ sessionId })).toThrow(/others can write to it/)
  // It is one all the same, so that who lists them hears of it.
  expect(await tasks.sessions()).toEqual([sessionId])
  chmodSync(session, 0o700)
  await tasks.replay(sessionId)
  await eventually(() => told.length === 1, 'it is told once it is private again')
})

test('a store that was removed while its host lives, and made again for all to write to, is refused', async () => {
  // R14
  const dir = join(store.dir, 'made-again')
  const tasks = registryAt(dir)
  const before = await tasks.spawn('true', { notify: false })
  await tasks.wait(before)
  await killProcessesOf([before])
  rmSync(dir, { recursive: true })
  mkdirSync(dir)
  chmodSync(dir, 0o777)
  const error = await rejectionOf(tasks.spawn('true'))
  expect(error).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(dir) })
  expect(error.message).toMatch(/others can write to it/)
  expect(readdirSync(dir)).toEqual([])
  chmodSync(dir, 0o700)
  expect(await tasks.wait(await tasks.spawn('true'))).toMatchObject({ exitCode: 0 })
})

asRoot.each(['the store', 'the session'])(
  'what another user has put in the place of %s, whose parent is his, is refused',
  async (what) => {
    // R14
    const nobody = 65_534
    const parent = join(store.dir, `of-nobody ${what}`)
    const dir = join(parent, 'tasks')
    mkdirSync(parent)
    const tasks = registryAt(dir)
    await tasks.wait(await tasks.spawn('true', { notify: false }))
    const session = readdirSync(dir).find((name) => /^[0-9a-f]{32}$/.test(name))!
    chownSync(parent, nobody, nobody)
    renameSync(dir, `${dir}-aside`)
    const planted = what === 'the store' ? [dir] : [dir, join(dir, session)]
    for (const path of planted) mkdirSync(path, { mode: 0o755 })
    chownSync(planted.at(-1)!, nobody, nobody)
    const error = await rejectionOf(tasks.spawn('true'))
    expect(error).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(planted.at(-1)!) })
    expect(error.message).toMatch(/it belongs to user 65534, and this is user 0/)
    expect(readdirSync(planted.at(-1)!)).toEqual([])
  },
)

test('a store whose file system is served by a program that is gone is refused by the name of the error', async () => {
  // R17
  const [below, above] = ['to serve', 'served'].map((name) => join(store.dir, name)) as [string, string]
  for (const dir of [below, above]) mkdirSync(dir, { mode: 0o700 })
  const server = spawn('bindfs', ['-f', below, above], { stdio: 'ignore' }).once('error', () => {})
  const isOver = (): boolean => server.pid === undefined || server.exitCode !== null || server.signalCode !== null
  atTheEnd(() => void spawnSync('umount', ['-l', above]))
  await eventually(() => isOver() || statSync(above).dev !== statSync(below).dev, 'it is served')
  if (isOver()) return console.warn('SKIPPED: a store that is served by a program takes bindfs, and /dev/fuse')
  const tasks = registryAt(above)
  await tasks.wait(await tasks.spawn('true'))
  server.kill('SIGKILL')
  await eventually(isOver, 'its server is gone')
  const gone = { code: 'STORAGE_FAILED', cause: { code: 'ENOTCONN' } }
  await expect(tasks.spawn('true')).rejects.toMatchObject(gone)
  expect(await refusal(above)).toMatchObject(gone)
})

asRoot('a store that the server makes another user’s is refused, and nothing of it is left', async () => {
  // R14
  const [below, above] = ['of root', 'of nobody'].map((name) => join(store.dir, name)) as [string, string]
  for (const dir of [below, above]) mkdirSync(dir)
  const mounted = spawnSync('bindfs', ['--force-user=65534', below, above]).status === 0
  if (!mounted) return console.warn('SKIPPED: a server that makes all another user’s takes bindfs, and /dev/fuse')
  atTheEnd(() => void spawnSync('umount', ['-l', above]))
  const dir = join(above, 'state', 'tasks')
  const error = await refusal(dir)
  expect(error).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(dir) })
  expect(error.message).toMatch(/it belongs to user 65534, and this is user 0/)
  expect(readdirSync(below)).toEqual([])
})

test('a session id is a name and no path: whatever it holds, it stays inside the store', async () => {
  // R15
  const around = join(store.dir, 'around')
  const dir = join(around, 'store')
  const tasks = registryAt(dir)
  const names = ['../../x', 'a/b', '..', '.', '/etc/passwd', '🦀'.repeat(256), ' ', '\n', '%s\\', 'supervisor']
  for (const sessionId of names) {
    const id = await tasks.spawn('true', { sessionId, description: sessionId })
    expect(await tasks.wait(id, { sessionId })).toMatchObject({ sessionId, description: sessionId, exitCode: 0 })
    expect(await registryAt(dir).replay(sessionId)).toMatchObject({ finished: 1, unreadable: [] })
  }
  expect(readdirSync(around)).toEqual(['store'])
  const sessions = readdirSync(dir).filter((name) => !name.startsWith('supervisor-'))
  expect(sessions.filter((name) => !/^[0-9a-f]{32}$/.test(name))).toEqual([])
  expect(sessions).toHaveLength(names.length)
  for (const sessionId of ['', 'a\0b', '\0', '🦀'.repeat(257)]) {
    const error = await rejectionOf((async () => tasks.spawn('true', { sessionId }))())
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' })
  }
  expect(readdirSync(dir).filter((name) => !name.startsWith('supervisor-'))).toEqual(sessions)
})

test('links planted in a store lead nowhere', async () => {
  // R15
  const sessionId = 'planted'
  const dir = join(store.dir, 'planted')
  const first = registryAt(dir)
  const names = ['session', 'task', 'task.json', 'ended.json', 'stdout', 'control', 'leases', 'good']
  const ids = await Promise.all(names.map(() => first.spawn('echo original; exit 3', { sessionId, notify: false })))
  for (const id of ids) await first.wait(id)
  first.detach()
  await killProcessesOf(ids)
  const session = readdirSync(dir).find((name) => /^[0-9a-f]{32}$/.test(name))!
  const idOf = (name: string): string => ids[names.indexOf(name)]!
  const outside = join(store.dir, 'planted-outside')
  mkdirSync(outside, { mode: 0o700 })
  /** Moves a thing out of the store and leaves a link to it. */
  const plant = (...path: string[]): void => {
    const target = join(outside, path.join('+') || 'session')
    renameSync(join(dir, session, ...path), target)
    symlinkSync(target, join(dir, session, ...path))
  }
  plant(idOf('task'))
  for (const name of ['task.json', 'ended.json', 'stdout', 'control']) plant(idOf(name), name)
  writeFileSync(join(outside, 'leases'), 'mine')
  symlinkSync(join(outside, 'leases'), join(dir, session, idOf('leases'), 'leases'))
  const look = (): unknown =>
    everythingIn(outside).map((path) => {
      const { ino, mode, size, mtimeMs, nlink } = lstatSync(path)
      return { path, ino, mode, size, mtimeMs, nlink }
    })
  const before = look()

  const tasks = registryAt(dir)
  const { unreadable } = await tasks.replay(sessionId)
  const reported = unreadable.map((path) => names[ids.indexOf(basename(path))])
  expect(reported).toEqual(expect.arrayContaining(['task', 'task.json', 'ended.json']))
  expect(tasks.status(idOf('good'), { sessionId })).toMatchObject({ exitCode: 3, outputPreview: 'original\n' })
  for (const name of ['stdout', 'control']) {
    let seen: unknown
    try {
      seen = [tasks.status(idOf(name), { sessionId }), tasks.output(idOf(name), { sessionId })]
    } catch (error) {
      expect(error).toMatchObject({ code: 'STORAGE_FAILED' })
    }
    if (name === 'stdout') expect(JSON.stringify(seen ?? '')).not.toContain('original\\n')
  }
  for (const id of ids) await tasks.kill(id, { sessionId }).catch(() => {})
  tasks.drain({ sessionId })
  await tasks.cleanup({ olderThanMs: 0, undeliveredOlderThanMs: 0 })
  expect(look()).toEqual(before)
  tasks.detach()

  // The session's own directory.
  renameSync(join(dir, session), join(outside, 'session'))
  symlinkSync(join(outside, 'session'), join(dir, session))
  const whole = look()
  const late = registryAt(dir)
  const errors = [await rejectionOf(late.spawn('true', { sessionId })), await rejectionOf(late.replay(sessionId))]
  for (const error of errors) expect(error).toMatchObject({ code: 'STORAGE_FAILED' })
  expect(look()).toEqual(whole)
})

test('the environment is in no file of the store', async () => {
  // R16
  const dir = join(store.dir, 'secrets')
  const [ready, wait] = [readyFifo(store), gate(store)]
  const secrets = ['hunter2-of-the-host', 'hunter2-of-the-task']
  const node = await host(store, { env: { HOST_SECRET: secrets[0] } })
  const id = await node.call(
    ({ outlive, shared }, storageDir, command, TASK_SECRET) => {
      shared.tasks = new outlive.TaskRegistry({ storageDir })
      return shared.tasks.spawn(command, { env: { TASK_SECRET }, maxOutputBytes: 65_536 }) as Promise<string>
    },
    dir,
    obedient(ready, wait, 'test -n "$HOST_SECRET" && test -n "$TASK_SECRET" && head -c 300000 /dev/zero && exit 7'),
    secrets[1]!,
  )
  await ready.line()
  const holders = (): string[] =>
    everythingIn(dir).filter((path) => {
      if (!lstatSync(path).isFile()) return false
      const content = readFileSync(path)
      return secrets.some((secret) => content.includes(secret))
    })
  expect(holders()).toEqual([])
  wait.open()
  expect(await node.call(({ shared }, id) => shared.tasks.wait(id), id)).toMatchObject({ exitCode: 7 })
  expect(holders()).toEqual([])
  await node.kill()
})
