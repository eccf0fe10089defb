import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, unlinkSync, writeFileSync, writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { gate, killProcessesOf, obedient, patient, readyFifo } from './support/guests'
import { host } from './support/host'
import { atTheEnd, everythingIn, registryAt, rejectionOf, temporaryStore } from './support/store'

const store = temporaryStore()

/** Root in a container may not be allowed to mount. */
function canMount(): boolean {
  const probe = join(store.dir, 'probe')
  mkdirSync(probe)
  if (spawnSync('mount', ['-t', 'tmpfs', 'outlive-test', probe]).status !== 0) return false
  return spawnSync('umount', [probe]).status === 0
}

const mounts = canMount()
if (!mounts) console.warn('SKIPPED: tests of full and of read-only disks, which take the right to mount')
const withDisk = mounts ? test : test.skip

/** A small file system of its own, gone at the end with every process of its tasks. */
function disk(name: string, options: string): string {
  const dir = join(store.dir, name)
  mkdirSync(dir, { mode: 0o700 })
  mount('-t', 'tmpfs', '-o', `mode=700,${options}`, 'outlive-test', dir)
  return dir
}

function mount(...args: string[]): void {
  execFileSync('mount', args)
  const dir = args.at(-1)!
  atTheEnd(async () => {
    const ids = everythingIn(dir).map((path) => basename(path))
    await killProcessesOf(ids.filter((id) => id.startsWith('bash-')))
    execFileSync('umount', ['-l', dir])
  })
}

/** Leaves not one byte free; returns how to free them. */
function fillBytes(dir: string): () => void {
  const path = join(dir, 'bytes')
  const fd = openSync(path, 'w')
  for (let size = 65_536; size >= 1; size = size >> 4) {
    try {
      for (;;) writeSync(fd, Buffer.alloc(size, 'x'))
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' })
    }
  }
  closeSync(fd)
  return () => unlinkSync(path)
}

/** Leaves not one inode free. */
function fillInodes(dir: string): () => void {
  const filler = join(dir, 'inodes')
  mkdirSync(filler)
  let made = 0
  try {
    for (; ; made++) writeFileSync(join(filler, `${made}`), '')
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' })
  }
  return () => rmSync(filler, { recursive: true })
}

withDisk('a full disk at a start is a clear rejection that leaves nothing behind', async () => {
  // R17
  const fillers = { bytes: fillBytes, inodes: fillInodes }
  for (const [name, fill] of Object.entries(fillers)) {
    const dir = disk(`full-${name}`, 'size=4m,nr_inodes=200')
    const tasks = registryAt(dir)
    await tasks.wait(await tasks.spawn('true'))
    const empty = fill(dir)
    const before = everythingIn(dir)
    const error = await rejectionOf(tasks.spawn(`: ${'x'.repeat(100_000)}`))
    expect(error).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(dir) })
    expect(error.cause).toMatchObject({ code: 'ENOSPC' })
    const other = await rejectionOf(tasks.spawn('true', { sessionId: 'new' }))
    expect(other).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(dir) })
    expect(everythingIn(dir).filter((path) => !before.includes(path) && path.includes('bash-'))).toEqual([])
    expect(tasks.list()).toHaveLength(1)
    empty()
    for (const sessionId of ['default', 'new']) {
      const id = await tasks.spawn('exit 4', { sessionId })
      expect(await tasks.wait(id, { sessionId })).toMatchObject({ exitCode: 4 })
    }
    expect(tasks.list()).toHaveLength(3)
    tasks.detach()
  }
})

withDisk('a read-only disk is refused with path and cause, and what was recorded on it can be read', async () => {
  // R17
  const dir = disk('read-only-from-the-start', 'size=4m')
  const [used, fresh, absent] = [join(dir, 'used'), join(dir, 'fresh'), join(dir, 'absent')]
  mkdirSync(fresh, { mode: 0o700 })
  const first = registryAt(used)
  const id = await first.spawn('echo recorded; exit 3')
  await first.wait(id)
  first.detach()
  await killProcessesOf([id])
  execFileSync('mount', ['-o', 'remount,ro', dir])
  const before = everythingIn(dir)
  for (const path of [used, fresh, absent]) {
    const error = await rejectionOf((async () => registryAt(path).spawn('true'))())
    expect(error).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(path) })
    expect(error.cause).toMatchObject({ code: 'EROFS' })
  }
  const tasks = registryAt(used)
  expect(await tasks.replay('default')).toMatchObject({ finished: 1, pending: 1, unreadable: [] })
  expect(tasks.status(id)).toMatchObject({ status: 'failed', exitCode: 3, outputPreview: 'recorded\n' })
  expect(() => tasks.drain()).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
  expect(tasks.pending()).toMatchObject([{ taskId: id }])
  expect(everythingIn(dir)).toEqual(before)
})

