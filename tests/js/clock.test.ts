// R12: clocks that are set while tasks run change no duration and no deadline.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { gate, killProcessesOf, obedient, patient, readyFifo } from './support/guests'
import { host } from './support/host'
import { rewrite } from './support/records'
import { atTheEnd, eventually, temporaryStore, within } from './support/store'

const HOUR = 3600
const store = temporaryStore()
const tools = mkdtempSync(join(tmpdir(), 'outlive-clock-'))
atTheEnd(() => rmSync(tools, { recursive: true }))

/** One of the programs in `support`, built. */
function built(source: string, ...options: string[]): string {
  const path = join(tools, source.replace('.c', ''))
  execFileSync('cc', ['-O1', '-Wall', '-Werror', ...options, '-o', path, join(__dirname, 'support', source)])
  return path
}

describe('the wall clock of a host is stepped', () => {
  const [library, clock] = [built('step.c', '-shared', '-fPIC'), join(tools, 'seconds')]
  const stepTo = (seconds: number) => writeFileSync(clock, Buffer.from(Int32Array.of(seconds).buffer), { flag: 'r+' })

  writeFileSync(clock, Buffer.alloc(4))

  test.each([HOUR, -HOUR])('by %i s while tasks run: no duration and no deadline changes', async (step) => {
    // R12
    const sessionId = `step ${step}`
    stepTo(0)
    const node = await host(store, { env: { LD_PRELOAD: library, CLOCK_STEP: clock } })
    const ready = readyFifo(store)
    const began = performance.now()
    const start = (command: string, timeoutMs: number) =>
      node.call(
        ({ tasks }, command, timeoutMs, sessionId) => tasks.spawn(command, { sessionId, timeoutMs, graceMs: 0 }),
        command,
        timeoutMs,
        sessionId,
      )
    const wait = gate(store)
    const long = await start(obedient(ready, wait, 'exit 3'), 600_000)
    await ready.line()
    const statusOf = (id: string) =>
      node.call(({ tasks }, id, sessionId) => tasks.status(id, { sessionId })!, id, sessionId)
    const isTrue = (durationMs: number) => {
      expect(durationMs).toBeGreaterThanOrEqual(0)
      expect(durationMs).toBeLessThanOrEqual(performance.now() - began + 50)
    }
    const durationOf = async (id: string) => (await statusOf(id)).durationMs
    const shown = await eventually(
      async () => ((await durationOf(long)) >= 20 ? durationOf(long) : 0),
      'a duration that could become less',
    )
    const before = await node.call(() => Date.now())
    stepTo(step)
    expect(Math.abs((await node.call(() => Date.now())) - before - step * 1000)).toBeLessThan(30_000)

    expect((await statusOf(long)).status).toBe('running')
    const shownLater = await durationOf(long)
    expect(shownLater).toBeGreaterThanOrEqual(shown)
    isTrue(shownLater)
    const late = await start('sleep 600', 100)
    const end = (id: string) => node.call(({ tasks }, id, sessionId) => tasks.wait(id, { sessionId }), id, sessionId)
    const timedOut = await within(end(late), 'the deadline of a task after the step', 15_000)
    expect(timedOut).toMatchObject({ status: 'timed_out' })
    expect(timedOut.durationMs).toBeGreaterThanOrEqual(100)
    isTrue(timedOut.durationMs)
    wait.open()
    const ended = await end(long)
    expect(ended).toMatchObject({ status: 'failed', exitCode: 3 })
    isTrue(ended.durationMs)
    // A host that starts after the step sees the same.
    await node.kill()
    const next = await host(store, { env: { LD_PRELOAD: library, CLOCK_STEP: clock } })
    const replayed = await next.call(
      async ({ tasks }, id, sessionId) => {
        await tasks.replay(sessionId)
        return tasks.status(id, { sessionId })!
      },
      long,
      sessionId,
    )
    expect(replayed.durationMs).toBe(ended.durationMs)
  })
})

