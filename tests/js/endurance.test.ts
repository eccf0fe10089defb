import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { host } from './support/host'
import { rewrite } from './support/records'
import { temporaryStore } from './support/store'

const store = temporaryStore()

test('10 000 subscriptions made and closed, and 100 000 status calls, leave no memory and no handle behind', async () => {
  // N6
  const plugin = await host(store, { execArgv: ['--expose-gc'] })
  const [before, after] = await plugin.call(async ({ tasks }) => {
    const { readdirSync } = require('node:fs') as typeof import('node:fs')
    const id = await tasks.spawn('seq 1000')
    await tasks.wait(id)
    tasks.drain()
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    const use = async (subscriptions: number, calls: number) => {
      for (let i = 0; i < subscriptions; i++) {
        tasks.onCompletion(() => {}, { sessionId: `session ${i % 10}` }).close()
        if (i % 100 === 0) await turn()
      }
      for (let i = 0; i < calls; i++) tasks.status(id)
    }
    const measure = async () => {
      // Whatever is queued behind it is done when this is answered.
      await tasks.replay()
      await turn()
      for (let i = 0; i < 3; i++) (globalThis as unknown as { gc(): void }).gc()
      const count = (path: string) => readdirSync(path).length
      return { bytes: process.memoryUsage.rss(), files: count('/proc/self/fd'), threads: count('/proc/self/task') }
    }
    await use(1000, 10_000)
    const warm = await measure()
    await use(10_000, 100_000)
    return [warm, await measure()]
  })
  expect(after.files).toBe(before.files)
  expect(after.threads).toBe(before.threads)
  // A leak of one status (6 KB) a call would be 600 MB, one of 1 KB a subscription 10 MB.
  expect(after.bytes - before.bytes).toBeLessThan(40 * 1024 * 1024)
})

test('300 000 questions for a task that a later release wrote leave no memory behind', async () => {
  // N6
  const sessionId = 'of a later release'
  const writer = store.registry()
  const id = await writer.spawn('true', { sessionId })
  await writer.wait(id)
  writer.detach()
  writeFileSync(join(store.taskDir(id) ?? '', 'task.json'), '{"version":99}\n')
  const node = await host(store)
  const grown = await node.call(
    ({ tasks }, id, sessionId) => {
      const ask = (times: number) => {
        for (let i = 0; i < times; i++) if (tasks.status(id, { sessionId }) !== null) throw new Error('it is known')
        return process.memoryUsage.rss()
      }
      const before = ask(30_000)
      return ask(300_000) - before
    },
    id,
    sessionId,
  )
  // With its path kept for each, some 40 MB.
  expect(grown).toBeLessThan(20 * 1024 * 1024)
  await node.kill()
})

test('large commands are kept on disk and not in memory, whether anybody is told of their ends or asks for them or not', async () => {
  // N6
  // What is freed goes back to the system at once.
  const env = { MALLOC_MMAP_THRESHOLD_: '65536' }
  const node = await host(store, { execArgv: ['--expose-gc'], env, registry: { maxRunning: 200 } })
  const grown = await node.call(async ({ tasks }) => {
    const large = `exit\n# ${'x'.repeat(1024 * 1024)}`
    let told = 0
    tasks.onCompletion(() => void told++, { sessionId: 'told' })
    const run = async (rounds: number) => {
      const until = told + rounds
      for (let round = 0; round < rounds; round++) {
        await tasks.wait(await tasks.spawn(large, { sessionId: 'told', shell: '/bin/sh' }))
        await tasks.spawn(large, { sessionId: 'silent', notify: false, shell: '/bin/sh' })
      }
      while (told < until) await new Promise((resolve) => setImmediate(resolve))
      for (let i = 0; i < 3; i++) (globalThis as unknown as { gc(): void }).gc()
      return process.memoryUsage.rss()
    }
    const before = await run(10)
    return (await run(50)) - before
  })
  // All of them are 100 MB.
  expect(grown).toBeLessThan(50 * 1024 * 1024)
  await node.kill()
}, 60_000)

test('a task that started 25 hours ago and lives is still running after a restart, and can be killed', async () => {
  // P7
  const tasks = store.registry()
  const id = await tasks.spawn('sleep 1000', { timeoutMs: 0 })
  tasks.detach()
  const dir = store.taskDir(id) ?? ''
  const dayAndMore = 25 * 3_600_000
  for (const [name, field] of [
    ['task.json', 'createdAt'],
    ['started.json', 'startedAt'],
  ] as const) {
    rewrite(dir, name, (record) => ({ ...record, [field]: Number(record[field]) - dayAndMore }))
  }
  const next = store.registry()
  expect(await next.replay()).toMatchObject({ running: 1, lost: 0 })
  const running = next.status(id)
  expect(running?.status).toBe('running')
  expect(Date.now() - (running?.startedAt ?? 0)).toBeGreaterThan(dayAndMore)
  expect(await next.cleanup({ olderThanMs: 0, undeliveredOlderThanMs: 0 })).toBe(1)
  expect(next.status(id)?.status).toBe('running')
  expect(await next.kill(id)).toMatchObject({ status: 'killed', signal: 'SIGTERM' })
})
