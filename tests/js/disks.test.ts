import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { disk, mount, testOn } from './support/disk'
import { gate, killProcessesOf, obedient, patient, processesOf, readyFifo, statOf, stop } from './support/guests'
import { host } from './support/host'
import { atTheEnd, eventually, everythingIn, registryAt, rejectionOf, temporaryStore } from './support/store'

const store = temporaryStore()

const withDisk = testOn(store, ['tmpfs', 'ext4'], 'full and read-only disks')
const onExt4 = testOn(store, ['ext4'], 'disks without inodes')

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

/** Leaves not one inode free, or so many. */
function fillInodes(dir: string, free = 0): () => void {
  const filler = join(dir, 'inodes')
  mkdirSync(filler)
  let made = 0
  try {
    for (; ; made++) writeFileSync(join(filler, `${made}`), '')
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' })
  }
  for (; free > 0; free--) unlinkSync(join(filler, `${--made}`))
  return () => rmSync(filler, { recursive: true })
}

withDisk('a full %s at a start is a clear rejection that leaves nothing behind', async (kind) => {
  // R17
  const fillers = { bytes: fillBytes, inodes: (dir: string) => fillInodes(dir) }
  for (const [name, fill] of Object.entries(fillers)) {
    const dir = disk(store, `full-${name}-${kind}`, kind)
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

withDisk('a read-only %s is refused with path and cause, and what was recorded on it can be read', async (kind) => {
  // R17
  const dir = disk(store, `read-only-from-the-start-${kind}`, kind)
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
  expect(await tasks.cleanup()).toBe(0)
  const stays = await rejectionOf(tasks.cleanup({ olderThanMs: 0, undeliveredOlderThanMs: 0 }))
  expect(stays).toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining(id) })
  expect(stays.cause).toMatchObject({ code: 'EROFS' })
  expect(everythingIn(dir)).toEqual(before)
})

withDisk('on a full %s, how a task ended is recorded whole', async (kind) => {
  // R17
  const dir = disk(store, `full-at-the-end-${kind}`, kind)
  const [ready, wait] = [readyFifo(store), gate(store)]
  const first = registryAt(dir)
  const ids = []
  for (const end of ['exit 5', 'kill -SEGV $$', 'echo lost; exit 0']) {
    ids.push(await first.spawn(obedient(ready, wait, end), { notify: false }))
    await ready.line()
  }
  // The file that takes the bytes takes the last inode.
  const frees = [fillInodes(dir, 1), fillBytes(dir)]
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

onExt4('on an %s without reservations, how a task ended is told when the disk is full no more', async (kind) => {
  // R17
  const dir = disk(store, `unreserved-${kind}`, kind, { megabytes: 8, inodes: 200, features: '^extent,^64bit' })
  const [ready, wait] = [readyFifo(store), gate(store)]
  const tasks = registryAt(dir)
  const ids = []
  for (const end of ['exit 5', 'sleep 1000 & exit 6']) {
    ids.push(await tasks.spawn(obedient(ready, wait, end)))
    await ready.line()
  }
  const free = fillBytes(dir)
  wait.open(2)
  for (const id of ids) {
    const { pid } = tasks.status(id)!
    await eventually(() => statOf(pid!) === undefined, 'its supervisor has seen its end')
    expect(tasks.status(id)).toMatchObject({ status: 'running' })
  }
  free()
  expect(await tasks.wait(ids[0]!)).toMatchObject({ status: 'failed', exitCode: 5 })
  expect(await tasks.wait(ids[1]!)).toMatchObject({ status: 'failed', exitCode: 6 })
  expect(await tasks.kill(ids[1]!)).toMatchObject({ status: 'failed', exitCode: 6 })
  tasks.detach()
})

withDisk('output over its limit that has filled a %s gives its middle back', async (kind) => {
  // O1
  for (const inodes of ['free', 'taken']) {
    const dir = disk(store, `full-of-output-${inodes}-${kind}`, kind)
    const [ready, wait] = [readyFifo(store), gate(store)]
    const tasks = registryAt(dir)
    const flood = `yes 2> /dev/null; ${patient(ready)}`
    const id = await tasks.spawn(obedient(ready, wait, flood), { maxOutputBytes: 65_536 })
    await ready.line()
    const path = tasks.status(id)!.stdoutPath
    const { supervisorPid } = JSON.parse(readFileSync(join(dirname(path), 'started.json'), 'utf8'))
    // Slower than its command, as on a machine that has other things to do.
    await stop(supervisorPid)
    const free = inodes === 'taken' ? fillInodes(dir) : () => {}
    wait.open()
    await ready.line('the disk is full', 30_000)
    process.kill(supervisorPid, 'SIGCONT')

    if (inodes === 'taken' && kind === 'tmpfs') {
      // Without a record nothing may go, and here a second name takes an inode as well; until there is room it is tried now and then,
      // and not all the time.
      const wakes = () => {
        const status = readFileSync(`/proc/${supervisorPid}/status`, 'utf8')
        return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)![1])
      }
      const from = [wakes(), performance.now()] as const
      await new Promise((resolve) => setTimeout(resolve, 500))
      expect((wakes() - from[0]) / (performance.now() - from[1])).toBeLessThan(0.1)
      expect(tasks.status(id)).toMatchObject({ droppedBytes: 0 })
      free()
    }
    await eventually(() => tasks.status(id)!.droppedBytes > 0, 'the middle is dropped')
    await eventually(() => statSync(path).blocks * 512 < 131_072, 'the disk has it back')
    const { text } = tasks.output(id, { maxBytes: 131_072 })
    expect(text).toBe('y\n'.repeat(text.length / 2))
    expect(await tasks.kill(id)).toMatchObject({ status: 'killed' })
    const { version } = JSON.parse(readFileSync(join(dirname(path), 'dropped.json'), 'utf8'))
    expect(version).toBe(1)
    tasks.detach()
  }
})

onExt4('an %s without a free inode keeps the output limit, and output shows what is left', async (kind) => {
  // O1 R17
  const [limit, size] = [1 << 20, { megabytes: 64, inodes: 200 }]
  const dir = disk(store, `no-inode-limit-${kind}`, kind, size)
  const tasks = registryAt(dir)
  const wait = gate(store)
  const command = `read _ < ${wait.path}; yes 0123456 | head -c 33554432; echo the end`
  const id = await tasks.spawn(command, { maxOutputBytes: limit })
  fillInodes(dir)
  wait.open()
  const ended = await tasks.wait(id)
  expect(ended).toMatchObject({ status: 'completed', outputPreview: expect.stringMatching(/0123456\nthe end\n$/) })
  expect(ended.stdoutBytes).toBe((32 << 20) + 8)
  expect(ended.stdoutBytes - ended.droppedBytes).toBeLessThan(2 * limit)
  expect(statSync(ended.stdoutPath).blocks * 512).toBeLessThan(2 * limit)
  let text = ''
  for (let from = 0; from < ended.stdoutBytes; ) {
    const page = tasks.output(id, { from })
    text += page.text
    from = page.nextOffset
  }
  expect(text).toMatch(/^(0123456\n)+the end\n$/)
  expect(text.length).toBe(ended.stdoutBytes - ended.droppedBytes)
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
  expect(await tasks.wait(id)).toMatchObject({
    status: 'lost',
    cause: 'supervisor_lost',
    exitCode: null,
    error: 'its record cannot be read (not a plain file); how the command ended is unknown',
  })
})

test('a record that is out of reach when its task ends is read as soon as it can be, and nobody is told of a lost task', async () => {
  // R18
  const tasks = registryAt(join(store.dir, 'out of reach'))
  const told: unknown[] = []
  tasks.onCompletion(({ status, exitCode }) => void told.push({ status, exitCode }))
  const [ready, wait] = [readyFifo(store), gate(store)]
  const id = await tasks.spawn(obedient(ready, wait, 'exit 7'))
  await ready.line()
  const record = join(dirname(tasks.status(id)!.stdoutPath), 'ended.json')
  // ELOOP, as ESTALE or EIO from a mount that is gone for a while.
  renameSync(record, `${record}.there`)
  symlinkSync(record, record)
  wait.open()
  await eventually(() => processesOf(id).length === 0, 'it has ended')
  // Without a supervisor a kill looks at the record, and the replay is behind it.
  const killed = tasks.kill(id)
  expect(await tasks.replay()).toMatchObject({ running: 1, lost: 0 })
  renameSync(`${record}.there`, record)
  const end = { status: 'failed', exitCode: 7 }
  expect(await killed).toMatchObject(end)
  await eventually(() => told.length > 0, 'it is told')
  expect(told).toEqual([end])
})

test('a task that is out of reach when its session is attached is told once it can be read', async () => {
  // R18 D15
  const dir = join(store.dir, 'attached out of reach')
  const [ready, wait] = [readyFifo(store), gate(store)]
  const other = registryAt(dir)
  const id = await other.spawn(obedient(ready, wait, 'exit 7'))
  await ready.line()
  const record = join(dirname(other.status(id)!.stdoutPath), 'task.json')
  renameSync(record, `${record}.there`)
  symlinkSync(record, record)
  const tasks = registryAt(dir)
  const told: unknown[] = []
  tasks.onCompletion(({ taskId, exitCode }) => void told.push({ taskId, exitCode }))
  expect(await tasks.replay()).toMatchObject({ running: 0, unreadable: [dirname(record)] })
  renameSync(`${record}.there`, record)
  wait.open()
  // Nobody calls.
  await eventually(() => told.length > 0, 'it is told')
  expect(told).toEqual([{ taskId: id, exitCode: 7 }])
})

test('how a task ended is left to the later release that recorded it', async () => {
  // R9
  const dir = join(store.dir, 'later')
  const tasks = registryAt(dir)
  const told: string[] = []
  tasks.onCompletion(({ taskId }) => void told.push(taskId))
  const [ready, wait] = [readyFifo(store), gate(store)]
  const id = await tasks.spawn(obedient(ready, wait))
  await ready.line()
  const task = dirname(tasks.status(id)!.stdoutPath)
  unlinkSync(join(task, 'ended.json'))
  writeFileSync(join(task, 'ended.json'), '{"version":2}\n', { mode: 0o600 })
  const waited = rejectionOf(tasks.wait(id))
  wait.open()
  expect(await waited).toMatchObject({ code: 'TASK_NOT_FOUND' })
  for (const registry of [tasks, registryAt(dir)]) {
    expect(await registry.replay()).toMatchObject({ running: 0, lost: 0, pending: 0, unreadable: [task] })
    expect(registry.status(id)).toBeNull()
  }
  expect(told).toEqual([])
  expect(existsSync(join(task, 'delivered'))).toBe(false)
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
  // That they ran is known, and no more.
  const error = 'its files were removed; how the command ended is unknown'
  for (const end of ends) {
    expect(end).toMatchObject({ status: 'lost', cause: 'supervisor_lost', exitCode: null, signal: null, error })
  }
  await node.kill()
})

test('a host whose store was removed makes it anew for the next task, and tells its end', async () => {
  // R18
  const dir = join(store.dir, 'tidied', 'up')
  const node = await host(store)
  await node.call(async ({ outlive, shared, say }, storageDir) => {
    shared.tasks = new outlive.TaskRegistry({ storageDir })
    shared.tasks.onCompletion(say)
    await shared.tasks.spawn('exit 3')
  }, dir)
  expect(await node.heard()).toMatchObject({ exitCode: 3 })
  await node.call(() => {}) // by then it has written down that it has told
  rmSync(dirname(dir), { recursive: true })
  for (const sessionId of ['default', 'another']) {
    const taskId = await node.call(({ shared }, sessionId) => shared.tasks.spawn('exit 4', { sessionId }), sessionId)
    expect(await node.heard()).toMatchObject({ taskId, exitCode: 4 })
  }
  expect(lstatSync(dir).mode & 0o7777).toBe(0o700)
  await node.kill()
})

withDisk(
  'a store on %s that becomes read-only under running tasks: no crash, and what cannot be recorded is lost',
  async (kind) => {
    // R18
    const dir = join(disk(store, `read-only-${kind}`, kind), 'store')
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
