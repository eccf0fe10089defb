import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { isAlive } from './support/guests'
import { host } from './support/host'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const MIB = 1024 * 1024
const LIMIT = 10 * MIB
/** What the fastest command may be ahead by when the file system is slow to give the middle back (README, limits). */
const OVERSHOOT = 64 * MIB

const diskUse = (path: string) => statSync(path).blocks * 512

function bytes(path: string, from: number, length: number): string {
  const buffer = Buffer.alloc(length)
  const fd = openSync(path, 'r')
  readSync(fd, buffer, 0, length, from)
  closeSync(fd)
  return buffer.toString()
}

test('a command that writes for ever with its host dead is held to its limit, both ends intact, and runs on', async () => {
  // O1
  const plugin = await host(store)
  const id = await plugin.call(({ tasks }, maxOutputBytes) => tasks.spawn('exec yes', { maxOutputBytes }), LIMIT)
  await plugin.kill()
  const tasks = store.registry()
  const path = tasks.status(id)?.stdoutPath ?? ''
  const uses: number[] = []
  const written = () => statSync(path).size
  await eventually(
    () => {
      uses.push(diskUse(path))
      return written() > 80 * LIMIT && uses.length > 50
    },
    'eighty times the limit is written',
    60_000,
  )
  const median = uses.sort((a, b) => a - b)[Math.floor(uses.length / 2)]
  expect(median).toBeLessThan(2 * LIMIT + OVERSHOOT)
  const running = tasks.status(id)
  expect(running).toMatchObject({ status: 'running' })
  expect(isAlive(running?.pid ?? 0)).toBe(true)
  expect(bytes(path, 0, 4 * MIB)).toBe('y\n'.repeat(2 * MIB))

  const killed = await tasks.kill(id)
  expect(killed).toMatchObject({ status: 'killed', signal: 'SIGTERM' })
  const { size } = statSync(path)
  expect(killed.stdoutBytes).toBe(size)
  expect(size - killed.droppedBytes).toBeGreaterThanOrEqual(LIMIT)
  expect(size - killed.droppedBytes).toBeLessThan(1.3 * LIMIT)
  expect(diskUse(path)).toBeLessThan(1.3 * LIMIT + MIB)
  expect(bytes(path, size - 4 * MIB, 4 * MIB)).toBe('y\n'.repeat(2 * MIB))
})

test('each stream has a limit of its own, and one that stays below it loses nothing', async () => {
  // O1
  const tasks = store.registry()
  const id = await tasks.spawn('seq 100 >&2; yes | head -c 5000000', { maxOutputBytes: MIB })
  const outcome = await tasks.wait(id)
  expect(outcome.status).toBe('completed')
  expect(outcome.stdoutBytes).toBe(5_000_000)
  expect(outcome.droppedBytes).toBeGreaterThan(3_500_000)
  expect(tasks.output(id, { stream: 'stderr' })).toMatchObject({ droppedBytes: 0, totalBytes: 292 })
  expect(tasks.output(id, { stream: 'stderr' }).text.split('\n')).toHaveLength(101)
})

test('without a limit everything is kept', async () => {
  const tasks = store.registry()
  const outcome = await tasks.wait(await tasks.spawn('yes | head -c 20000000', { maxOutputBytes: 0 }))
  expect(outcome).toMatchObject({ stdoutBytes: 20_000_000, droppedBytes: 0 })
})
