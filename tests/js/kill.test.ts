import { readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { SpawnOptions } from 'outlive'
import { gate, isAlive, obedient, patient, readyFifo, statOf, stop, stubborn, treeOf } from './support/guests'
import { type HostScope, host } from './support/host'
import { eventually, temporaryStore, within } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 100 })

let scripts = 0
function script(...lines: string[]): string {
  const path = join(store.dir, `script-${++scripts}`)
  writeFileSync(path, ['#!/bin/bash', ...lines, ''].join('\n'), { mode: 0o755 })
  return path
}

function supervisorOf(pid: number): number {
  return statOf(pid)!.ppid
}

/** No such signal waits for the process any more. */
function hasTaken(pid: number, signal: NodeJS.Signals): boolean {
  const [, pending] = /^ShdPnd:\s+(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))!
  return (BigInt(`0x${pending}`) & (1n << BigInt(constants.signals[signal] - 1))) === 0n
}

const byItself = { status: 'failed', cause: 'exit', exitCode: 3, signal: null }
const byUs = { status: 'killed', cause: 'kill', exitCode: null }

describe('a kill ends the whole tree', () => {
  test('that ignores SIGTERM within the grace and 1 s: the leader, its child and a grandchild with its own session', async () => {
    // P1
    const ready = readyFifo(store)
    const grandchild = script(`setsid bash -c "trap '' TERM; echo up > ${ready.path}; sleep 1000; sleep 1000" & wait`)
    const task = await tasks.spawn(`trap '' TERM; ${grandchild} & ${stubborn(ready)}`, { graceMs: 500 })
    await ready.line()
    await ready.line()
    const asked = performance.now()
    const outcome = await tasks.kill(task)
    const took = performance.now() - asked
    expect(treeOf(task)).toEqual([])
    expect(outcome).toMatchObject({ ...byUs, signal: 'SIGKILL', descendants: 0 })
    expect(took).toBeGreaterThanOrEqual(500)
    expect(took).toBeLessThan(1500)
  })

  /** A command that is an agent: it starts this as a task, and does what is said at its start. */
  function agent(sessionId: string, command: string, options: SpawnOptions, atStart = ''): string {
    const path = join(store.dir, `${sessionId}.cjs`)
    writeFileSync(
      path,
      `${atStart}
       const { TaskRegistry } = require(${JSON.stringify(join(__dirname, '../..'))})
       const tasks = new TaskRegistry({ storageDir: ${JSON.stringify(store.dir)} })
       tasks.spawn(${JSON.stringify(command)}, ${JSON.stringify({ sessionId, ...options })})
       setInterval(() => {}, 1000)`,
    )
    return `exec ${process.execPath} '${path}'`
  }

  test('and the tasks that a part of it has started, in order: their ends are known, and nobody waits for the grace', async () => {
    // P29
    const ready = readyFifo(store)
    const outer = await tasks.spawn(agent('patient', patient(ready), { graceMs: 600_000 }))
    await ready.line()
    const killed = await within(tasks.kill(outer, { graceMs: 600_000 }), 'all of it has ended')
    expect(killed).toMatchObject({ ...byUs, signal: 'SIGTERM', descendants: 0 })
    expect(tasks.list({ sessionId: 'patient' })).toMatchObject([{ ...byUs, signal: 'SIGTERM' }])
  })

  const agents = [
    ['that ends at the first signal', ''],
    ['that ignores it too', "process.on('SIGTERM', () => {})"],
  ]
  test.each(agents)(
    'and the tasks of an agent %s, at the end of its own grace when they ignore SIGTERM',
    async (_, atStart) => {
      // P1 P29
      const ready = readyFifo(store)
      const sessionId = `stubborn-${atStart!.length}`
      const outer = await tasks.spawn(agent(sessionId, stubborn(ready), { graceMs: 600_000 }, atStart))
      await ready.line()
      const asked = performance.now()
      expect(await tasks.kill(outer, { graceMs: 700 })).toMatchObject({ ...byUs, descendants: 0 })
      expect(performance.now() - asked).toBeLessThan(1700)
      expect(tasks.list({ sessionId })).toMatchObject([{ ...byUs, signal: 'SIGKILL' }])
    },
  )

  test('with the signal and the grace of the call, and as soon as the tree is empty', async () => {
    const ready = readyFifo(store)
    const task = await tasks.spawn(`trap 'exit 7' INT; echo up > ${ready.path}; while :; do sleep 0.01; done`)
    await ready.line()
    const graceful = await within(tasks.kill(task, { signal: 'SIGINT', graceMs: 600_000 }), 'it ends by SIGINT')
    // What it does in answer to our signal is our doing.
    expect(graceful).toMatchObject({ status: 'killed', cause: 'kill', exitCode: 7, signal: null })

    const hard = await tasks.spawn(stubborn(ready), { graceMs: 600_000 })
    await ready.line()
    const forced = await within(tasks.kill(hard, { signal: 'SIGKILL' }), 'SIGKILL needs no grace')
    expect(forced).toMatchObject({ ...byUs, signal: 'SIGKILL' })
  })

  test('once asked with less patience, at the earlier moment', async () => {
    const ready = readyFifo(store)
    const task = await tasks.spawn(stubborn(ready))
    await ready.line()
    const patience = tasks.kill(task, { graceMs: 600_000 })
    await tasks.kill(task, { graceMs: 0 })
    await expect(within(patience, 'both are answered')).resolves.toMatchObject({ ...byUs, signal: 'SIGKILL' })
  })

  test('once asked with more patience, at the moment that was said first', async () => {
    // P1
    const ready = readyFifo(store)
    const task = await tasks.spawn(stubborn(ready), { graceMs: 300 })
    await ready.line()
    const killed = tasks.kill(task)
    const patience = tasks.kill(task, { graceMs: 600_000 })
    for (const kill of [killed, patience]) {
      expect(await within(kill, 'the first grace is over')).toMatchObject({ ...byUs, signal: 'SIGKILL' })
    }
  })

  test('with each signal once, however often it is asked for, and with another one too', async () => {
    const ready = readyFifo(store)
    // Of two that are there at the same moment the shell answers SIGTERM first: its number is the lower one.
    const traps = ['TERM', 'WINCH'].map((signal) => `trap 'echo ${signal} > ${ready.path}' ${signal}`).join('; ')
    const task = await tasks.spawn(`${traps}; echo up > ${ready.path}; while :; do sleep 0.01; done`)
    await ready.line()
    const order = (signal: NodeJS.Signals) => tasks.kill(task, { signal, graceMs: 600_000 })
    const killed = [order('SIGTERM')]
    expect(await ready.line()).toBe('TERM')
    killed.push(order('SIGTERM'), order('SIGWINCH'))
    expect(await ready.line()).toBe('WINCH')
    killed.push(tasks.kill(task, { graceMs: 0 }))
    for (const kill of killed) expect(await within(kill, 'it is over')).toMatchObject({ ...byUs, signal: 'SIGKILL' })
    expect(ready.untaken()).toEqual([])
  })

  const deep = (ready: string) =>
    script(`[ $1 = 0 ] && echo up > ${ready}`, '[ $1 -gt 0 ] && setsid "$0" $(($1 - 1)) &', 'sleep 1000; sleep 1000')
  const chain = () => script('setsid "$0" &')
  const grace = { graceMs: 600_000 }
  const shapes: [string, SpawnOptions, (ready: string) => string][] = [
    ['a fork storm of 1000', grace, (ready) => `for i in {1..1000}; do sleep 1000 & done; echo up > ${ready}; wait`],
    ['a tree 20 deep with setsid at each level', grace, (ready) => `${deep(ready)} 20`],
    [
      'a tree 20 deep with setsid at each level, all of it ignoring SIGTERM',
      { graceMs: 300 },
      (ready) => `trap '' TERM; ${deep(ready)} 20`,
    ],
    [
      'a chain that forks itself anew for ever, in sessions of their own',
      grace,
      (ready) => `${chain()} & echo up > ${ready}; sleep 1000`,
    ],
    [
      'a chain that forks itself anew for ever and ignores SIGTERM',
      { graceMs: 300 },
      (ready) => `trap '' TERM; ${chain()} & echo up > ${ready}; sleep 1000; sleep 1000`,
    ],
    [
      'processes that are stopped, the leader too',
      grace,
      (ready) => `sleep 1000 & kill -STOP $!; setsid sleep 1000 & kill -STOP $!; echo up > ${ready}; kill -STOP $$`,
    ],
  ]

  test.each(shapes)('and returns when it is empty: %s', async (_, options, command) => {
    // P29
    const ready = readyFifo(store)
    const task = await tasks.spawn(command(ready.path), options)
    await ready.line('the tree is up', 30_000)
    const outcome = await within(tasks.kill(task), 'the tree is empty', 30_000)
    expect(treeOf(task)).toEqual([])
    expect(outcome).toMatchObject({ ...byUs, descendants: 0 })
  })
})

