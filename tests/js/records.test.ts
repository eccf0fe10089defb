import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { copy, makeFifos, original, replay, rewrite, stateOf } from './support/records'
import { atTheEnd, temporaryStore } from './support/store'

const store = temporaryStore()
const everything = { olderThanMs: 0, undeliveredOlderThanMs: 0 }

test('records of a newer release stay byte for byte, and are reported', async () => {
  // R9
  const sessionId = 'newer'
  const good = await original(store, sessionId)
  const newer = (name: string) => (dir: string) => {
    rewrite(dir, name, (record) => ({ ...record, version: 2, news: ['of', 2] }))
  }
  const wholly = (dir: string): void => writeFileSync(join(dir, 'task.json'), '{"version":2}\n')
  const ids = [copy(good, newer('task.json')), copy(good, newer('ended.json')), copy(good, wholly)]
  makeFifos(dirname(good), ids)
  const states = () => ids.map((id) => stateOf(store.taskDir(id)!))
  const before = states()
  const { tasks, unreadable, of } = await replay(store, sessionId)
  expect([...unreadable].sort()).toEqual([...ids].sort())
  expect([...of.keys()]).toEqual([basename(good)])
  expect(tasks.drain({ sessionId })).toHaveLength(1)
  expect(ids.map((id) => tasks.status(id, { sessionId }))).toEqual([null, null, null])
  await tasks.cleanup(everything)
  const next = await tasks.spawn('true', { sessionId })
  await tasks.wait(next)
  expect([...(await replay(store, sessionId)).unreadable].sort()).toEqual([...ids].sort())
  expect(states()).toEqual(before)
})

test('what could not be read is not reported any more once it is gone', async () => {
  // R9
  const sessionId = 'taken away'
  const good = await original(store, sessionId)
  const newer = copy(good, (dir) => writeFileSync(join(dir, 'task.json'), '{"version":2}\n'))
  const { tasks, unreadable } = await replay(store, sessionId)
  expect([...unreadable]).toEqual([newer])
  rmSync(store.taskDir(newer)!, { recursive: true })
  expect(await tasks.replay(sessionId)).toMatchObject({ finished: 1, unreadable: [] })
})

const formats = join(__dirname, '..', 'formats')
const machine = ['/etc/machine-id', '/proc/sys/kernel/hostname']
  .map((path) => {
    try {
      return readFileSync(path, 'utf8').trim()
    } catch {
      return ''
    }
  })
  .find((id) => id !== '')

for (const version of readdirSync(formats)) {
  for (const name of readdirSync(join(formats, version))) {
    test(`format ${version} loads: ${name}`, async () => {
      // R9
      const from = join(formats, version, name)
      const expected = JSON.parse(readFileSync(join(from, 'expected.json'), 'utf8'))
      const record = JSON.parse(readFileSync(join(from, 'task.json'), 'utf8'))
      const { taskId, sessionId } = record
      const first = store.registry()
      const made = await first.spawn('true', { sessionId, notify: false })
      await first.wait(made)
      first.detach()
      const session = dirname(store.taskDir(made)!)
      const dir = join(session, taskId)
      mkdirSync(dir, { mode: 0o700 })
      const files = readdirSync(from).filter((file) => file !== 'expected.json')
      for (const file of files) copyFileSync(join(from, file), join(dir, file))
      rewrite(dir, 'task.json', () => ({ ...record, machine }))
      // Neither FIFOs nor hard links can be in git.
      makeFifos(session, [taskId])
      if (expected.completionDelivered) linkSync(join(dir, 'task.json'), join(dir, 'delivered'))
      const { tasks, unreadable } = await replay(store, sessionId)
      expect(unreadable.size).toBe(0)
      const merged = record.stderr === 'merge'
      expect(tasks.status(taskId)).toEqual({
        // A lost task's end is the last sign of life, and that of a copy is its making.
        finishedAt: expect.any(Number),
        durationMs: expect.any(Number),
        ...expected,
        taskId,
        sessionId,
        pid: null,
        stdoutPath: join(dir, merged ? 'output' : 'stdout'),
        stderrPath: merged ? null : join(dir, 'stderr'),
        lastOutputAt: expected.outputPreview === '' ? null : expect.any(Number),
      })
      expect(tasks.drain({ sessionId })).toMatchObject(expected.completionDelivered ? [] : [{ taskId, attempt: 1 }])
      expect(tasks.drain({ sessionId })).toEqual([])
    })
  }
}

test('a record that is cut off at any byte is lost or reported, and the others load', async () => {
  // R10
  const sessionId = 'torn'
  const good = await original(store, sessionId)
  const size = (name: string): number => readFileSync(join(good, name)).length
  const cut = (name: string, at: number): string => copy(good, (dir) => truncateSync(join(dir, name), at))
  const ended = Array.from({ length: size('ended.json') }, (_, at) => cut('ended.json', at))
  const task = Array.from({ length: size('task.json') }, (_, at) => cut('task.json', at))
  makeFifos(dirname(good), [...ended, ...task])
  const { unreadable, of } = await replay(store, sessionId)
  expect(of.get(basename(good))).toMatchObject({ status: 'failed', exitCode: 3 })
  expect(task.filter((id) => !unreadable.has(id) || of.has(id))).toEqual([])
  for (const id of ended) {
    expect(of.get(id)).toMatchObject({ status: 'lost', cause: 'supervisor_lost', exitCode: null, signal: null })
  }
  expect(unreadable.size).toBe(task.length)
})

