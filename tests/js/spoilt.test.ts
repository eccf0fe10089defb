import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { copy, makeFifos, original, replay } from './support/records'
import { temporaryStore } from './support/store'

const store = temporaryStore()

/** Rewrites one of a task's records. */
function rewrite(dir: string, name: string, change: (record: Record<string, unknown>) => unknown): void {
  const path = join(dir, name)
  writeFileSync(path, `${JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8'))))}\n`)
}

test('a record that lacks one of its fields is reported, and one with fields that we do not know is read', async () => {
  // R10
  const sessionId = 'fields'
  const good = await original(store, sessionId)
  const without = ['task.json', 'ended.json'].flatMap((name) => {
    const fields = Object.keys(JSON.parse(readFileSync(join(good, name), 'utf8')))
    return fields.map((field) => copy(good, (dir) => rewrite(dir, name, ({ [field]: _, ...rest }) => rest)))
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
  const plants: [(path: string) => void, number][] = [
    [(path) => writeFileSync(path, '..'), 3],
    [(path) => mkdirSync(path), 1],
    [(path) => execFileSync('mkfifo', [path]), 1],
    [(path) => symlinkSync(outside, path), 1],
    [(path) => symlinkSync(path, path), 1],
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
  ['beyond the end of the file', [5, 1_000_000], 'origi', 4],
  ['from beyond the end of the file', [1_000_000, 2_000_000], 'original\n', 0],
  ['that ends before it begins', [6, 2], 'original\n', 0],
  ['as large as numbers are', [0, 2 ** 53 - 1], '', 9],
])(
  'a range of dropped bytes %s is counted and passed over as far as the file goes',
  async (_, stdout, text, dropped) => {
    // O5
    const sessionId = `dropped ${stdout}`
    const good = await original(store, sessionId)
    const id = copy(good, (dir) => {
      writeFileSync(join(dir, 'dropped.json'), `${JSON.stringify({ version: 1, stdout, stderr: [0, 0] })}\n`)
    })
    makeFifos(dirname(good), [id])
    const { tasks } = await replay(store, sessionId)
    expect(tasks.status(id, { sessionId })).toMatchObject({ stdoutBytes: 9, droppedBytes: dropped })
    const page = tasks.output(id, { sessionId })
    expect(page).toEqual({ text, from: 0, nextOffset: 9, droppedBytes: dropped, totalBytes: 9, eof: true })
  },
)
