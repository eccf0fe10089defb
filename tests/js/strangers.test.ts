import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, closeSync, constants, copyFileSync, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Gate,
  gate,
  killProcessesOf,
  obedient,
  patient,
  processesOf,
  type ReadyFifo,
  readyFifo,
  statOf,
  stop,
  treeOf,
} from './support/guests'
import { type HostScope, host } from './support/host'
import { atTheEnd, eventually, temporaryStore, within } from './support/store'

const store = temporaryStore()

const FLAGS = ['--fork', '--pid', '--mount-proc', '--kill-child']
const mayUnshare = spawnSync('unshare', [...FLAGS, 'true']).status === 0
if (!mayUnshare)
  console.warn('skipped: a pid namespace of its own needs root (or a privileged container)')

  // The namespace has so few process ids that the same one comes round in a moment.
;(mayUnshare ? test : test.skip)('a stranger who was given the process id of a dead task is left alone', async () => {
  // P6
  const plugin = await host(store, { under: ['unshare', ...FLAGS] })
  const outcome = await plugin.call(async ({ outlive, tasks }, storageDir) => {
    const { spawn, spawnSync } = require('node:child_process') as typeof import('node:child_process')
    const { existsSync, readFileSync, writeFileSync } = require('node:fs') as typeof import('node:fs')
    const { dirname, join } = require('node:path') as typeof import('node:path')
    // The first 300 are not given out again.
    while ((spawnSync('true').pid ?? 0) <= 310);
    writeFileSync('/proc/sys/kernel/pid_max', '420')
    const id = await tasks.spawn('sleep 1000')
    const record = join(dirname(tasks.status(id)?.stdoutPath ?? ''), 'started.json')
    const { pid, supervisorPid } = JSON.parse(readFileSync(record, 'utf8'))
    // Nobody of ours sees how they die.
    tasks.detach()
    for (const one of [supervisorPid, pid]) process.kill(one, 'SIGKILL')
    const isThere = (one: number) => existsSync(`/proc/${one}/stat`)
    // As process 1 we inherit them, and the next spawn of any registry reaps what it started.
    const reaper = new outlive.TaskRegistry({ storageDir, maxRunning: 1000 })
    const spare = async () => reaper.wait(await reaper.spawn('true', { sessionId: 'spare', notify: false }))
    for (let i = 0; i < 100 && isThere(supervisorPid); i++) await spare()

    const strangers: ReturnType<typeof spawn>[] = []
    const wanted = () => strangers.find((child) => child.pid === supervisorPid)
    for (let i = 0; i < 2000 && wanted() === undefined; i++) {
      const child = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'], detached: true })
      await new Promise((resolve) => child.once('spawn', resolve))
      strangers.push(child)
      if (strangers.length > 20 && wanted() === undefined) strangers.shift()?.kill('SIGKILL')
    }
    const stranger = wanted()
    const next = new outlive.TaskRegistry({ storageDir })
    const killed = await next.kill(id)
    // One that was killed does not answer any more.
    const said = new Promise((resolve) => stranger?.once('exit', resolve).stdout?.once('data', resolve))
    stranger?.stdin?.write('here')
    const state = { met: stranger !== undefined, said: String(stranger && (await said)) }
    for (const child of strangers) child.kill('SIGKILL')
    return { state, status: killed.status, exitCode: killed.exitCode }
  }, store.dir)
  expect(outcome.state).toEqual({ met: true, said: 'here' })
  expect(outcome).toMatchObject({ status: 'lost', exitCode: null })
})

const OF_ANOTHER = FLAGS.filter((flag) => flag !== '--mount-proc')

