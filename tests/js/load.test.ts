/**
 * Many tasks, one after the other, all at once, and loud ones: nothing is lost, and what they took comes back. `just load` runs
 * the full size, whose figures are in docs/why/measured.md; without it the same is done with a part of it.
 */
import { statSync } from 'node:fs'
import { gate } from './support/guests'
import type { Host } from './support/host'
import {
  belongingsOf,
  cleanAll,
  diskUse,
  expectGivenBack,
  listenIn,
  longestStall,
  report,
  runMany,
  SESSION,
  warmHost,
} from './support/load'
import { eventually, temporaryStore } from './support/store'

const FULL = process.env.LOAD === 'full'
const MIB = 1024 * 1024
const LIMIT_MS = FULL ? 20 * 60_000 : 120_000
/** Whatever the machine is doing besides: a call that waits for tasks, or for all of a backlog, holds the loop for longer. */
const STALL_MS = 1000

const [SHORT_TASKS, AT_ONCE] = FULL ? [10_000, 256] : [400, 64]
const STANDING_TASKS = FULL ? 1000 : 150
const [LOUD_TASKS, LOUD_SECONDS] = FULL ? [20, 20] : [20, 2]

/** Hears `count` completions more, and remembers whose they are. */
async function hear(node: Host, count: number, told: Map<string, number>): Promise<void> {
  for (let heard = 0; heard < count; heard++) {
    const id = await node.heard<string>('the next completion', 60_000)
    told.set(id, (told.get(id) ?? 0) + 1)
  }
}

const untold = (node: Host): Promise<number> =>
  node.call(
    ({ tasks }, sessionId) =>
      tasks.list({ sessionId, previewBytes: 0 }).filter(({ completionDelivered }) => !completionDelivered).length,
    SESSION,
  )

test(
  `${SHORT_TASKS} tasks, ${AT_ONCE} at a time, under four hosts, three of them killed: each is told`,
  async () => {
    // D1 P5 N4
    const store = temporaryStore()
    const told = new Map<string, number>()
    const began = performance.now()
    let node = await warmHost(store)
    const disk = diskUse(store.dir)
    let before = await belongingsOf(node)
    let stall = 0
    for (let restart = 0; restart < 4; restart++) {
      await listenIn(node)
      const share = Math.ceil((SHORT_TASKS - store.taskIds().length) / (4 - restart))
      const running = node.call(runMany, share, AT_ONCE, SESSION)
      if (restart === 3) {
        await running
        stall = Math.max(stall, await longestStall(node))
        break
      }
      await hear(node, share - AT_ONCE / 2, told)
      stall = Math.max(stall, await longestStall(node))
      await node.kill()
      await node.silent
      await hear(node, node.untaken().length, told)
      node = await warmHost(store)
      before = await belongingsOf(node)
    }
    await eventually(async () => (await untold(node)) === 0, 'all is told', 60_000)
    const seconds = (performance.now() - began) / 1000
    await hear(node, node.untaken().length, told)
    const ids = await node.call(
      ({ tasks }, sessionId) => tasks.list({ sessionId }).map(({ taskId }) => taskId),
      SESSION,
    )
    expect(ids.filter((id) => !told.has(id))).toEqual([])
    const again = [...told.values()].reduce((sum, times) => sum + times - 1, 0)
    // A callback that was running when its host was killed: there is one at most.
    expect(again).toBeLessThanOrEqual(3)
    expect(ids.length).toBeGreaterThan(SHORT_TASKS - 10)
    expect(stall).toBeLessThan(STALL_MS)
    const fullBytes = diskUse(store.dir)
    expect(await cleanAll(node)).toBeGreaterThanOrEqual(ids.length)
    const after = await expectGivenBack(node, before, 64 * MIB)
    expect(diskUse(store.dir)).toBeLessThan(disk + MIB)
    report(`${ids.length} tasks`, {
      perSecond: ids.length / seconds,
      again,
      stall,
      grownBytes: after.rssBytes - before.rssBytes,
      fullBytes,
      leftBytes: diskUse(store.dir) - disk,
    })
    await node.kill()
  },
  LIMIT_MS,
)

