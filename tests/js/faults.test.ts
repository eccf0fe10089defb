/** Steps that the system refuses, one after the other: what could not be done is said, and nothing is left half done. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Completion, TaskSnapshot } from 'outlive'
import { addonWithFailpoints, failpoints } from './support/failpoints'
import { gate, patient, processesOf, readyFifo, statOf, stop, treeOf } from './support/guests'
import { type HostScope, host } from './support/host'
import { eventually, temporaryStore, within } from './support/store'

let addon: string

beforeAll(async () => {
  addon = await addonWithFailpoints()
}, 300_000)

/** The steps of a spawn that can fail, in their order, each with an error that it gets once. */
function refusalsOfSpawn(): [point: string, error: string][] {
  const points = failpoints('host')
  const onDisk = points.slice(0, points.indexOf('host.before_executable_draft'))
  return [...onDisk.map((point): [string, string] => [point, 'ENOSPC']), ['host.before_spawn', 'EMFILE']]
}

async function spawnOnce({ tasks }: HostScope, mark: string): Promise<string | undefined> {
  return tasks.spawn(`: > ${mark}; exit 7`).then(
    () => undefined,
    (error) => `${error.code} ${error.cause?.code}`,
  )
}

test('a spawn that is refused is told as no end, also where its files cannot go', async () => {
  // P32 D22
  const store = temporaryStore()
  const plan = 'host.before_spawn=1*error(ENFILE);host.before_remove=1*error(ENFILE)'
  const node = await host(store, { env: { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: plan } })
  expect(await node.call(spawnOnce, 'mark')).toBe('SPAWN_FAILED ENFILE')
  const known = await node.call(async ({ tasks }) => [await tasks.replay(), tasks.list(), tasks.drain()])
  expect(known).toEqual([{ finished: 0, lost: 0, pending: 0, running: 0, unreadable: [] }, [], []])
})

test('a spawn that is refused at any step rejects, leaves nothing behind, and the next one works', async () => {
  // R17 P32 D22
  const store = temporaryStore()
  const refusals = refusalsOfSpawn()
  const plan = refusals.map(([point, error]) => `${point}=1*error(${error})`).join(';')
  const node = await host(store, { env: { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: plan } })
  const mark = join(store.dir, 'mark')

  for (const [point, error] of refusals) {
    const code = point === 'host.before_spawn' ? 'SPAWN_FAILED' : 'STORAGE_FAILED'
    expect(`${point}: ${await node.call(spawnOnce, mark)}`).toBe(`${point}: ${code} ${error}`)
    const left = (readdirSync(store.dir, { recursive: true }) as string[]).filter((path) =>
      /bash-|session\./.test(path),
    )
    expect({ point, left, ran: existsSync(mark) }).toEqual({ point, left: [], ran: false })
  }
  const told = await node.call(async ({ tasks }) => {
    const id = await tasks.spawn('exit 7')
    await tasks.wait(id)
    return tasks.drain().map((news) => [news.taskId === id, news.exitCode])
  })
  expect(told).toEqual([[true, 7]])
})

