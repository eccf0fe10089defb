import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Completion } from 'outlive'
import { killProcessesOf, processesOf } from './support/guests'
import { type Host, host } from './support/host'
import { atTheEnd, eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const tools = mkdtempSync(join(tmpdir(), 'outlive-refuse-'))
const [refuse, supervisor] = [join(tools, 'refuse'), join(tools, 'supervisor')]
atTheEnd(() => rmSync(tools, { recursive: true }))

beforeAll(async () => {
  execFileSync('cc', ['-O1', '-Wall', '-Werror', '-o', refuse, join(__dirname, 'support/refuse.c')])
  const tasks = store.registry()
  await tasks.wait(await tasks.spawn('true', { notify: false }))
  const copy = readdirSync(store.dir).find((name) => name.startsWith('supervisor-'))!
  copyFileSync(join(store.dir, copy), supervisor)
  chmodSync(supervisor, 0o755)
})

/** A host as it always is, whose supervisors and commands live under a filter that answers one system call with an error. */
function hostWhoseSupervisors(error: string, call: string): Promise<Host> {
  const script = join(tools, `${error}-${call}`)
  writeFileSync(script, `#!/bin/sh\nexec ${refuse} ${error} ${call} ${supervisor} "$@"\n`, { mode: 0o755 })
  return host(store, { env: { OUTLIVE_SUPERVISOR: script, MARKS: tools } })
}

interface Lived {
  told: Partial<Completion>[]
  ids: string[]
}

/** A task that leaves somebody behind, one that has to be killed, one that writes more than it may; all that was told of them. */
const live = (node: Host, sessionId: string): Promise<Lived> =>
  node.call(async ({ tasks }, sessionId) => {
    const told: Partial<Completion>[] = []
    tasks.onCompletion(
      ({ taskId, status, cause, exitCode, error }) => void told.push({ taskId, status, cause, exitCode, error }),
      { sessionId },
    )
    const ids = [
      await tasks.spawn(': > "$MARKS/$OUTLIVE_TASK_ID"; sleep 600 & exit 3', { sessionId, cleanup: 'kill' }),
      await tasks.spawn('trap "" TERM; echo ready; while :; do sleep 600 & wait; done', { sessionId }),
      await tasks.spawn('head -c 400000 /dev/zero; exec sleep 600', { sessionId, maxOutputBytes: 65_536 }),
    ] as const
    const isReady = (id: string) => {
      const task = tasks.status(id, { sessionId, previewBytes: 10 })!
      return task.finishedAt !== null || task.stdoutBytes > (id === ids[2] ? 399_999 : 0)
    }
    while (!isReady(ids[1]) || !isReady(ids[2])) await new Promise(setImmediate)
    await tasks.kill(ids[1], { sessionId, graceMs: 1 })
    const isCut = () => tasks.output(ids[2], { sessionId }).droppedBytes > 0
    while (tasks.status(ids[2], { sessionId })!.finishedAt === null && !isCut())
      await new Promise((resolve) => setTimeout(resolve, 5))
    await tasks.kill(ids[2], { sessionId, graceMs: 1 })
    while (told.length < 3) await new Promise(setImmediate)
    return { told: ids.map((id) => told.find(({ taskId }) => taskId === id)!), ids: [...ids] }
  }, sessionId)

/** The supervisors are gone, nothing of a command is left, and nothing stands in the way of a cleanup. */
async function expectNothingLeft(node: Host, ids: string[], sessionId: string): Promise<void> {
  await eventually(() => ids.flatMap(processesOf).length === 0, 'an end of all processes')
  const clear = () =>
    node.call(async ({ tasks }, sessionId) => {
      await tasks.cleanup({ olderThanMs: 0 })
      return tasks.list({ sessionId }).length
    }, sessionId)
  await eventually(async () => (await clear()) === 0, 'a cleanup of all that was told')
  expect(ids.filter((id) => store.taskDir(id))).toEqual([])
  await node.kill()
}

const byItself = { status: 'failed', cause: 'exit', exitCode: 3 }
const killed = { status: 'killed', cause: 'kill', exitCode: null }

test('the filter of these tests is one', () => {
  const status = ['cat', '/proc/self/status']
  expect(execFileSync(refuse, ['EPERM', 'F_NOTIFY', ...status], { encoding: 'utf8' })).toMatch(/^Seccomp:\t2$/m)
  expect(() => execFileSync(refuse, ['EPERM', 'getdents64', 'ls', '/'], { stdio: 'pipe' })).toThrow(/not permitted/)
})

describe.each(['ENOSYS', 'EPERM'])('a kernel that answers a supervisor %s to', (error) => {
  test.each(['F_NOTIFY', 'close_range', 'fdatasync', 'getdents64', 'getpgid', 'prlimit64', 'sched_yield'])(
    '%s: its task ends, is killed, kept within its output limit and told as elsewhere',
    async (call) => {
      const sessionId = `${error} to ${call}`
      const node = await hostWhoseSupervisors(error, call)
      const { told, ids } = await live(node, sessionId)
      expect(told).toMatchObject([byItself, killed, killed])
      await expectNothingLeft(node, ids, sessionId)
    },
  )

  test('PR_SET_CHILD_SUBREAPER: all holds but for what outlives its parents, which is out of reach', async () => {
    const sessionId = `${error} to PR_SET_CHILD_SUBREAPER`
    const node = await hostWhoseSupervisors(error, 'PR_SET_CHILD_SUBREAPER')
    const { told, ids } = await live(node, sessionId)
    expect(told).toMatchObject([byItself, killed, killed])
    // Only such a process stays, the sleep that the first command left behind, once init has seen the others end.
    const isSleep = (pid: number) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n'
    await eventually(() => ids.flatMap(processesOf).every(isSleep), 'an end of all but sleep')
    await killProcessesOf(ids)
    await expectNothingLeft(node, ids, sessionId)
  })

  test('fallocate: output that cannot be cut ends its task, and the task says so', async () => {
    const sessionId = `${error} to fallocate`
    const node = await hostWhoseSupervisors(error, 'fallocate')
    const { told, ids } = await live(node, sessionId)
    expect(told).toMatchObject([byItself, killed, { status: 'killed', cause: 'output_limit', exitCode: null }])
    await expectNothingLeft(node, ids, sessionId)
  })

  test.each(['PR_SET_PDEATHSIG', 'clock_gettime', 'clone', 'getcwd', 'kill', 'ppoll', 'signalfd4', 'wait4', 'waitid'])(
    '%s: the command does not run, and its task says why at once',
    async (call) => {
      // P30
      const sessionId = `${error} to ${call}`
      const node = await hostWhoseSupervisors(error, call)
      const { told, ids } = await live(node, sessionId)
      const refused = { status: 'failed', cause: 'spawn_error', exitCode: null, error: expect.stringContaining(error) }
      expect(told).toMatchObject([refused, refused, refused])
      expect(existsSync(join(tools, ids[0]!))).toBe(false)
      await expectNothingLeft(node, ids, sessionId)
    },
  )

  test('pwrite64: an end that cannot be recorded is lost, and no exit code is made up', async () => {
    const sessionId = `${error} to pwrite64`
    const node = await hostWhoseSupervisors(error, 'pwrite64')
    const { told, ids } = await live(node, sessionId)
    const lost = { status: 'lost', cause: 'supervisor_lost', exitCode: null }
    expect(told).toMatchObject([lost, lost, lost])
    // That it is not for want of the command.
    expect(readFileSync(join(tools, ids[0]!), 'utf8')).toBe('')
    await expectNothingLeft(node, ids, sessionId)
  })
})
