import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { processesOf } from './support/guests'
import { host } from './support/host'
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