/** The steps after a start that can fail: what must hold, what the step gets, what a host does then, and what it has to see. */
const refusalsAfterTheStart: [what: string, plan: string, order: (scope: HostScope) => unknown, seen: unknown][] = [
  [
    'a drain rejects when it could accept nothing, else returns what it has accepted; the rest stays pending',
    'host.before_delivered=1*error(EIO)->1*off->1*error(EIO)',
    async ({ tasks }) => {
      const ids: string[] = []
      for (const command of ['exit 1', 'exit 2', 'exit 3']) {
        ids.push(await tasks.spawn(command))
        await tasks.wait(ids.at(-1)!)
      }
      const drain = () => {
        try {
          return tasks.drain().map(({ taskId }) => ids.indexOf(taskId))
        } catch (error) {
          const { code, cause } = error as NodeJS.ErrnoException
          return [code, (cause as NodeJS.ErrnoException).code]
        }
      }
      return [drain(), drain(), drain()]
    },
    [['STORAGE_FAILED', 'EIO'], [0], [1, 2]],
  ],
  [
    'an ack says so and takes the others; what it could not take stays pending',
    'host.before_delivered=1*error(EIO)',
    async ({ tasks }) => {
      const ids = [await tasks.spawn('true'), await tasks.spawn('true')]
      for (const id of ids) await tasks.wait(id)
      const pending = () => tasks.pending().map(({ taskId }) => ids.indexOf(taskId))
      try {
        return tasks.ack(ids)
      } catch (error) {
        return [(error as NodeJS.ErrnoException).code, pending(), tasks.ack(ids), pending()]
      }
    },
    ['STORAGE_FAILED', [0], 1, []],
  ],
  [
    'a callback that has taken its completion is not called again, and whoever is next is',
    'host.before_delivered=2*error(EIO)',
    async ({ outlive, tasks }) => {
      const warnings: string[] = []
      process.on('warning', ({ message }) => warnings.push(message))
      const ids: string[] = []
      const heard: (string | number)[][] = []
      const listen = (registry: typeof tasks, who: string, count: number) =>
        new Promise<() => void>((resolve) => {
          const subscription = registry.onCompletion(({ taskId, attempt }) => {
            heard.push([who, ids.indexOf(taskId), attempt])
            if (heard.length === count) resolve(() => subscription.close())
          })
        })
      const first = listen(tasks, 'first', 2)
      for (const command of ['exit 1', 'exit 2']) {
        ids.push(await tasks.spawn(command))
        await tasks.wait(ids.at(-1)!)
      }
      const close = await first
      const next = new outlive.TaskRegistry(JSON.parse(process.env.HOST_REGISTRY!))
      const told = listen(next, 'next', 4)
      // What holds the session until then is the subscription alone.
      close()
      await told
      return [heard, warnings.map((warning) => warning.replace(ids[0]!, 'the first'))]
    },
    [
      [
        ['first', 0, 1],
        ['first', 1, 1],
        ['next', 0, 2],
        ['next', 1, 2],
      ],
      ['the delivery of the first could not be recorded'],
    ],
  ],
  [
    'a callback is called although nobody could note that, and again when it fails',
    'host.before_lease=error(EIO)',
    async ({ tasks }) => {
      const attempts: number[] = []
      const told = new Promise<void>((resolve) => {
        tasks.onCompletion(({ attempt }) => {
          attempts.push(attempt)
          if (attempts.length === 1) throw new Error('the first time')
          resolve()
        })
      })
      await tasks.wait(await tasks.spawn('exit 3'))
      await told
      return [attempts, tasks.drain()]
    },
    [[1, 2], []],
  ],
  [
    'a completion that is told again says which time it is, also when nobody could note those before',
    'host.before_lease=1*off->error(EIO)',
    async ({ tasks }) => {
      const attempts: number[] = []
      const closed = new Promise<void>((resolve) => {
        const told = ({ taskId, attempt }: Completion) => {
          attempts.push(attempt)
          if (attempts.length < 3) return tasks.release([taskId])
          subscription.close()
          resolve()
        }
        const subscription = tasks.onCompletion(told, { ack: 'manual' })
      })
      await tasks.spawn('exit 3')
      await closed
      return [attempts, tasks.pending().map(({ attempt }) => attempt), tasks.drain().map(({ attempt }) => attempt)]
    },
    [[1, 2, 3], [4], [4]],
  ],
  [
    'a kill rejects, and its task goes on as running',
    'host.before_order=1*error(EIO)',
    async ({ tasks }) => {
      const id = await tasks.spawn('exec sleep 1000')
      const code = await tasks.kill(id).then(
        () => 'killed',
        (error) => error.code,
      )
      return [code, tasks.status(id)?.status, (await tasks.kill(id)).status]
    },
    ['STORAGE_FAILED', 'running', 'killed'],
  ],
  [
    'a shutdown ends the others, and says how that one stands',
    'host.before_order=1*error(EIO)',
    async ({ tasks }) => {
      for (const command of ['exec sleep 1000', 'exec sleep 1001']) await tasks.spawn(command)
      return (await tasks.shutdown()).map(({ status }) => status).sort()
    },
    ['killed', 'running'],
  ],
  [
    'a cleanup removes the others, and rejects where it could remove none',
    'host.before_remove=1*error(EIO)->2*off->1*error(EIO)',
    async ({ tasks }) => {
      for (let count = 0; count < 3; count++) await tasks.wait(await tasks.spawn('true', { notify: false }))
      const cleanup = async () => [
        await tasks.cleanup({ olderThanMs: 0 }).catch((error) => error.cause.code),
        tasks.list().length,
      ]
      return [await cleanup(), await cleanup(), await cleanup()]
    },
    [
      [2, 1],
      ['EIO', 1],
      [1, 0],
    ],
  ],
]

test('each step after a start that can be refused is refused below', () => {
  const points = failpoints('host')
  const later = points
    .slice(points.indexOf('host.before_spawn') + 1)
    .filter((point) => point.startsWith('host.before_'))
  const plans = refusalsAfterTheStart.map(([, plan]) => plan.slice(0, plan.indexOf('=')))
  // At the others a host can only pause or die.
  expect(later.filter((point) => !plans.includes(point))).toEqual(['host.before_start_told', 'host.before_sweep'])
})