;(mayUnshare ? test : test.skip)(
  'where /proc is another namespace’s, what is left of a task is killed and no stranger',
  async () => {
    // P6
    const plugin = await host(store, { under: ['unshare', ...OF_ANOTHER] })
    const ready = readyFifo(store)
    const sessionId = 'foreign numbers'
    const start = (command: string) =>
      plugin.call(({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId }), command, sessionId)
    // In a session of its own: it does not die with its parent.
    const id = await start(`setsid sh -c '${patient(ready)}' & wait`)
    await ready.line()
    const isLeft = (pid: number) => statOf(pid)?.sid === pid && readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n'
    const left = await eventually(() => treeOf(id).find(isLeft), 'a sleeper in a session of its own')
    await plugin.call(
      async ({ tasks, shared }, id, sessionId, left) => {
        const { spawn } = require('node:child_process') as typeof import('node:child_process')
        const { readFileSync, writeFileSync } = require('node:fs') as typeof import('node:fs')
        const { dirname, join } = require('node:path') as typeof import('node:path')
        // In this namespace the number of what is left is another's.
        do {
          shared.stranger?.kill('SIGKILL')
          writeFileSync('/proc/sys/kernel/ns_last_pid', String(left - 1))
          shared.stranger = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] })
        } while (shared.stranger.pid !== left)
        const { stranger } = shared
        shared.said = new Promise((resolve) => stranger.once('exit', resolve).stdout.once('data', resolve))
        const record = join(dirname(tasks.status(id, { sessionId })?.stdoutPath ?? ''), 'started.json')
        process.kill(JSON.parse(readFileSync(record, 'utf8')).supervisorPid, 'SIGKILL')
      },
      id,
      sessionId,
      left,
    )
    const lost = await plugin.call(({ tasks }, id, sessionId) => tasks.wait(id, { sessionId }), id, sessionId)
    expect(lost).toMatchObject({ status: 'lost', exitCode: null })
    await eventually(() => processesOf(id).length === 0, 'nothing of the task is left')
    const said = await plugin.call(async ({ shared }) => {
      shared.stranger.stdin.write('here')
      return String(await shared.said)
    })
    expect(said).toBe('here')
  },
)

;(mayUnshare ? test : test.skip)(
  'where /proc is another namespace’s, no stranger there is taken for a process of the task',
  async () => {
    // P6
    const plugin = await host(store, { under: ['unshare', ...OF_ANOTHER] })
    // Two numbers in a row: a shell with two children, the first of which lets SIGTERM end it.
    const first = await eventually(() => {
      const shell = spawn('sh', ['-c', 'sleep 1000 & sleep 1000 & wait'], { detached: true })
      atTheEnd(() => process.kill(-shell.pid!, 'SIGKILL'))
      const children = () => readFileSync(`/proc/${shell.pid}/task/${shell.pid}/children`, 'utf8').trim().split(' ')
      while (children().length < 2);
      return Number(children()[0]) === shell.pid! + 1 ? shell.pid : undefined
    }, 'a shell and its child with numbers in a row')
    const ready = readyFifo(store)
    const outcome = await plugin.call(
      async ({ tasks }, first, command) => {
        const { readFileSync, writeFileSync } = require('node:fs') as typeof import('node:fs')
        const { dirname, join } = require('node:path') as typeof import('node:path')
        for (;;) {
          writeFileSync('/proc/sys/kernel/ns_last_pid', String(first - 1))
          const id = await tasks.spawn(command)
          const record = join(dirname(tasks.status(id)?.stdoutPath ?? ''), 'started.json')
          const { pid, supervisorPid } = JSON.parse(readFileSync(record, 'utf8'))
          if (supervisorPid === first && pid === first + 1) return { id, descendants: tasks.status(id)?.descendants }
          await tasks.kill(id, { signal: 'SIGKILL' })
        }
      },
      first,
      `trap 'exit 0' TERM; while :; do echo $$ > ${ready.path}; read -t 60 _ <> ${gate(store).path}; done`,
    )
    expect(outcome.descendants).toBe(0)
    while (Number(await ready.line()) !== first + 1);
    const killed = await plugin.call(({ tasks }, id) => tasks.kill(id), outcome.id)
    expect(killed).toMatchObject({ status: 'killed', cause: 'kill', exitCode: 0 })
  },
)