withDisk('on a disk that is full at the end, how a task ended is recorded whole', async () => {
  // R17
  const dir = disk('full-at-the-end', 'size=4m,nr_inodes=200')
  const [ready, wait] = [readyFifo(store), gate(store)]
  const first = registryAt(dir)
  const ids = []
  for (const end of ['exit 5', 'kill -SEGV $$', 'echo lost; exit 0']) {
    ids.push(await first.spawn(obedient(ready, wait, end), { notify: false }))
    await ready.line()
  }
  const frees = [fillBytes(dir), fillInodes(dir)]
  wait.open(3)
  const ends = [{ status: 'failed', exitCode: 5 }, { status: 'failed', signal: 'SIGSEGV' }, { cause: 'exit' }]
  for (const [at, id] of ids.entries()) expect(await first.wait(id)).toMatchObject(ends[at]!)
  first.detach()
  const tasks = registryAt(dir)
  expect(await tasks.replay('default')).toMatchObject({ finished: 3, lost: 0, unreadable: [] })
  for (const [at, id] of ids.entries()) {
    expect(tasks.status(id)).toMatchObject(ends[at]!)
    const record = readFileSync(join(dirname(tasks.status(id)!.stdoutPath), 'ended.json'), 'utf8')
    expect(record.endsWith('\n')).toBe(true)
    expect(JSON.parse(record)).toMatchObject({ version: 1 })
  }
  for (const free of frees.reverse()) free()
})

test('a record that is spoilt under a running task: the task is lost, and nobody waits for ever', async () => {
  // R18
  const tasks = registryAt(join(store.dir, 'spoilt'))
  const [ready, wait] = [readyFifo(store), gate(store)]
  const id = await tasks.spawn(obedient(ready, wait, 'exit 5'))
  await ready.line()
  const record = join(dirname(tasks.status(id)!.stdoutPath), 'ended.json')
  unlinkSync(record)
  mkdirSync(record)
  wait.open()
  expect(await tasks.wait(id)).toMatchObject({ status: 'lost', cause: 'supervisor_lost', exitCode: null })
})

/** A host with two tasks that run: the first exits with 5 when `wait` lets it, the second stays. */
async function hostOfTwo(dir: string) {
  const [ready, wait] = [readyFifo(store), gate(store)]
  const node = await host(store)
  const ids = await node.call(
    async ({ outlive, shared }, storageDir, commands) => {
      shared.tasks = new outlive.TaskRegistry({ storageDir })
      const ids: string[] = []
      for (const command of commands) ids.push(await shared.tasks.spawn(command))
      return ids
    },
    dir,
    [obedient(ready, wait, 'exit 5'), patient(ready)],
  )
  for (const _ of ids) await ready.line()
  return { node, ids, wait }
}

test('a store that is removed under running tasks: no crash, and each of them has an end', async () => {
  // R18
  const dir = join(store.dir, 'removed')
  const { node, ids, wait } = await hostOfTwo(dir)
  atTheEnd(() => killProcessesOf(ids))
  rmSync(dir, { recursive: true })
  wait.open()
  const ends = await node.call(async ({ shared }, ids) => {
    const ended = await shared.tasks.wait(ids[0])
    return [ended, await shared.tasks.kill(ids[1], { graceMs: 0 })]
  }, ids)
  // No record can be read; and that they ran is known.
  for (const end of ends) {
    expect(end).toMatchObject({ status: 'lost', cause: 'supervisor_lost', exitCode: null, signal: null })
  }
  await node.kill()
})

withDisk(
  'a store that becomes read-only under running tasks: no crash, and what cannot be recorded is lost',
  async () => {
    // R18
    const dir = join(store.dir, 'read-only')
    const { node, ids, wait } = await hostOfTwo(dir)
    // The system refuses to remount what is open for writing; a read-only view over it is as read-only for who opens it anew.
    mount('--bind', dir, dir)
    execFileSync('mount', ['-o', 'remount,ro,bind', dir])
    expect(() => writeFileSync(join(dir, 'x'), '')).toThrow(expect.objectContaining({ code: 'EROFS' }))
    wait.open()
    expect(await node.call(({ shared }, id) => shared.tasks.wait(id), ids[0]!)).toMatchObject({
      status: 'failed',
      exitCode: 5,
    })
    const refused = await node.call(({ shared }) =>
      shared.tasks.spawn('true').catch(({ code, cause }: NodeJS.ErrnoException) => [code, String(cause)]),
    )
    expect(refused).toEqual(['STORAGE_FAILED', expect.stringMatching(/EROFS|Read-only/)])
    expect(await node.call(({ shared }, id) => shared.tasks.status(id)?.status, ids[1]!)).toBe('running')
    const ended = await node.call(
      ({ shared }, id) => shared.tasks.kill(id, { graceMs: 0 }).catch((error: Error) => error.message),
      ids[1]!,
    )
    expect(ended).toMatchObject({ status: expect.stringMatching(/^(killed|lost)$/) })
    await node.kill()
  },
)
