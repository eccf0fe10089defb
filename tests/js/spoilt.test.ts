import { execFileSync } from 'node:child_process'
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { copy, makeFifos, original, replay, rewrite } from './support/records'
import { temporaryStore } from './support/store'

const store = temporaryStore()

/** What a record says, its checksum left out. */
function fieldsOf(dir: string, name: string): string[] {
  return Object.keys(JSON.parse(readFileSync(join(dir, name), 'utf8'))).filter((field) => field !== 'check')
}

test('a record that lacks one of its fields is reported, and one with fields that we do not know is read', async () => {
  // R10
  const sessionId = 'fields'
  const good = await original(store, sessionId)
  const without = ['task.json', 'ended.json'].flatMap((name) => {
    return fieldsOf(good, name).map((field) =>
      copy(good, (dir) => rewrite(dir, name, ({ [field]: _, ...rest }) => rest)),
    )
  })
  const more = copy(good, (dir) => {
    for (const name of ['task.json', 'ended.json']) rewrite(dir, name, (record) => ({ ...record, later: { x: [1] } }))
  })
  makeFifos(dirname(good), [...without, more])
  const { unreadable, of } = await replay(store, sessionId)
  expect(without.length).toBeGreaterThan(20)
  expect([...unreadable].sort()).toEqual([...without].sort())
  expect(of.get(more)).toMatchObject({ status: 'failed', exitCode: 3 })
})

test('a record of a start or of the last process that lacks one of its fields is reported', async () => {
  // R10
  const sessionId = 'supervisor'
  const good = await original(store, sessionId)
  const started = fieldsOf(good, 'started.json').map((field) =>
    copy(good, (dir) => {
      // While there is an end, nobody asks for the start.
      truncateSync(join(dir, 'ended.json'), 0)
      rewrite(dir, 'started.json', ({ [field]: _, ...rest }) => rest)
    }),
  )
  const closed = ['{"version":1}', '{"closedAt":1}', '{"version":1,"closedAt":1,"later":1}'].map((record) =>
    copy(good, (dir) => {
      rewrite(dir, 'ended.json', (ended) => ({ ...ended, descendants: 1 }))
      writeFileSync(join(dir, 'closed.json'), `${record}\n`)
    }),
  )
  const whole = closed.pop()!
  makeFifos(dirname(good), [...started, ...closed, whole])
  const { unreadable, of } = await replay(store, sessionId)
  expect([...unreadable].sort()).toEqual([...started, ...closed].sort())
  expect(of.get(whole)).toMatchObject({ status: 'failed', exitCode: 3 })
})

test('an ending that no supervisor writes is reported, not told', async () => {
  // R10
  const sessionId = 'contradictions'
  const good = await original(store, sessionId)
  const changes = [
    { exitCode: null },
    { cause: 'signal' },
    { cause: 'reboot' },
    { cause: 'supervisor_lost' },
    { cause: '' },
  ]
  const ids = changes.map((change) =>
    copy(good, (dir) => rewrite(dir, 'ended.json', (ended) => ({ ...ended, ...change }))),
  )
  makeFifos(dirname(good), ids)
  const { unreadable, of } = await replay(store, sessionId)
  expect([...unreadable].sort()).toEqual([...ids].sort())
  expect([...of.keys()]).toEqual([basename(good)])
})

test('a task of an earlier boot without a recorded start may have run: a power cut takes what was not on the disk', async () => {
  // R10
  const sessionId = 'power cut'
  const good = await original(store, sessionId)
  const begun = (bootId?: string): string =>
    copy(good, (dir) => {
      unlinkSync(join(dir, 'started.json'))
      truncateSync(join(dir, 'ended.json'), 0)
      if (bootId !== undefined) rewrite(dir, 'task.json', (task) => ({ ...task, bootId }))
    })
  const [earlier, never] = [begun('an earlier one'), begun()]
  makeFifos(dirname(good), [earlier, never])
  const { of } = await replay(store, sessionId)
  expect(of.get(earlier)).toMatchObject({ status: 'lost', cause: 'reboot', exitCode: null })
  expect(of.get(never)).toMatchObject({ status: 'failed', cause: 'spawn_error', exitCode: null })
})