describe('a kill that comes when the command has ended by itself', () => {
  test('keeps the exit code, even when the supervisor has not noticed either yet', async () => {
    // P9
    const [ready, start] = [readyFifo(store), gate(store)]
    for (let turn = 0; turn < 20; turn++) {
      const task = await tasks.spawn(obedient(ready, start, 'exit 3'))
      const pid = Number(await ready.line())
      const supervisor = supervisorOf(pid)
      await stop(supervisor)
      start.open()
      await eventually(() => !isAlive(pid), 'the command has ended')
      const killing = tasks.kill(task)
      await eventually(() => tasks.status(task)!.status === 'killing', 'the kill is under way')
      process.kill(supervisor, 'SIGCONT')
      expect(await within(killing, 'the kill is answered')).toMatchObject(byItself)
    }
  })

  test('keeps the exit code when the deadline has passed too', async () => {
    // P9
    const [ready, start] = [readyFifo(store), gate(store)]
    const task = await tasks.spawn(obedient(ready, start, 'exit 3'), { timeoutMs: 500 })
    const pid = Number(await ready.line())
    const supervisor = supervisorOf(pid)
    await stop(supervisor)
    start.open()
    await eventually(() => !isAlive(pid) && tasks.status(task)!.durationMs > 700, 'it has ended, and its time is over')
    process.kill(supervisor, 'SIGCONT')
    expect(await tasks.wait(task)).toMatchObject(byItself)
  })

  test('tells either the exit or the kill, whole and true, in all of 1000 races or as many as fit in 20 s', async () => {
    // P9
    const statuses: string[] = []
    // Guests sleep so long that they end at the moment of the kill, whatever else this machine does.
    let nap = 5
    async function race(): Promise<void> {
      const task = await tasks.spawn(`sleep ${nap / 1000}; exit 3`)
      const { pid } = tasks.status(task)!
      await pause(nap)
      const hasEnded = pid === null || !isAlive(pid)
      const outcome = await tasks.kill(task)
      const ourDoing = outcome.status === 'killed' && !hasEnded
      expect(outcome).toMatchObject(ourDoing ? { ...byUs, signal: 'SIGTERM' } : byItself)
      expect(tasks.status(task)).toEqual(outcome)
      nap *= ourDoing ? 0.9 : 1.1
      statuses.push(outcome.status)
    }
    let races = 0
    const until = performance.now() + 20_000
    const runner = async () => {
      while (races++ < 1000 && performance.now() < until) await race()
    }
    await Promise.all(Array.from({ length: 10 }, runner))
    for (const status of ['failed', 'killed']) expect(statuses).toContain(status)
  })
})

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  '%s to a supervisor from somebody who is no supervisor above it moves nothing',
  async (signal) => {
    const [ready, start] = [readyFifo(store), gate(store)]
    const task = await tasks.spawn(obedient(ready, start, 'exit 3'))
    const supervisor = supervisorOf(Number(await ready.line()))
    process.kill(supervisor, signal)
    await eventually(() => hasTaken(supervisor, signal) && statOf(supervisor)!.state === 'S', 'it has taken the signal')
    start.open()
    expect(await within(tasks.wait(task), 'it ends by itself')).toMatchObject(byItself)
  },
)