;(mayUnshare ? test : test.skip)(
  'no process of a container is taken for one of a task that a host in another container has started',
  async () => {
    // P6
    const own = { under: ['unshare', ...FLAGS] }
    const [there, here] = await Promise.all([host(store, own), host(store, own)])
    const sessionId = 'two containers'
    const ready = readyFifo(store)
    const start = ({ tasks }: HostScope, command: string, sessionId: string) => tasks.spawn(command, { sessionId })
    const id = await there.call(start, patient(ready), sessionId)
    await ready.line()
    const seen = await here.call(
      ({ tasks }, id, sessionId) => {
        const { spawn } = require('node:child_process') as typeof import('node:child_process')
        const { readFileSync, writeFileSync } = require('node:fs') as typeof import('node:fs')
        const { dirname, join } = require('node:path') as typeof import('node:path')
        const record = join(dirname(tasks.status(id, { sessionId })?.stdoutPath ?? ''), 'started.json')
        const { supervisorPid } = JSON.parse(readFileSync(record, 'utf8'))
        // In this container its number is a shell's with two children.
        let stranger: ReturnType<typeof spawn> | undefined
        do {
          stranger?.kill('SIGKILL')
          writeFileSync('/proc/sys/kernel/ns_last_pid', String(supervisorPid - 1))
          stranger = spawn('sh', ['-c', 'sleep 1000 & sleep 1000 & wait'])
        } while (stranger.pid !== supervisorPid)
        const children = () => readFileSync(`/proc/${stranger.pid}/task/${stranger.pid}/children`, 'utf8').trim()
        while (children().split(' ').length < 2);
        const { status, descendants } = tasks.status(id, { sessionId })!
        return { status, descendants }
      },
      id,
      sessionId,
    )
    expect(seen).toEqual({ status: 'running', descendants: 0 })
    await Promise.all([there.kill(), here.kill()])
  },
)

;(mayUnshare ? test : test.skip)(
  'where /proc is that of a namespace around ours, a kill reaches sessions of their own too, deeper namespaces included',
  async () => {
    // P29
    const plugin = await host(store, { under: ['unshare', ...OF_ANOTHER] })
    const ready = readyFifo(store)
    // The first process of a namespace ends by SIGKILL only.
    const sleeper = `setsid sh -c '${patient(ready)}'`
    const id = await plugin.call(
      ({ tasks }, command) => tasks.spawn(command),
      `${sleeper} & unshare --fork --pid ${sleeper} & wait`,
    )
    for (const _ of 'ab') await ready.line()
    const killed = await plugin.call(({ tasks }, id) => tasks.kill(id, { graceMs: 100 }), id)
    expect(killed).toMatchObject({ status: 'killed', signal: 'SIGTERM' })
    await eventually(() => processesOf(id).length === 0, 'its supervisor has gone too')
  },
)

const lingering = (ready: ReadyFifo, wait: Gate) =>
  `setsid sh -c '${patient(ready)}' & sh -c '${patient(ready)}' & ${obedient(ready, wait)}`

;(mayUnshare ? test : test.skip).each([
  ['where /proc is that of a namespace around ours', [OF_ANOTHER]],
  ['in another container', [FLAGS, FLAGS]],
])('a host %s is told what a command has left as it was counted at its end', async (where, namespaces) => {
  const hosts = await Promise.all(namespaces.map((flags) => host(store, { under: ['unshare', ...flags] })))
  const [there, here] = [hosts[0]!, hosts.at(-1)!]
  const [ready, wait] = [readyFifo(store), gate(store)]
  const sessionId = `counted ${where}`
  const start = ({ tasks }: HostScope, command: string, sessionId: string) => tasks.spawn(command, { sessionId })
  const id = await there.call(start, lingering(ready, wait), sessionId)
  for (const _ of 'abc') await ready.line()
  wait.open()
  const seen = await here.call(
    async ({ tasks }, id, sessionId) => [
      (await tasks.wait(id, { sessionId })).descendants,
      ...tasks.drain({ sessionId }).map(({ descendants }) => descendants),
      (await tasks.kill(id, { sessionId })).descendants,
    ],
    id,
    sessionId,
  )
  expect(seen).toEqual([2, 2, 0])
  await Promise.all(hosts.map((each) => each.kill()))
})

const isRoot = process.getuid?.() === 0
const AS_NOBODY = isRoot ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []

/** A program that any user can run, for as long as these tests run. */
function strange(program: string, argument: string, env: Record<string, string> = {}) {
  chmodSync(store.dir, 0o711)
  const [name, ...rest] = [...AS_NOBODY, program, argument]
  const stranger = spawn(name!, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  atTheEnd(() => stranger.kill('SIGKILL'))
  return stranger
}

;(isRoot ? test : test.skip).each([
  ['a program of his', 0o755],
  ['a set-user-id program', 0o4755],
])(
  'a stranger who runs %s under a supervisor’s name and a task’s mark keeps no end from being told',
  async (_, mode) => {
    const sessionId = `named ${mode}`
    const first = await host(store)
    const id = await first.call(({ tasks }, sessionId) => tasks.spawn('sleep 1000', { sessionId }), sessionId)
    await first.kill()
    await killProcessesOf([id])
    const program = join(store.dir, 'outlive-supervisor')
    copyFileSync('/bin/sleep', program)
    chmodSync(program, mode)
    const stranger = strange(program, '1000', { OUTLIVE_TASK_ID: id })
    const isUp = () => readFileSync(`/proc/${stranger.pid}/comm`, 'latin1') === 'outlive-supervi\n'
    await eventually(isUp, 'the stranger has its name')
    const tasks = store.registry()
    expect(await tasks.replay(sessionId)).toMatchObject({ lost: 1, unreadable: [] })
  },
)

/** What somebody gets who reads a FIFO of the store, as a search through all files does. */
function takeFrom(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const bytes = Buffer.alloc(4096)
    return bytes.toString('utf8', 0, readSync(fd, bytes))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    return ''
  } finally {
    closeSync(fd)
  }
}

test('an order that somebody else has read from its FIFO is sent again', async () => {
  // P1 P3
  const tasks = store.registry()
  const id = await tasks.spawn('sleep 1000')
  const dir = store.taskDir(id)!
  // Nobody but root can without it.
  chmodSync(join(dir, 'control'), 0o600)
  const { supervisorPid } = JSON.parse(readFileSync(join(dir, 'started.json'), 'utf8'))
  await stop(supervisorPid)
  const killed = tasks.kill(id, { graceMs: 0 })
  const order = await eventually(() => takeFrom(join(dir, 'control')), 'the order has been taken')
  expect(order).toMatch(/\n$/)
  process.kill(supervisorPid, 'SIGCONT')
  expect(await within(killed, 'it is killed all the same')).toMatchObject({ status: 'killed', descendants: 0 })
})

test('an end whose bell somebody else has taken is told while others of the task live', async () => {
  // D6 P4
  const sessionId = 'taken'
  const wait = gate(store)
  const node = await host(store)
  const id = await node.call(
    async ({ tasks, say }, command, sessionId) => {
      tasks.onCompletion(({ taskId, descendants }) => say([taskId, descendants]), { sessionId })
      return tasks.spawn(command, { sessionId })
    },
    `sleep 1000 & read _ < ${wait.path}; exit 3`,
    sessionId,
  )
  const dir = store.taskDir(id)!
  await stop(node.pid)
  wait.open()
  await eventually(() => readFileSync(join(dir, 'ended.json'), 'utf8').endsWith('}\n'), 'the end is on disk')
  for (const time of ['first', 'second'])
    await eventually(() => takeFrom(join(dir, 'events')), `its bell has been taken for the ${time} time`)
  process.kill(node.pid, 'SIGCONT')
  expect(await node.heard('the end')).toEqual([id, 1])
  await killProcessesOf([id])
})

test('a process that shows half a gigabyte as its environment, whosever it is, costs a host no such memory', async () => {
  const program = join(store.dir, 'moved')
  execFileSync('cc', ['-O1', '-Wall', '-Werror', '-o', program, join(__dirname, 'support/moved.c')])
  const stranger = strange(program, '512')
  const said = await new Promise((resolve) => stranger.once('exit', resolve).stdout.once('data', resolve))
  if (String(said) !== 'moved\n') return console.warn('skipped: this kernel moves no environment')
  const node = await host(store)
  const status = await node.call(async ({ tasks }) => {
    const id = await tasks.spawn('kill -9 $PPID; sleep 1000', { sessionId: 'moved' })
    return (await tasks.wait(id)).status
  })
  expect(status).toBe('lost')
  // It has looked for what is left of the task before it goes on.
  await node.call(async ({ tasks }) => tasks.wait(await tasks.spawn('true', { sessionId: 'moved' })))
  const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${node.pid}/status`, 'utf8'))![1]
  expect(Number(peak)).toBeLessThan(400_000)
})