test('whatever stands in the place of leases, the end is told, and as often as was counted', async () => {
  // R10
  const sessionId = 'leases'
  const good = await original(store, sessionId)
  const outside = join(store.dir, 'outside')
  writeFileSync(outside, 'x'.repeat(100))
  const plants: [(path: string) => unknown, number][] = [
    [(path) => writeFileSync(path, '..'), 3],
    [(path) => mkdirSync(path), 1],
    [(path) => execFileSync('mkfifo', [path]), 1],
    [(path) => symlinkSync(outside, path), 1],
    [(path) => symlinkSync(path, path), 1],
    // Counted, but not written to: the other name is outside of the store.
    [(path) => linkSync(outside, path), 101],
    [(path) => [writeFileSync(path, ''), truncateSync(path, 2 ** 40 - 1)], 1_000_001],
  ]
  const attempts = new Map(plants.map(([plant, attempt]) => [copy(good, (dir) => plant(join(dir, 'leases'))), attempt]))
  makeFifos(dirname(good), [...attempts.keys()])
  const { tasks } = await replay(store, sessionId)
  const told = new Map<string, number>()
  await new Promise<void>((resolve) => {
    const subscription = tasks.onCompletion(
      ({ taskId, attempt }) => {
        told.set(taskId, attempt)
        if (told.size === attempts.size + 1) resolve()
      },
      { sessionId },
    )
    subscription.ref()
  })
  expect(told).toEqual(new Map([...attempts, [basename(good), 1]]))
  expect(readFileSync(outside, 'utf8')).toBe('x'.repeat(100))
})

test.each([
  ['beyond the end of the file', [5, 1_000_000]],
  ['from beyond the end of the file', [1_000_000, 2_000_000]],
  ['that ends before it begins', [6, 2]],
  ['as large as numbers are', [0, 2 ** 53 - 1]],
])('a range of dropped bytes %s takes nothing that is there', async (_, stdout) => {
  // O5
  const sessionId = `dropped ${stdout}`
  const good = await original(store, sessionId)
  const id = copy(good, (dir) => {
    writeFileSync(join(dir, 'dropped.json'), `${JSON.stringify({ version: 1, stdout, stderr: [0, 0] })}\n`)
  })
  makeFifos(dirname(good), [id])
  const { tasks } = await replay(store, sessionId)
  expect(tasks.status(id, { sessionId })).toMatchObject({ stdoutBytes: 9, droppedBytes: 0 })
  const page = tasks.output(id, { sessionId })
  expect(page).toEqual({ text: 'original\n', from: 0, nextOffset: 9, droppedBytes: 0, totalBytes: 9, eof: true })
})

test('zeros in the place of dropped bytes are not shown as output, whatever became of the record of them', async () => {
  // O5
  const sessionId = 'holes'
  const good = await original(store, sessionId)
  const [begin, end, size] = [4096, 1 << 20, (1 << 20) + 5]
  const spoils: Record<string, (path: string) => void> = {
    empty: (path) => writeFileSync(path, ''),
    torn: (path) => writeFileSync(path, '{"version":1,"stdout":[ 4096,'),
    newer: (path) => writeFileSync(path, '{"version":2,"holes":[]}\n'),
    'another record': (path) => writeFileSync(path, '{"version":1}\n'),
    reversed: (path) => writeFileSync(path, '{"version":1,"stdout":[8192,4096],"stderr":[0,0]}\n'),
    directory: (path) => mkdirSync(path),
    FIFO: (path) => execFileSync('mkfifo', [path]),
  }
  const ids = Object.entries(spoils).map(([what, spoil]) => {
    const id = copy(good, (dir) => {
      const output = openSync(join(dir, 'stdout'), 'r+')
      writeSync(output, 'a'.repeat(begin), 0)
      writeSync(output, 'tail\n', end)
      closeSync(output)
      spoil(join(dir, 'dropped.json'))
    })
    return [what, id] as const
  })
  makeFifos(
    dirname(good),
    ids.map(([, id]) => id),
  )
  const { tasks } = await replay(store, sessionId)
  const found = ids.map(([what, id]) => {
    const { outputPreview, stdoutBytes, droppedBytes } = tasks.status(id, { sessionId })!
    const { text, nextOffset, droppedBytes: passed } = tasks.output(id, { sessionId, maxBytes: begin })
    return { what, outputPreview, stdoutBytes, droppedBytes, text, nextOffset, passed }
  })
  const shown = { outputPreview: 'tail\n', stdoutBytes: size, droppedBytes: end - begin }
  const page = { text: 'a'.repeat(begin), nextOffset: end, passed: end - begin }
  expect(found).toEqual(ids.map(([what]) => ({ what, ...shown, ...page })))
})