test('ten kills at once resolve with the same terminal snapshot', async () => {
  // P10
  const ready = readyFifo(store)
  const other = store.registry()
  const task = await tasks.spawn(stubborn(ready), { graceMs: 300 })
  await ready.line()
  const registries = Array.from({ length: 10 }, (_, at) => (at % 2 === 0 ? tasks : other))
  const snapshots = await Promise.all(registries.map((registry) => registry.kill(task, { sessionId: 'default' })))
  expect(snapshots[0]).toMatchObject({ ...byUs, signal: 'SIGKILL' })
  for (const snapshot of snapshots) expect(snapshot).toEqual(snapshots[0])
  expect(await tasks.kill(task)).toEqual(snapshots[0])
})

test('Node killed in the middle of a kill: the tree dies all the same, and one completion says killed', async () => {
  // P11
  const ready = readyFifo(store)
  const first = await host(store)
  const deaf = `trap 'echo asked > ${ready.path}' TERM; ${stubborn(ready).replace('TERM ', '')}`
  const task = await first.call(
    ({ tasks }, command) => tasks.spawn(command, { sessionId: 'interrupted', graceMs: 700 }),
    deaf,
  )
  await ready.line()
  void first.call(({ tasks }, id) => tasks.kill(id), task)
  expect(await ready.line()).toBe('asked')
  await first.kill()

  const second = await host(store)
  const told = await second.call(async ({ tasks }, id) => {
    await tasks.wait(id, { sessionId: 'interrupted' })
    return [tasks.drain({ sessionId: 'interrupted' }), tasks.drain({ sessionId: 'interrupted' })]
  }, task)
  expect(told).toEqual([[expect.objectContaining({ ...byUs, taskId: task, signal: 'SIGKILL' })], []])
  await eventually(() => treeOf(task).length === 0, 'the tree is dead')
})