test.each(refusalsAfterTheStart)('where the disk refuses, %s', async (_, plan, order, seen) => {
  // D16 R17
  const store = temporaryStore()
  const node = await host(store, { env: { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: plan } })
  expect(await within(Promise.resolve(node.call(order)), plan)).toEqual(seen)
  await node.kill()
})

test('a supervisor that is refused what it needs before the command runs says so, and the command never ran', async () => {
  // P30 R17
  const store = temporaryStore()
  const node = await host(store, { env: { OUTLIVE_NATIVE: addon } })
  const steps = ['before_leader', 'before_started_json', 'before_started_json_content', 'before_exec', 'before_reason']
  for (const step of steps) {
    // What is wanting for a step may be wanting for the news of that, too.
    const plan = `supervisor.${step}=error(ENOSPC)${step === 'before_reason' ? ';supervisor.before_exec=error(ENOMEM)' : ''}`
    const mark = join(store.dir, step)
    const ended = await node.call(endOf, `: > ${mark}`, plan)
    expect({ step, ...ended, ran: existsSync(mark) }).toEqual({
      step,
      end: 'failed spawn_error null',
      told: 1,
      ran: false,
    })
  }
})

test('what a supervisor cannot record is lost or known from its end, and never made up', async () => {
  // R18 D22
  const store = temporaryStore()
  const node = await host(store, { env: { OUTLIVE_NATIVE: addon } })
  const end = (command: string, step: string, error: string) =>
    node.call(endOf, command, `supervisor.${step}=error(${error})`)
  expect(await end('exit 3', 'before_publish', 'EIO')).toEqual({ end: 'lost supervisor_lost null', told: 1 })
  expect(await end('sleep 1000 & exit 3', 'before_closed_json', 'ENOSPC')).toEqual({ end: 'failed exit 3', told: 1 })
})

test.each(['ENOSPC', 'EDQUOT', 'EIO'])(
  'an end whose record the disk refuses with %s is told when the disk takes it',
  async (error) => {
    // R17 R18
    const store = temporaryStore()
    const node = await host(store, { env: { OUTLIVE_NATIVE: addon } })
    const plan = `supervisor.before_publish=2*error(${error})`
    for (const command of ['exit 3', 'sleep 1000 & exit 3']) {
      expect(await node.call(endOf, command, plan)).toEqual({ end: 'failed exit 3', told: 1 })
    }
  },
)

test('an end for which there is no room and that somebody asks for is not waited for longer than the grace', async () => {
  // R17 P1
  const store = temporaryStore()
  const node = await host(store, { env: { OUTLIVE_NATIVE: addon } })
  const env = { OUTLIVE_FAILPOINTS: 'supervisor.before_publish=error(ENOSPC)' }
  const ready = readyFifo(store)
  for (const command of ['exit 3', `${patient(ready)} & exit 3`, patient(ready)]) {
    const id = await node.call(({ tasks }, command, env) => tasks.spawn(command, { env }), command, env)
    if (command === 'exit 3') await eventually(() => treeOf(id).length === 0, 'the command has ended')
    else await ready.line()
    expect(await node.call(({ tasks }, id) => tasks.status(id)?.status, id)).toBe('running')
    expect(await node.call(({ tasks }, id) => tasks.kill(id, { graceMs: 500 }), id)).toMatchObject({
      status: 'lost',
      cause: 'supervisor_lost',
      error: expect.stringMatching(/^its supervisor is gone and has left no record;/),
    })
    expect(processesOf(id)).toEqual([])
  }
})

test.each(['ENOSPC', 'ENFILE'])(
  'output that cannot be cut for %s is cut later, and its command runs on',
  async (shortage) => {
    // O1 R17
    const store = temporaryStore()
    const node = await host(store, { env: { OUTLIVE_NATIVE: addon } })
    const go = gate(store)
    const command = `head -c 400000 /dev/zero; read _ < ${go.path}; exit 4`
    const end = node.call(endOf, command, `supervisor.before_dropped_json=2*error(${shortage})`)
    const isCut = () => store.taskIds().some((id) => existsSync(join(store.taskDir(id)!, 'dropped.json')))
    await Promise.race([end, eventually(isCut, 'a record of what is gone')])
    go.open()
    expect(await end).toEqual({ end: 'failed exit 4', told: 1 })
  },
)

