/** What a host has and has to bear, measured from outside and from inside. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Host, type HostOptions, type HostScope, host } from './host'
import { eventually, type TemporaryStore } from './store'

export const SESSION = 'load'

export interface Belongings {
  fds: number
  threads: number
  /** Resident memory, after a garbage collection. */
  rssBytes: number
}

/** A host that has done everything once, so that what it has afterwards is what it keeps. */
export async function warmHost(store: TemporaryStore, options: HostOptions = {}): Promise<Host> {
  const node = await host(store, { execArgv: ['--expose-gc'], registry: { maxRunning: 2000 }, ...options })
  await node.call(async ({ tasks, shared }, sessionId) => {
    const { monitorEventLoopDelay } = require('node:perf_hooks')
    await tasks.wait(await tasks.spawn('true', { sessionId: `${sessionId}, warm` }))
    tasks.drain({ sessionId: `${sessionId}, warm` })
    shared.stall = monitorEventLoopDelay({ resolution: 2 })
    shared.stall.enable()
  }, SESSION)
  return node
}

/** The longest time in ms that the event loop was held since the host was started, or since this was last asked. */
export const longestStall = (node: Host): Promise<number> =>
  node.call(({ shared }) => {
    const longest = shared.stall.max / 1e6
    shared.stall.reset()
    return longest
  })

export async function belongingsOf(node: Host): Promise<Belongings> {
  await node.call(async ({ tasks }, sessionId) => {
    // Whatever is queued behind it is done when this is answered.
    await tasks.replay(`${sessionId}, warm`)
    for (let round = 0; round < 3; round++) globalThis.gc!()
  }, SESSION)
  const status = readFileSync(`/proc/${node.pid}/status`, 'utf8')
  const count = (name: string) => readdirSync(`/proc/${node.pid}/${name}`).length
  return { fds: count('fd'), threads: count('task'), rssBytes: Number(/VmRSS:\s+(\d+)/.exec(status)![1]) * 1024 }
}

/** What may be left over when all is done: no descriptor, no thread, and no more memory than an allocator keeps. */
export async function expectGivenBack(node: Host, before: Belongings, spareBytes: number): Promise<Belongings> {
  let after = await belongingsOf(node)
  const isBack = async () => {
    after = await belongingsOf(node)
    return after.fds <= before.fds && after.threads <= before.threads
  }
  await eventually(isBack, `${JSON.stringify(before)} are all that is left`, 30_000).catch((error) => {
    throw new Error(`${error.message}; ${JSON.stringify(after)}`)
  })
  expect(after.rssBytes - before.rssBytes).toBeLessThan(spareBytes)
  return after
}

/** Bytes that a directory and all below it take on disk. */
export function diskUse(directory: string): number {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).reduce((sum, path) => {
    try {
      return sum + statSync(join(directory, path)).blocks * 512
    } catch {
      return sum // removed between the two looks
    }
  }, 0)
}

/** Says each completion's id, and takes it. */
export const listenIn = (node: Host): Promise<void> =>
  node.call(({ tasks, say, shared }, sessionId) => {
    shared.subscription = tasks.onCompletion(({ taskId }) => say(taskId), { sessionId })
  }, SESSION)

/** Runs in a host: so many short tasks, so many at a time. Resolves when all have ended. */
export async function runMany({ tasks }: HostScope, count: number, atOnce: number, sessionId: string): Promise<void> {
  let left = count
  const runner = async () => {
    while (left-- > 0) await tasks.wait(await tasks.spawn(`echo ${left}; exit ${left % 3}`, { sessionId }))
  }
  await Promise.all(Array.from({ length: atOnce }, runner))
}

/** Stops listening, and removes everything that was told, until there is nothing more. */
export async function cleanAll(node: Host): Promise<number> {
  await node.call(({ shared }) => shared.subscription?.close())
  const clean = () => node.call(({ tasks }) => tasks.cleanup({ olderThanMs: 0 }))
  // This takes as long as there are many of them. The limit below is for what then stays.
  let removed = await clean()
  const isClean = async () => {
    const now = await clean()
    removed += now
    return now === 0 && (await node.call(({ tasks }, sessionId) => tasks.list({ sessionId }).length === 0, SESSION))
  }
  await eventually(isClean, 'all is removed', 60_000)
  return removed
}

const MIB = 1024 * 1024

/** One line of figures; sizes in MiB, times in ms. */
export function report(what: string, figures: Record<string, number>): void {
  const shown = Object.entries(figures).map(([name, value]) => {
    const [number, unit] = name.endsWith('Bytes') ? [value / MIB, ' MiB'] : [value, '']
    return `${name.replace('Bytes', '')} ${Number(number.toFixed(1))}${unit}`
  })
  process.stdout.write(`load: ${what}: ${shown.join(', ')}\n`)
}