test('while 8 stubborn tasks are being killed, others start, are looked at, end and are told of without delay', async () => {
  // P12
  const ready = readyFifo(store)
  const own = store.registry({ maxRunning: 20 })
  const stubborns = await Promise.all(
    Array.from({ length: 8 }, () => own.spawn(stubborn(ready), { sessionId: 'stubborn', graceMs: 4000 })),
  )
  for (const _ of stubborns) await ready.line()
  const told: string[] = []
  const subscription = own.onCompletion((completion) => void told.push(completion.taskId), { sessionId: 'others' })
  let killed = 0
  const killing = stubborns.map((task) => own.kill(task).finally(() => killed++))

  const quick: string[] = []
  for (let turn = 0; turn < 20; turn++) {
    const task = await own.spawn('echo hi', { sessionId: 'others' })
    quick.push(task)
    for (const id of stubborns) expect(own.status(id)!.status).toBe('killing')
    expect(await own.wait(task)).toMatchObject({ status: 'completed', outputPreview: 'hi\n' })
  }
  await eventually(() => told.length === 20, 'every completion is told')
  expect(told).toEqual(quick)
  expect(killed).toBe(0) // all of that took less than their grace

  for (const outcome of await Promise.all(killing)) expect(outcome).toMatchObject({ ...byUs, signal: 'SIGKILL' })
  subscription.close()
})

