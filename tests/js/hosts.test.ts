import { execFileSync, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Completion } from 'outlive'
import { gate, obedient, processesOf, readyFifo, stop } from './support/guests'
import { type Host, host } from './support/host'
import { listen } from './support/listen'
import { eventually, registryAt, temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry()

let sessions = 0
const session = (): string => `session ${++sessions}`
const hosts = (count: number): Promise<Host[]> => Promise.all(Array.from({ length: count }, () => host(store)))

/** Says every completion of the session, and takes it. */
const listenIn = (node: Host, sessionId: string): Promise<void> =>
  node.call(({ tasks, say }, sessionId) => void tasks.onCompletion(say, { sessionId }), sessionId)

const spawnIn = (node: Host, sessionId: string, command: string): Promise<string> =>
  node.call(({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId }), command, sessionId)

/** When no kill of the host that told them can bring them back. */
const delivered = (ids: string[], sessionId: string): Promise<boolean> =>
  eventually(() => ids.every((id) => tasks.status(id, { sessionId })?.completionDelivered), 'all are delivered')

/** When the session's owner has the lock; who listens afterwards is the next in line. */
async function owner(node: Host, sessionId: string): Promise<void> {
  await listenIn(node, sessionId)
  const id = await spawnIn(node, sessionId, 'true')
  expect(await node.heard()).toMatchObject({ taskId: id })
  await delivered([id], sessionId)
}

test('a task is told by the host that owns the session, whichever host has started it', async () => {
  // D15
  const sessionId = session()
  const [first, second] = (await hosts(2)) as [Host, Host]
  await owner(first, sessionId)
  await listenIn(second, sessionId)
  for (const exitCode of [1, 2, 3]) {
    const id = await spawnIn(second, sessionId, `exit ${exitCode}`)
    expect(await first.heard()).toMatchObject({ taskId: id, exitCode, attempt: 1 })
  }
  expect(second.untaken()).toEqual([])
  await Promise.all([first.kill(), second.kill()])
})

test('the owner is killed: another host tells what it left, in the order of the ends, without being asked', async () => {
  // D15 D18
  const sessionId = session()
  const [first, second] = (await hosts(2)) as [Host, Host]
  await owner(first, sessionId)
  await listenIn(second, sessionId)
  const ready = readyFifo(store)
  const waits = Array.from({ length: 8 }, () => gate(store))
  const ids: string[] = []
  for (const wait of waits) {
    ids.push(await spawnIn(first, sessionId, obedient(ready, wait)))
    await ready.line()
  }
  void first.call(
    ({ tasks, say }, ids, gates) => {
      const { writeFileSync } = require('node:fs')
      // While its event loop is held, the host tells nothing of what ends.
      ids.forEach((id, place) => {
        writeFileSync(gates[place]!, '\n')
        while (tasks.status(id)?.finishedAt == null);
      })
      say('all have ended')
      for (;;);
    },
    ids,
    waits.map(({ path }) => path),
  )
  expect(await first.heard()).toBe('all have ended')
  await first.kill()
  for (const id of ids) expect(await second.heard()).toMatchObject({ taskId: id, status: 'completed' })
  await second.kill()
})

test('nobody asks: two owners are killed one after the other, and the third host tells the rest', async () => {
  // D15
  const sessionId = session()
  const [first, second, third] = (await hosts(3)) as [Host, Host, Host]
  await owner(first, sessionId)
  await listenIn(second, sessionId)
  const ready = readyFifo(store)
  const waits = [gate(store), gate(store), gate(store)]
  const ids = []
  for (const wait of waits) {
    ids.push(await spawnIn(third, sessionId, obedient(ready, wait)))
    await ready.line()
  }
  waits[0]!.open()
  expect(await first.heard()).toMatchObject({ taskId: ids[0] })
  await delivered(ids.slice(0, 1), sessionId)
  await first.kill()
  waits[1]!.open()
  expect(await second.heard()).toMatchObject({ taskId: ids[1] })
  await delivered(ids.slice(0, 2), sessionId)
  await listenIn(third, sessionId)
  await second.kill()
  waits[2]!.open()
  expect(await third.heard()).toMatchObject({ taskId: ids[2] })
  await third.kill()
})

test('three hosts spawn, listen and one is killed: every completion is told, and delivered once', async () => {
  // D15 D16
  const sessionId = session()
  const told: Completion[] = []
  const started = new Set<string>()
  for (let round = 0; round < 4; round++) {
    const [first, second, third] = (await hosts(3)) as [Host, Host, Host]
    for (const node of [first, second, third]) await listenIn(node, sessionId)
    const spawns = [first, second, third].map((node) =>
      node.call(
        ({ tasks }, sessionId) => Promise.all([1, 2, 3, 4].map(() => tasks.spawn('true', { sessionId }))),
        sessionId,
      ),
    )
    const ids = await Promise.all(spawns)
    for (const id of ids.flat()) started.add(id)
    await first.kill()
    const heard = () => [first, second, third].flatMap((node) => node.untaken() as Completion[])
    await delivered(ids.flat(), sessionId)
    const isHeard = (id: string): boolean => heard().some(({ taskId }) => taskId === id)
    await eventually(() => ids.flat().every(isHeard), 'what the hosts said has arrived')
    told.push(...heard())
    await Promise.all([second.kill(), third.kill()])
  }
  for (const id of started) {
    const times = told.filter(({ taskId }) => taskId === id)
    // The host that was killed may have taken it as its first, and may even have said so.
    expect([[1], [2], [1, 2]]).toContainEqual(times.map(({ attempt }) => attempt))
  }
  // A callback that was running when its host was killed: there is at most one in each round.
  expect(told.length).toBeLessThanOrEqual(started.size + 4)
  expect(tasks.drain({ sessionId })).toEqual([])
})

test('each host sees, reads, waits for and kills the tasks of the others', async () => {
  const sessionId = session()
  const [first, second] = (await hosts(2)) as [Host, Host]
  const ready = readyFifo(store)
  await listenIn(second, sessionId)
  const id = await spawnIn(first, sessionId, `echo hi; echo $$ > ${ready.path}; exec sleep 1000`)
  await ready.line()
  const waiting = first.call(({ tasks }, id) => tasks.wait(id), id)
  // The start is news of its own, and comes to each host by itself.
  const statusThere = () =>
    second.call(({ tasks }, id, of) => tasks.status(id, { sessionId: of })?.status, id, sessionId)
  await eventually(async () => (await statusThere()) === 'running', 'the other host sees it run')
  const seen = await second.call(
    async ({ tasks }, id, sessionId) => ({
      status: tasks.status(id, { sessionId })?.status,
      listed: tasks.list({ sessionId }).map(({ taskId }) => taskId),
      text: tasks.output(id, { sessionId }).text,
      waited: (await tasks.wait(id, { sessionId, timeoutMs: 1 })).status,
      killed: (await tasks.kill(id, { sessionId })).status,
    }),
    id,
    sessionId,
  )
  expect(seen).toEqual({ status: 'running', listed: [id], text: 'hi\n', waited: 'running', killed: 'killed' })
  expect(await waiting).toMatchObject({ status: 'killed', signal: 'SIGTERM' })
  expect(await second.heard()).toMatchObject({ taskId: id, status: 'killed', attempt: 1 })
  await Promise.all([first.kill(), second.kill()])
})

const mayMount = spawnSync('unshare', ['--mount', 'true']).status === 0
if (!mayMount) console.warn('skipped: a boot id of its own takes the right to mount')

;(mayMount ? test : test.skip)(
  'what runs is no reboot’s victim for a host in a container with a boot id of its own',
  async () => {
    // D15
    const sessionId = session()
    const bootId = join(store.dir, 'boot-id')
    writeFileSync(bootId, `${randomUUID()}\n`)
    const script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id; exec "$@"'
    const [outside, inside] = await Promise.all([
      host(store),
      host(store, { under: ['unshare', '--mount', 'sh', '-e', '-c', script, bootId] }),
    ])
    const [ready, wait] = [readyFifo(store), gate(store)]
    const id = await spawnIn(outside, sessionId, obedient(ready, wait))
    await ready.line()
    const found = await inside.call(({ tasks }, sessionId) => tasks.replay(sessionId), sessionId)
    expect(found).toMatchObject({ running: 1, lost: 0, pending: 0 })
    await listenIn(inside, sessionId)
    wait.open()
    expect(await inside.heard()).toMatchObject({ taskId: id, status: 'completed', exitCode: 0 })
    await Promise.all([outside.kill(), inside.kill()])
  },
)

test('a session is left to others when its last callback is over, also if its task was removed meanwhile', async () => {
  // D15
  const [mine, others] = [store.registry(), store.registry()]
  const sessionId = session()
  let finish = () => {}
  const working = new Promise<void>((resolve) => {
    finish = resolve
  })
  const told = new Promise<string>((resolve) => {
    const subscription = mine.onCompletion(
      async ({ taskId }) => {
        subscription.close()
        resolve(taskId)
        await working
      },
      { sessionId },
    )
  })
  await mine.spawn('true', { sessionId })
  const id = await told
  const listener = listen(others, sessionId)
  await others.replay(sessionId)
  expect(others.ack([id])).toBe(1)
  expect(await others.cleanup({ olderThanMs: 0 })).toBe(1)
  const next = await others.spawn('exit 4', { sessionId })
  await others.wait(next)
  // It has looked at the session since.
  expect(mine.list({ sessionId })).toMatchObject([{ taskId: next }])
  expect(listener.heard).toEqual([])
  finish()
  await listener.times(1)
  expect(listener.heard).toMatchObject([{ taskId: next, exitCode: 4, attempt: 1 }])
  mine.detach()
  others.detach()
})

test('an end is the same for every host and for ever, whatever is asked of it afterwards', async () => {
  // R11
  const sessionId = session()
  const [first, second] = (await hosts(2)) as [Host, Host]
  const ids: string[] = []
  for (const command of ['exit 3', 'kill -9 $$', 'kill -9 $PPID; sleep 1000']) {
    const id = await spawnIn(first, sessionId, command)
    await first.call(({ tasks }, id) => tasks.wait(id), id)
    ids.push(id)
  }
  const ask = (node: Host) =>
    node.call(
      async ({ tasks }, ids, sessionId) => {
        const before = ids.map((id) => tasks.status(id, { sessionId }))
        for (const id of ids) await Promise.all([tasks.kill(id, { sessionId }), tasks.wait(id, { sessionId })])
        await tasks.replay(sessionId)
        return { before, after: ids.map((id) => tasks.status(id, { sessionId })) }
      },
      ids,
      sessionId,
    )
  const answers = [await ask(first), await ask(second)]
  await first.kill()
  answers.push(await ask(second), await ask(await host(store)))
  expect(answers[0]!.before).toMatchObject([{ exitCode: 3 }, { signal: 'SIGKILL' }, { status: 'lost', exitCode: null }])
  for (const { before, after } of answers) {
    expect(before).toEqual(answers[0]!.before)
    expect(after).toEqual(before)
  }
})

test('a host whose task was told and removed by another before it could look does not say that it was killed', async () => {
  // D22
  const sessionId = session()
  const second = await host(store)
  const [ready, wait] = [readyFifo(store), gate(store)]
  const id = await spawnIn(second, sessionId, obedient(ready, wait, 'exit 7'))
  await ready.line()
  const waited = second.call(({ tasks, say }, id) => {
    const ended = tasks.wait(id)
    tasks.list() // is answered behind it
    say('waits')
    return ended
  }, id)
  expect(await second.heard()).toBe('waits')
  await stop(second.pid)
  wait.open()
  const told = tasks.wait(id, { sessionId })
  expect(await told).toMatchObject({ status: 'failed', exitCode: 7 })
  expect(tasks.drain({ sessionId })).toMatchObject([{ taskId: id, exitCode: 7 }])
  await eventually(async () => (await tasks.cleanup({ olderThanMs: 0 })) > 0, 'it is removed')
  process.kill(second.pid, 'SIGCONT')
  const error = 'its files were removed; how the command ended is unknown'
  expect(await waited).toMatchObject({ status: 'lost', exitCode: null, error })
  await second.kill()
})

const CONTAINER = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child']
const mayUnshare = spawnSync('unshare', [...CONTAINER.slice(1), 'true']).status === 0
if (!mayUnshare) console.warn('skipped: a pid namespace of its own needs root (or a privileged container)')

const copied: [string, string[]][] = [['here', []]]
if (mayUnshare) copied.push(['in a container', CONTAINER])

test.each(copied)(
  'a copy of a store whose tasks run %s leaves them to those who have the store itself',
  async (_, under) => {
    const copy = join(temporaryStore().dir, 'copy')
    const node = await host(store, { under })
    const sessionId = session()
    const ready = readyFifo(store)
    const on = gate(store)
    const running = await spawnIn(node, sessionId, `echo > ${ready.path}; read _ < ${on.path}; exit 7`)
    const left = await spawnIn(node, sessionId, `{ echo > ${ready.path}; read _ < ${on.path}; } & exit 6`)
    await Promise.all([ready.line(), ready.line()])
    await node.call(({ tasks }, id) => tasks.wait(id), left)
    execFileSync('cp', ['-a', store.dir, copy])
    const elsewhere = registryAt(copy)
    const { unreadable } = await elsewhere.replay(sessionId)
    expect(unreadable.map((path) => basename(path)).sort()).toEqual([running, left].sort())
    expect(elsewhere.list({ sessionId })).toEqual([])
    await expect(elsewhere.kill(running, { sessionId })).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
    expect(processesOf(left).length).toBeGreaterThan(0)
    on.open(2)
    expect(await tasks.wait(running, { sessionId })).toMatchObject({ status: 'failed', exitCode: 7 })
  },
)