test.each([
  ['before_dropped_json', 'ENFILE'],
  ['before_punch', 'ENOMEM'],
])('output that %s lets nobody cut for long, for %s, stops its command', async (step, shortage) => {
  // O1
  const store = temporaryStore()
  const node = await host(store, { env: { OUTLIVE_NATIVE: addon } })
  const ended = await node.call(async ({ tasks }, OUTLIVE_FAILPOINTS) => {
    const command = 'while head -c 65536 /dev/zero; do sleep 0.05; done'
    const id = await tasks.spawn(command, { maxOutputBytes: 65536, graceMs: 0, env: { OUTLIVE_FAILPOINTS } })
    const { status, cause } = await tasks.wait(id)
    return { status, cause }
  }, `supervisor.${step}=error(${shortage})`)
  expect(ended).toEqual({ status: 'killed', cause: 'output_limit' })
})

test('what a command leaves behind in time may stay, however late its supervisor looks at the deadline', async () => {
  // P8 P14
  const store = temporaryStore()
  const node = await host(store, { env: { OUTLIVE_NATIVE: addon } })
  const go = gate(store)
  const end = node.call(
    async ({ tasks }, command, plan) => {
      const id = await tasks.spawn(command, { env: { OUTLIVE_FAILPOINTS: plan }, timeoutMs: 200 })
      const { status, exitCode } = await tasks.wait(id)
      return { id, status, exitCode }
    },
    `read _ < ${go.path} && echo stayed & exit 3`,
    'supervisor.after_start_told=delay(1000ms)',
  )
  const { id, ...seen } = await end
  expect(seen).toEqual({ status: 'failed', exitCode: 3 })
  const { supervisorPid } = JSON.parse(readFileSync(join(store.taskDir(id)!, 'started.json'), 'utf8'))
  await eventually(() => statOf(supervisorPid)?.state === 'S', 'its supervisor has done what it had to')
  go.open()
  await eventually(() => processesOf(id).length === 0, 'an end of what was left behind')
  expect(await node.call(({ tasks }, id) => tasks.output(id).text, id)).toBe('stayed\n')
})

test('a spawn whose task was told and removed by another host before it was answered resolves: it has run', async () => {
  // D22
  const store = temporaryStore()
  const sessionId = 'quick'
  const owner = store.registry()
  const told: string[] = []
  owner.onCompletion(({ taskId }) => void told.push(taskId), { sessionId })
  owner.list({ sessionId })
  const env = { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: 'host.after_spawn=delay(1000ms)' }
  const slow = await host(store, { env })
  const spawned = slow.call(
    ({ tasks }, sessionId) =>
      tasks.spawn('exit 7', { sessionId }).catch((error: NodeJS.ErrnoException) => `${error.code}: ${error.message}`),
    sessionId,
  )
  await eventually(() => told.length === 1, 'the owner tells it')
  await stop(slow.pid)
  await eventually(() => processesOf(told[0]!).length === 0, 'its supervisor is gone')
  await eventually(async () => (await owner.cleanup({ olderThanMs: 0 })) === 1, 'it is removed')
  process.kill(slow.pid, 'SIGCONT')
  expect(await spawned).toBe(told[0])
  expect(await slow.call(({ tasks }, id) => tasks.status(id), told[0]!)).toBeNull()
  await slow.kill()
})

test('a command that ran before its host looked, and whose record cannot be read, is lost: its spawn is not refused', async () => {
  // D22 P23
  const store = temporaryStore()
  const sessionId = 'spoilt'
  const env = { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: 'host.after_spawn=delay(1000ms)' }
  const slow = await host(store, { env })
  const command = `echo ran; cd "${store.dir}"/*/$OUTLIVE_TASK_ID && echo '{"version":1}' 1<>ended.json; kill -9 $PPID`
  const spawned = slow.call(({ tasks }, sessionId, command) => tasks.spawn(command, { sessionId }), sessionId, command)
  // While it waits it is stopped, so that it looks at nothing before all is over.
  const made = await eventually(() => store.taskIds()[0], 'its directory is made')
  await eventually(() => existsSync(join(store.taskDir(made)!, 'started.json')), 'it is started')
  await stop(slow.pid)
  const record = join(store.taskDir(made)!, 'ended.json')
  await eventually(() => readFileSync(record, 'latin1').startsWith('{"version":1}'), 'it has spoilt its record')
  await eventually(() => processesOf(made).length === 0, 'its supervisor is gone')
  process.kill(slow.pid, 'SIGCONT')
  const id = await within(spawned, 'the spawn is answered')
  const ended = await slow.call(({ tasks }, id) => tasks.wait(id), id)
  expect(ended).toMatchObject({ status: 'lost', cause: 'supervisor_lost', exitCode: null, outputPreview: 'ran\n' })
  expect(ended.error).toMatch(/its record cannot be read/)
  expect(existsSync(store.taskDir(id)!)).toBe(true)
  await slow.kill()
})