describe('what is asked for at the very end goes out, and only the answer is lost:', () => {
  const MANY = 64

  const start = ({ tasks }: HostScope, count: number, sessionId: string): Promise<string[]> =>
    Promise.all(
      Array.from({ length: count }, () => tasks.spawn('exec sleep 1000', { sessionId, shell: '/bin/sh', cwd: '/' })),
    )

  type Way = (scope: HostScope, ids: string[], sessionId: string) => unknown
  const killAtExit: Way = ({ tasks }, ids, sessionId) => {
    process.on('exit', () => ids.forEach((id) => void tasks.kill(id, { sessionId })))
    process.exit()
  }
  const killAtNaturalEnd: Way = ({ tasks }, ids, sessionId) => {
    process.on('exit', () => ids.forEach((id) => void tasks.kill(id, { sessionId })))
  }
  const killAndDetach: Way = ({ tasks }, ids, sessionId) => {
    const answers = ids.map((id) => tasks.kill(id, { sessionId }))
    tasks.detach()
    return Promise.allSettled(answers)
  }
  const shutDownAtExit: Way = ({ tasks }) => {
    process.on('exit', () => void tasks.shutdown())
    process.exit()
  }
  const shutDownAndDetach: Way = ({ tasks }) => {
    const answer = tasks.shutdown()
    tasks.detach()
    return Promise.allSettled([answer])
  }

  test.each<[string, Way, 'its own' | "another host's"]>([
    ['kill in an exit handler', killAtExit, 'its own'],
    ['kill in an exit handler', killAtExit, "another host's"],
    ['kill in the exit handler of a host that ends by itself', killAtNaturalEnd, 'its own'],
    ['kill before detach', killAndDetach, 'its own'],
    ['kill before detach', killAndDetach, "another host's"],
    ['shutdown in an exit handler', shutDownAtExit, 'its own'],
    ['shutdown before detach', shutDownAndDetach, 'its own'],
  ])('%s', async (title, way, whose) => {
    // P1
    const sessionId = `${title}, ${whose}`
    const starter = await host(store, { registry: { maxRunning: 100 } })
    const ids = await starter.call(start, MANY, sessionId)
    const asker = whose === 'its own' ? starter : await host(store)
    await asker.call(way, ids, sessionId).catch(() => {}) // an exit is no answer
    asker.leave()
    const ended = within(Promise.all(ids.map((id) => tasks.wait(id, { sessionId }))), 'all have ended')
    expect((await ended).map(({ cause }) => cause)).toEqual(Array(MANY).fill('kill'))
    await Promise.all([starter.kill(), asker.kill()])
  })

  test('kill of a task that is not there says so, before detach too', async () => {
    const node = await host(store)
    const answers = await node.call(killAndDetach, ['bash-0123456789abcdef', 'no id'], 'nobody')
    expect(answers).toMatchObject(Array(2).fill({ status: 'rejected', reason: { code: 'TASK_NOT_FOUND' } }))
    await node.kill()
  })

  test('shutdown leaves nothing behind of what was still to start', async () => {
    const sessionId = 'still to start'
    const node = await host(store, { registry: { maxRunning: 100 } })
    await node.call(start, 1, sessionId)
    const outcomes = await node.call(
      async ({ tasks }, count, sessionId) => {
        const spawns = Array.from({ length: count }, () => tasks.spawn('exec sleep 1000', { sessionId, cwd: '/' }))
        const answer = tasks.shutdown()
        tasks.detach()
        await answer.catch(() => {})
        return Promise.all(spawns.map((spawn) => spawn.catch(({ code }) => code)))
      },
      MANY,
      sessionId,
    )
    const started = outcomes.filter((outcome) => outcome !== 'REGISTRY_CLOSED')
    const known = tasks.list({ sessionId }).map(({ taskId }) => taskId)
    expect(known.slice(1)).toEqual(started)
    const ended = within(Promise.all(known.map((id) => tasks.wait(id, { sessionId }))), 'all have ended')
    expect((await ended).map(({ cause }) => cause)).toEqual(known.map(() => 'kill'))
    await node.kill()
  })
})

test("a finished task comes back as it is; an unknown one and another session's are TASK_NOT_FOUND", async () => {
  const ready = readyFifo(store)
  const task = await tasks.spawn('exit 3', { sessionId: 'mine' })
  const outcome = await tasks.wait(task)
  expect(await tasks.kill(task)).toEqual(outcome)

  const running = await tasks.spawn(patient(ready), { sessionId: 'mine' })
  await expect(tasks.kill(running, { sessionId: 'theirs' })).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
  await expect(tasks.kill('bash-0000000000000000')).rejects.toMatchObject({
    code: 'TASK_NOT_FOUND',
    message: expect.stringContaining('bash-0000000000000000'),
  })
  expect(tasks.status(running)!.status).toBe('running')
  await tasks.kill(running, { sessionId: 'mine' })
})