test('tasks are listed in the order of their spawns, whatever the wall clock said', async () => {
  // R12
  const sessionId = 'listed'
  const first = store.registry()
  const ids: string[] = []
  for (let count = 0; count < 3; count++) {
    ids.push(await first.spawn('true', { sessionId }))
    await first.wait(ids[count]!)
  }
  first.detach()
  const ahead = Date.now() + HOUR * 1000
  rewrite(store.taskDir(ids[0]!)!, 'task.json', (task) => ({ ...task, createdAt: ahead }))
  const listed = store.registry().list({ sessionId })
  expect(listed.map(({ taskId }) => ids.indexOf(taskId))).toEqual([0, 1, 2])
})

test('a lost task has lasted no longer than it has been there, whatever the dates say', async () => {
  // R12
  const sessionId = 'lost'
  const began = performance.now()
  const first = store.registry()
  const ready = readyFifo(store)
  const id = await first.spawn(patient(ready), { sessionId })
  await ready.line()
  first.detach()
  await killProcessesOf([id])
  // As on a machine that starts in 1970 and learns the date later.
  rewrite(store.taskDir(id)!, 'started.json', (started) => ({ ...started, startedAt: 1000 }))
  const next = store.registry()
  await next.replay(sessionId)
  const { status, startedAt, durationMs } = next.status(id)!
  expect({ status, startedAt }).toEqual({ status: 'lost', startedAt: 1000 })
  expect(durationMs).toBeLessThanOrEqual(performance.now() - began + 50)
})

const adjust = built('adjust.c')
const mayTrace = process.getuid!() === 0 || readFileSync('/proc/sys/kernel/yama/ptrace_scope', 'utf8').startsWith('0')
if (!mayTrace) console.warn('SKIPPED: the wall clock of a supervisor is set: to trace it takes root')
const withTrace = mayTrace ? describe : describe.skip

/** From now on a task's supervisor reads a wall clock that is so many seconds away. */
async function setClockOf(id: string, seconds: number): Promise<void> {
  const { supervisorPid } = JSON.parse(readFileSync(join(store.taskDir(id)!, 'started.json'), 'utf8'))
  const tracer = spawn(adjust, [supervisorPid, seconds].map(String), { stdio: ['ignore', 'pipe', 'inherit'] })
  atTheEnd(() => void tracer.kill('SIGKILL'))
  for await (const _ of createInterface({ input: tracer.stdout })) return
  throw new Error('the clock could not be set')
}

withTrace('the wall clock of a supervisor is set', () => {
  test.each([HOUR, -HOUR])('by %i s: the date of the end is of that clock, the duration is not', async (seconds) => {
    // R12
    const tasks = store.registry()
    const [ready, wait] = [readyFifo(store), gate(store)]
    const began = performance.now()
    const id = await tasks.spawn(obedient(ready, wait, 'exit 3'), { sessionId: 'set' })
    await ready.line()
    await setClockOf(id, seconds)
    wait.open()
    const { startedAt, finishedAt, durationMs, exitCode } = await tasks.wait(id)
    const elapsed = performance.now() - began
    expect(exitCode).toBe(3)
    expect(Math.abs(finishedAt! - startedAt - seconds * 1000)).toBeLessThanOrEqual(elapsed + 50)
    expect(durationMs).toBeGreaterThanOrEqual(0)
    expect(durationMs).toBeLessThanOrEqual(elapsed + 50)
  })

  test.each([HOUR, -HOUR])('by %i s: its deadline comes when it was to come', async (seconds) => {
    // R12 P14
    const tasks = store.registry()
    const began = performance.now()
    const id = await tasks.spawn('exec sleep 600', { sessionId: 'set', timeoutMs: 2500, graceMs: 0 })
    await setClockOf(id, seconds)
    const end = await within(tasks.wait(id), 'the deadline', 15_000)
    expect(performance.now() - began).toBeGreaterThanOrEqual(2500)
    expect(end).toMatchObject({ status: 'timed_out', exitCode: 124 })
    expect(end.durationMs).toBeGreaterThanOrEqual(2500)
  })
})
