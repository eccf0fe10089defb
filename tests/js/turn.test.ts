/** Whose turn it is when more was asked of a registry than it can do at once: each spawn takes a quarter of a second here. */
import { addonWithFailpoints } from './support/failpoints'
import { gate } from './support/guests'
import { type Host, host } from './support/host'
import { temporaryStore } from './support/store'

const SPAWNS = 8
const store = temporaryStore()
let addon: string

beforeAll(async () => {
  addon = await addonWithFailpoints()
}, 300_000)

/** The first two spawns are quick: they are what the others must not hold up. */
function slowHost(): Promise<Host> {
  const env = { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: 'host.before_spawn=2*off->delay(250ms)' }
  return host(store, { env, registry: { maxRunning: 100 } })
}

test('a call that answers at once is not held up by spawns that wait', async () => {
  // N4
  const node = await slowHost()
  const seen = await node.call(async ({ tasks }, spawns) => {
    const sessionId = 'calls'
    await tasks.wait(await tasks.spawn('true', { sessionId }))
    await tasks.spawn('true', { sessionId: 'other' })
    const starting = Array.from({ length: spawns }, () => tasks.spawn('true', { sessionId }))
    const told = [tasks.list({ sessionId }), tasks.pending({ sessionId }), tasks.list(), tasks.drain({ sessionId })]
    const seen = told.map((each) => each.length)
    await Promise.all(starting)
    return [...seen, tasks.list({ sessionId }).length]
  }, SPAWNS)
  expect(seen.pop()).toBe(1 + SPAWNS)
  for (const count of seen) expect(count).toBeLessThan(1 + SPAWNS)
  expect(seen[3]).toBeGreaterThan(0)
  await node.kill()
})

test('an end is told and a kill is sent while spawns wait', async () => {
  // N4 D1
  const node = await slowHost()
  const [told, killed, all] = await node.call(
    async ({ tasks }, gate, spawns) => {
      const sessionId = 'ends'
      const known = () => tasks.list({ sessionId }).length
      const awaited = await tasks.spawn(`read _ < ${gate}`, { sessionId })
      const stopped = await tasks.spawn('sleep 1000', { sessionId, notify: false })
      const told = new Promise<number>((resolve) => {
        tasks.onCompletion(({ taskId }) => void (taskId === awaited && resolve(known())), { sessionId })
      })
      const starting = Array.from({ length: spawns }, () => tasks.spawn('true', { sessionId }))
      require('node:fs').writeFileSync(gate, '\n')
      return Promise.all([told, tasks.kill(stopped).then(known), Promise.all(starting).then(known)])
    },
    gate(store).path,
    SPAWNS,
  )
  expect(all).toBe(2 + SPAWNS)
  expect(told).toBeLessThan(all)
  expect(killed).toBeLessThan(all)
  await node.kill()
})

test('a working directory on a file system that does not answer holds up nobody but its own spawn', async () => {
  // N4 P12
  const plan = 'host.before_cwd=1*off->1*delay(600000ms)'
  const node = await host(store, { env: { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: plan } })
  const seen = await node.call(async ({ tasks }) => {
    const sessionId = 'hung'
    const first = await tasks.spawn('sleep 1000', { sessionId })
    const hung = tasks.spawn('true', { sessionId, cwd: '/' }).catch((error) => error.code)
    const listed = tasks.list({ sessionId }).map(({ taskId }) => taskId === first)
    const { status } = await tasks.wait(await tasks.spawn('true', { sessionId }))
    const killed = await tasks.kill(first)
    tasks.detach()
    return [listed, status, killed.status, await hung]
  })
  expect(seen).toEqual([[true], 'completed', 'killed', 'REGISTRY_CLOSED'])
  await node.kill()
})