describe('at the last moment somebody puts his own file in the place of', () => {
  /** A host that waits at a point of its second spawn, what it was asked to run, and a script that must not run in its place. */
  async function waitingAt(point: string, make: (task: string, script: string) => void): Promise<string[]> {
    const store = temporaryStore()
    const env = { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: `${point}=1*off->delay(1000ms)` }
    const node = await host(store, { env })
    const first = await node.call(async ({ tasks }) => {
      const id = await tasks.spawn('true', { notify: false })
      await tasks.wait(id)
      return id
    })
    const files = ['asked', 'planted', 'script'].map((name) => join(store.dir, name))
    const [asked, planted, script] = files as [string, string, string]
    writeFileSync(script, `#!/bin/sh\n: > ${planted}\n`, { mode: 0o700 })
    await node.call(({ tasks, shared }, command) => {
      shared.spawned = tasks.spawn(command, { notify: false }).catch(() => {})
    }, `: > ${asked}`)
    const isThere = (id: string) => id !== first && existsSync(join(store.taskDir(id)!, 'command'))
    const id = await eventually(() => store.taskIds().find(isThere), 'the second task is on its way')
    make(store.taskDir(id)!, script)
    await eventually(() => existsSync(asked) || existsSync(planted), 'something has run')
    await node.kill()
    return files.filter(existsSync).map((path) => basename(path))
  }

  test('the supervisor: what was checked is executed', async () => {
    const put = (task: string, script: string): void => {
      const root = join(task, '../..')
      const copy = readdirSync(root).find((name) => name.startsWith('supervisor-'))!
      copyFileSync(script, `${script}-copy`)
      renameSync(`${script}-copy`, join(root, copy))
    }
    expect(await waitingAt('host.before_spawn', put)).toEqual(['asked', 'script'])
  })

  test('the task’s directory: what was asked is executed', async () => {
    const put = (task: string, script: string): void => {
      renameSync(task, `${script}-aside`)
      mkdirSync(task)
      copyFileSync(script, join(task, 'command'))
    }
    expect(await waitingAt('host.before_captures', put)).toEqual(['asked', 'script'])
  })
})

/** Runs in a host: how a task ends under a plan for its supervisor, how often that is told; its tree is gone then. */
async function endOf({ tasks }: HostScope, command: string, plan: string) {
  const id = await tasks.spawn(command, { env: { OUTLIVE_FAILPOINTS: plan }, maxOutputBytes: 65536 })
  await tasks.wait(id)
  const { status, cause, exitCode } = await tasks.kill(id)
  return { end: `${status} ${cause} ${exitCode}`, told: tasks.drain().length }
}

test('what many supervisors that are killed at once leave behind is looked for once', async () => {
  // P2
  const store = temporaryStore()
  const env = { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: 'host.before_sweep=1*off->1*kill' }
  const node = await host(store, { env, registry: { maxRunning: 20 } })
  const ready = readyFifo(store)
  const start = ({ tasks }: HostScope, command: string) =>
    Promise.all(Array.from({ length: 20 }, () => tasks.spawn(command, { notify: false })))
  const ids = await node.call(start, patient(ready))
  // Until its exec a leader has its supervisor's descriptors too.
  for (const _ of ids) await ready.line()
  const supervisors = ids.flatMap((id) => processesOf(id).filter((pid) => !treeOf(id).includes(pid)))
  await node.call(({ tasks, shared }, ids) => {
    shared.ended = Promise.all(ids.map((id) => tasks.wait(id)))
    tasks.list() // behind the waits
  }, ids)
  // It hears of all of them at the same moment, and nobody asks in between.
  await stop(node.pid)
  for (const pid of supervisors) process.kill(pid, 'SIGKILL')
  await eventually(() => supervisors.every((pid) => statOf(pid)?.state === 'Z'), 'they are dead')
  process.kill(node.pid, 'SIGCONT')
  const ended: TaskSnapshot[] = await node.call(({ shared }) => shared.ended)
  expect(ended.map((task) => task.status)).toEqual(ids.map(() => 'lost'))
  await eventually(() => ids.flatMap(processesOf).length === 0, 'nothing of them is left')
  await node.kill()
})
