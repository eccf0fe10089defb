import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TaskRegistry } from 'outlive'
import { patient, processesOf, readyFifo, stop } from './support/guests'
import { type Host, host } from './support/host'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const refuse = `${store.dir}-refuse`

beforeAll(() => {
  execFileSync('cc', ['-O1', '-Wall', '-Werror', '-o', refuse, join(__dirname, 'support/refuse.c')])
})
afterAll(() => execFileSync('rm', [refuse]))

/** What a host and its supervisors ask of the kernel that older ones, and profiles of containers, may not have. */
const calls = [
  'close_range',
  'epoll_pwait2',
  'execveat',
  'faccessat2',
  'fallocate',
  'memfd_create',
  'openat2',
  'pidfd_open',
  'pidfd_send_signal',
  'preadv2',
  'prlimit64',
  'renameat2',
  'sched_setattr',
  'sched_setscheduler',
  'statx',
]

describe.each(['ENOSYS', 'EPERM'])('a kernel that answers %s to', (error) => {
  // A Node that is answered EPERM to clone3 cannot start its own threads.
  const refused = error === 'ENOSYS' ? [...calls, 'clone3'] : calls
  test.each(refused)('%s: tasks start, are told, read and ended as elsewhere', async (call) => {
    const node = await host(store, { under: [refuse, error, call] })
    expect(readFileSync(`/proc/${node.pid}/status`, 'utf8')).toMatch(/^Seccomp:\t2$/m)
    const seen = await node.call(async ({ tasks }) => {
      const sessionId = `refused ${process.pid}`
      const told: string[] = []
      tasks.onCompletion(
        ({ status, exitCode, outputPreview }) => void told.push(`${status} ${exitCode} ${outputPreview}`),
        {
          sessionId,
        },
      )
      const ended = await tasks.wait(await tasks.spawn('echo out; sleep 600 & exit 3', { sessionId, cleanup: 'kill' }))
      const slow = await tasks.spawn('trap "" TERM; echo ready; while :; do sleep 600 & wait; done', { sessionId })
      while (tasks.output(slow, { sessionId }).text === '') await new Promise(setImmediate)
      const killed = await tasks.kill(slow, { sessionId, graceMs: 1 })
      while (told.length < 2) await new Promise(setImmediate)
      return { ids: [ended.taskId, slow], ended: ended.exitCode, killed: killed.status, told }
    })
    expect(seen).toMatchObject({ ended: 3, killed: 'killed', told: ['failed 3 out\n', 'killed null ready\n'] })
    await eventually(() => seen.ids.every((id) => processesOf(id).length === 0), 'an end of all processes')
    await node.kill()
  })

  test('pidfd_send_signal: what a vanished supervisor has left is ended', async () => {
    // P2
    const node = await host(store, { under: [refuse, error, 'pidfd_send_signal'] })
    const sessionId = `left by a supervisor, ${error}`
    const spawn = (command: string) =>
      node.call(({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId }), command, sessionId)
    const id = await startThree({ spawn }, sessionId)
    process.kill(supervisorOf(id), 'SIGKILL')
    const lost = await node.call(({ tasks }, id, sessionId) => tasks.wait(id, { sessionId }), id, sessionId)
    expect(lost).toMatchObject({ status: 'lost', descendants: 0 })
    await eventually(() => processesOf(id).length === 0, 'nothing of the task is left')
    await node.kill()
  })
})

/** Starts a task of three processes. Two of them, in sessions of their own, do not die with its supervisor. */
async function startThree(tasks: Pick<TaskRegistry, 'spawn'>, sessionId: string): Promise<string> {
  const ready = readyFifo(store)
  const sleeper = `setsid sh -c '${patient(ready)}' & `
  const id = await tasks.spawn(`${sleeper.repeat(2)}${patient(ready)}`, { sessionId })
  for (const _ of 'abc') await ready.line()
  return id
}

function supervisorOf(id: string): number {
  return JSON.parse(readFileSync(join(store.taskDir(id)!, 'started.json'), 'utf8')).supervisorPid
}