test('a task whose start is recorded in part may have run: it is lost, and never one that did not start', async () => {
  // R10
  const sessionId = 'half started'
  const good = await original(store, sessionId)
  const content = readFileSync(join(good, 'started.json'))
  const begun = (started: Buffer, boot?: string): string =>
    copy(good, (dir) => {
      writeFileSync(join(dir, 'started.json'), started)
      truncateSync(join(dir, 'ended.json'), 0)
      rewrite(dir, 'task.json', (task) => ({ ...task, bootId: boot ?? task.bootId }))
    })
  const torn = Array.from(content, (_, at) => begun(content.subarray(0, at)))
  torn.push(begun(Buffer.alloc(content.length)))
  const earlier = [begun(Buffer.alloc(0), 'an earlier one'), begun(content, 'an earlier one')]
  makeFifos(dirname(good), [...torn, ...earlier])
  const { unreadable, of } = await replay(store, sessionId)
  expect(unreadable.size).toBe(0)
  for (const id of torn) expect(of.get(id)).toMatchObject({ status: 'lost', cause: 'supervisor_lost', exitCode: null })
  for (const id of earlier) expect(of.get(id)).toMatchObject({ status: 'lost', cause: 'reboot', exitCode: null })
})

test('a record with a flipped bit never invents another code, and the others load', async () => {
  // R10
  const sessionId = 'flipped'
  const good = await original(store, sessionId)
  const flip = (name: string, at: number): string =>
    copy(good, (dir) => {
      const path = join(dir, name)
      const content = readFileSync(path)
      content[at % content.length]! ^= 1 << (at % 8)
      writeFileSync(path, content)
    })
  const ids: string[] = []
  for (const name of ['ended.json', 'task.json', 'started.json']) {
    const { length } = readFileSync(join(good, name))
    for (let at = 0; at < length; at++) ids.push(flip(name, at))
  }
  makeFifos(dirname(good), ids)
  const { unreadable, of } = await replay(store, sessionId)
  expect(of.get(basename(good))).toMatchObject({ status: 'failed', exitCode: 3 })
  for (const id of ids) {
    const found = of.get(id)
    expect(unreadable.has(id)).toBe(!found)
    // A flipped newline makes a torn record, and nothing else may take the code away.
    if (found)
      expect(found).toMatchObject(found.status === 'lost' ? { exitCode: null } : { status: 'failed', exitCode: 3 })
  }
})

test('whatever stands in a record’s place, a replay ends, reports it and loads the rest', async () => {
  // R10
  const sessionId = 'replaced'
  const good = await original(store, sessionId)
  const outside = join(store.dir, 'outside')
  mkdirSync(outside)
  const servers: Promise<void>[] = []
  const spoils: Record<string, (path: string) => void> = {
    zeros: (path) => writeFileSync(path, Buffer.alloc(400)),
    reserve: (path) => writeFileSync(path, Buffer.alloc(4096)),
    'zeros and a newline': (path) => writeFileSync(path, Buffer.concat([Buffer.alloc(399), Buffer.from('\n')])),
    'an empty line': (path) => writeFileSync(path, '\n'),
    null: (path) => writeFileSync(path, 'null\n'),
    'another kind of record': (path) => writeFileSync(path, '{"version":1}\n'),
    '1 GB of nothing': (path) => truncateSync(path, 2 ** 30),
    '5 MB of blanks': (path) => writeFileSync(path, `${' '.repeat(5 << 20)}${readFileSync(path, 'utf8')}`),
    'a hundred thousand brackets': (path) => writeFileSync(path, `${'['.repeat(100_000)}\n`),
    directory: (path) => {
      execFileSync('rm', [path])
      mkdirSync(path)
    },
    'a link to the real one': (path) => {
      const target = join(outside, `${basename(dirname(path))}-${basename(path)}`)
      execFileSync('mv', [path, target])
      symlinkSync(target, path)
    },
    'a link to itself': (path) => {
      execFileSync('rm', [path])
      symlinkSync(path, path)
    },
    FIFO: (path) => {
      execFileSync('rm', [path])
      execFileSync('mkfifo', [path])
    },
    socket: (path) => {
      execFileSync('rm', [path])
      const server = createServer()
      servers.push(new Promise((resolve) => server.listen(path, resolve)))
      atTheEnd(() => server.close())
    },
  }
  const ids = new Map<string, string>()
  for (const name of ['task.json', 'ended.json', 'started.json']) {
    for (const [what, spoil] of Object.entries(spoils)) {
      const spoilt = copy(good, (dir) => {
        // While there is an end, nobody asks for the start.
        if (name === 'started.json') truncateSync(join(dir, 'ended.json'), 0)
        spoil(join(dir, name))
      })
      ids.set(spoilt, `${name}: ${what}`)
    }
  }
  await Promise.all(servers)
  makeFifos(dirname(good), [...ids.keys()])
  const { tasks, unreadable, of } = await replay(store, sessionId)
  expect(of.get(basename(good))).toMatchObject({ status: 'failed', exitCode: 3 })
  const fates = { reported: [] as string[], lost: [] as string[] }
  for (const [id, what] of ids) {
    if (unreadable.has(id)) fates.reported.push(what)
    else {
      expect(of.get(id)).toMatchObject({ status: 'lost', exitCode: null, signal: null })
      fates.lost.push(what)
    }
  }
  // A record of zeros is one that was never written.
  expect(fates.lost).toEqual(['ended.json', 'started.json'].flatMap((name) => [`${name}: zeros`, `${name}: reserve`]))
  await tasks.cleanup(everything)
  for (const [id, what] of ids) if (unreadable.has(id)) expect([what, store.taskDir(id)]).not.toContain(undefined)
  expect(readdirSync(outside)).toHaveLength(3)
})