test(
  `${STANDING_TASKS} tasks that run at once: one descriptor each, no thread, and all comes back`,
  async () => {
    // P5 N4
    const store = temporaryStore()
    const node = await warmHost(store)
    await listenIn(node)
    const before = await belongingsOf(node)
    const wait = gate(store)
    const began = performance.now()
    await node.call(
      async ({ tasks }, command, count, sessionId) => {
        const spawns = Array.from({ length: count }, () => tasks.spawn(command, { sessionId, shell: '/bin/sh' }))
        await Promise.all(spawns)
      },
      `read _ < ${wait.path}`,
      STANDING_TASKS,
      SESSION,
    )
    const start = performance.now() - began
    const startStall = await longestStall(node)
    const during = await belongingsOf(node)
    expect(during.fds).toBeLessThanOrEqual(before.fds + STANDING_TASKS + 2)
    expect(during.threads).toBe(before.threads)
    wait.open(STANDING_TASKS)
    const opened = performance.now()
    const told = new Map<string, number>()
    await hear(node, STANDING_TASKS, told)
    const end = performance.now() - opened
    expect(told.size).toBe(STANDING_TASKS)
    const endStall = await longestStall(node)
    expect(Math.max(startStall, endStall)).toBeLessThan(STALL_MS)
    await eventually(async () => (await untold(node)) === 0, 'all is delivered')
    expect(await cleanAll(node)).toBeGreaterThanOrEqual(STANDING_TASKS)
    const after = await expectGivenBack(node, before, 32 * MIB)
    report(`${STANDING_TASKS} at once`, {
      start,
      startStall,
      fds: during.fds - before.fds,
      threads: during.threads - before.threads,
      heldBytes: during.rssBytes - before.rssBytes,
      end,
      endStall,
      grownBytes: after.rssBytes - before.rssBytes,
    })
    await node.kill()
  },
  LIMIT_MS,
)

test(
  `${LOUD_TASKS} tasks that write 5 MB a second each: the disk is held to their limits, and the host does not notice`,
  async () => {
    // O1 N4
    const store = temporaryStore()
    const node = await warmHost(store)
    const before = await belongingsOf(node)
    const [limit, chunk, perSecond] = [8 * MIB, 294_912, 20]
    // A FIFO that nobody writes to is a clock: reading it ends when its time is over.
    const clock = gate(store)
    const ids = await node.call(
      ({ tasks }, command, count, maxOutputBytes, sessionId) =>
        Promise.all(Array.from({ length: count }, () => tasks.spawn(command, { sessionId, maxOutputBytes }))),
      `text=$(head -c ${chunk} /dev/zero | tr '\\0' x); exec 3<>${clock.path}
       while :; do printf %s "$text"; read -t ${1 / perSecond} _ <&3; done`,
      LOUD_TASKS,
      limit,
      SESSION,
    )
    const paths = await node.call(({ tasks }, ids) => ids.map((id) => tasks.status(id)!.stdoutPath), ids)
    const sum = (of: (path: string) => number) => paths.reduce((total, path) => total + of(path), 0)
    const written = () => sum((path) => statSync(path).size)
    const onDisk = () => sum((path) => statSync(path).blocks * 512)
    const [began, wrote] = [performance.now(), written()]
    await longestStall(node)
    const uses: number[] = []
    const isLongEnough = () => {
      uses.push(onDisk())
      return performance.now() - began > LOUD_SECONDS * 1000 && written() > 2 * LOUD_TASKS * limit
    }
    await eventually(isLongEnough, 'twice what may be kept is written', LIMIT_MS / 2)
    const bytesPerSecond = ((written() - wrote) * 1000) / (performance.now() - began)
    const stall = await longestStall(node)
    const median = uses.sort((one, other) => one - other)[Math.floor(uses.length / 2)]!
    expect(median).toBeLessThan(2 * LOUD_TASKS * limit)
    expect(stall).toBeLessThan(STALL_MS)
    await node.call(async ({ tasks }, ids) => {
      await Promise.all(ids.map((id) => tasks.kill(id, { signal: 'SIGKILL' })))
      tasks.drain({ sessionId: tasks.status(ids[0]!)!.sessionId })
    }, ids)
    const droppedBytes = await node.call(
      ({ tasks }, ids) => ids.reduce((sum, id) => sum + tasks.status(id)!.droppedBytes, 0),
      ids,
    )
    expect(droppedBytes).toBeGreaterThan(0)
    expect(await cleanAll(node)).toBeGreaterThanOrEqual(LOUD_TASKS)
    const after = await expectGivenBack(node, before, 32 * MIB)
    expect(diskUse(store.dir)).toBeLessThan(MIB)
    report(`${LOUD_TASKS} loud ones`, {
      writtenPerSecondBytes: bytesPerSecond,
      keptBytes: LOUD_TASKS * limit,
      onDiskBytes: median,
      mostOnDiskBytes: uses.at(-1)!,
      stall,
      grownBytes: after.rssBytes - before.rssBytes,
    })
    await node.kill()
  },
  LIMIT_MS,
)