/** A host none of whose signals reaches anybody. */
function powerless(): Promise<Host> {
  return host(store, { under: ['pidfd_send_signal', 'kill'].flatMap((call) => [refuse, 'EPERM', call]) })
}

test('what a vanished supervisor has left and no signal reaches is counted, and neither called ended nor removed', async () => {
  // P2
  const sessionId = 'out of reach'
  const start = store.registry()
  const id = await startThree(start, sessionId)
  // It would end them.
  start.detach()
  process.kill(supervisorOf(id), 'SIGKILL')
  const node = await powerless()
  const seen = await node.call(
    async ({ tasks }, id, sessionId) => {
      const lost = await tasks.wait(id, { sessionId })
      const killed = await tasks.kill(id, { sessionId }).catch(({ code, message, cause }) => ({ code, message, cause }))
      const told = tasks.drain({ sessionId })
      const removed = await tasks.cleanup({ olderThanMs: 0, undeliveredOlderThanMs: 0 })
      return { lost, killed, told, removed }
    },
    id,
    sessionId,
  )
  expect(seen.lost).toMatchObject({ status: 'lost', descendants: 2 })
  expect(seen.killed).toMatchObject({
    code: 'KILL_REFUSED',
    message: expect.stringContaining(id),
    cause: { code: 'EPERM' },
  })
  expect(seen.told).toMatchObject([{ taskId: id, descendants: 2 }])
  expect(seen.removed).toBe(0)
  await node.kill()

  const able = store.registry()
  expect(await able.kill(id, { sessionId })).toMatchObject({ status: 'lost', descendants: 0 })
  await eventually(() => processesOf(id).length === 0, 'nothing of the task is left')
})

test('a kill and a shutdown that wait are answered when the supervisor dies and no signal reaches what it leaves', async () => {
  // P2
  const sessionId = 'out of reach at work'
  const start = store.registry()
  const id = await startThree(start, sessionId)
  start.detach()
  const supervisor = supervisorOf(id)
  // It hears no order any more.
  await stop(supervisor)
  const node = await powerless()
  const answers = node.call(
    async ({ tasks, say }, id, sessionId) => {
      await tasks.replay(sessionId)
      const ended = tasks.shutdown()
      while (tasks.status(id, { sessionId })!.status !== 'killing') await new Promise(setImmediate)
      const killed = tasks.kill(id, { sessionId }).catch((error) => error.code)
      say('asked')
      return [await killed, (await ended).map(({ status, descendants }) => [status, descendants])]
    },
    id,
    sessionId,
  )
  await node.heard()
  process.kill(supervisor, 'SIGKILL')
  expect(await answers).toEqual(['KILL_REFUSED', [['lost', 2]]])
  await node.kill()
})

test('where no file can be locked a subscription waits for that, and does not work at it without end', async () => {
  // N4
  const node = await host(store, { under: [refuse, 'EPERM', 'flock'] })
  const busyMs = await node.call(async ({ tasks }) => {
    tasks.onCompletion(() => {}, { sessionId: 'unlocked' })
    await tasks.wait(await tasks.spawn('true', { sessionId: 'unlocked' }))
    const before = process.cpuUsage()
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  })
  expect(busyMs).toBeLessThan(500)
  await node.kill()
})

test('where no file can have a second name a spawn says so, and nothing is left behind', async () => {
  // D1
  const node = await host(store, { under: [refuse, 'EPERM', 'linkat'] })
  const refused = await node.call(async ({ tasks }) => {
    const error = await tasks.spawn('true', { sessionId: 'no links' }).catch((error) => error)
    return {
      code: error.code,
      message: error.message,
      cause: error.cause?.code,
      isThere: tasks.sessions().includes('no links'),
    }
  })
  expect(refused).toEqual({
    code: 'STORAGE_FAILED',
    message: expect.stringMatching(/could not make a hard link to .*owner/),
    cause: 'EPERM',
    isThere: false,
  })
  await node.kill()
  const session = await store.registry().sessions()
  expect(session).not.toContain('no links')
  expect(readdirSync(store.dir).filter((name) => /^[0-9a-f]{32}$/.test(name))).toHaveLength(session.length)
})
