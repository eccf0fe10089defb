import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { Completion, SpawnOptions, TaskSnapshot } from 'outlive'
import { gate, isAlive, obedient, patient, processesOf, readyFifo, statOf, stubborn } from './support/guests'
import { host } from './support/host'
import { eventually, temporaryStore, within } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 300 })

async function ended(command: string, options?: SpawnOptions): Promise<TaskSnapshot> {
  return tasks.wait(await tasks.spawn(command, options))
}

async function allEnded(commands: string[], options?: SpawnOptions): Promise<TaskSnapshot[]> {
  return Promise.all(commands.map((command) => ended(command, options)))
}

async function expectNobodyLeft(taskId: string, limitMs?: number): Promise<void> {
  await eventually(() => processesOf(taskId).length === 0, `nothing of ${taskId} is left`, limitMs)
}

/** What commands do to themselves, and how that must be told. */
const violence = [
  { command: 'kill -9 $$', status: 'failed', cause: 'signal', signal: 'SIGKILL', exitCode: null },
  { command: 'sleep 1000 & kill -9 0', status: 'failed', cause: 'signal', signal: 'SIGKILL', exitCode: null },
  { command: 'sleep 1000 & kill 0; sleep 1000', status: 'failed', cause: 'signal', signal: 'SIGTERM', exitCode: null },
  {
    command: 'sleep 1000 & kill -9 $PPID; sleep 1000',
    status: 'lost',
    cause: 'supervisor_lost',
    signal: null,
    exitCode: null,
  },
]

describe('a command that kills itself, its group or its supervisor', () => {
  test.each(violence)('ends within 1 s with what is true: $command', async ({ command, ...truth }) => {
    // P2
    const task = await tasks.spawn(command)
    const outcome = await within(tasks.wait(task), 'the end is known', 1000)
    expect(outcome).toMatchObject(truth)
    expect(outcome.error === null).toBe(truth.status !== 'lost')
    await tasks.kill(task)
    await expectNobodyLeft(task)
  })

  test('while its host is dead has ended with what is true after the restart', async () => {
    // P3
    const [ready, start] = [readyFifo(store), gate(store)]
    const first = await host(store)
    const commands = violence.map(({ command }) => obedient(ready, start, command))
    const ids = await first.call(
      ({ tasks }, commands) => Promise.all(commands.map((command) => tasks.spawn(command, { sessionId: 'violence' }))),
      commands,
    )
    const leaders: number[] = []
    for (const _ of commands) leaders.push(Number(await ready.line()))
    await first.kill()
    start.open(commands.length)
    await eventually(() => !leaders.some(isAlive), 'all commands have ended')

    const second = await host(store)
    const outcomes = await within(
      second.call(({ tasks }, ids) => Promise.all(ids.map((id) => tasks.wait(id, { sessionId: 'violence' }))), ids),
      'every end is known within 1 s',
      1000,
    )
    for (const [at, { command, ...truth }] of violence.entries()) {
      expect({ command, outcome: outcomes[at] }).toMatchObject({ command, outcome: truth })
    }
    const told = await second.call(({ tasks }) => tasks.drain({ sessionId: 'violence' }))
    expect(told.map((completion) => completion.taskId).sort()).toEqual([...ids].sort())
    for (const id of ids) await expectNobodyLeft(id)
  })
})

describe('the outcome', () => {
  test('is the exact exit code, for all of 0 to 255', async () => {
    // P4
    const codes = Array.from({ length: 256 }, (_, code) => code)
    const outcomes = await allEnded(codes.map((code) => `exit ${code}`))
    expect(outcomes.map((outcome) => outcome.exitCode)).toEqual(codes)
    for (const [code, outcome] of outcomes.entries()) {
      const status = code === 0 ? 'completed' : 'failed'
      expect(outcome).toMatchObject({ status, cause: 'exit', signal: null, error: null })
    }
  })

  test('is the exact signal, for every one that is fatal, and never 128 + n', async () => {
    // P4
    const harmless = ['SIGCHLD', 'SIGCONT', 'SIGSTOP', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU', 'SIGURG', 'SIGWINCH']
    const names = new Map<number, string>(Object.entries(constants.signals).map(([name, number]) => [number, name]))
    // Numbers with two names: the one that the API uses.
    for (const name of ['SIGABRT', 'SIGIO'] as const) names.set(constants.signals[name], name)
    const numbers = Array.from({ length: 64 }, (_, at) => at + 1).filter(
      (number) => !harmless.includes(names.get(number)!),
    )
    expect(numbers).toHaveLength(64 - harmless.length)

    const outcomes = await Promise.all(
      numbers.map(async (number) => {
        const task = await tasks.spawn('ulimit -c 0; exec sleep 1000')
        const { pid } = tasks.status(task)!
        await eventually(() => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n', 'the leader sleeps')
        process.kill(pid!, number)
        return within(tasks.wait(task), `signal ${number} has ended it`)
      }),
    )
    const signals = outcomes.map((outcome) => outcome.signal)
    expect(signals).toEqual(numbers.map((number) => names.get(number) ?? `SIG${number}`))
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'failed', cause: 'signal', exitCode: null, error: null })
    }
  })

  test('of a shell whose child was killed is what the shell says', async () => {
    // P4
    const [outcome] = await allEnded(['sh -c "kill -9 \\$\\$"; exit $?'])
    expect(outcome).toMatchObject({ status: 'failed', cause: 'exit', exitCode: 137, signal: null })
  })
})

describe('processes that outlive their command', () => {
  const cut = join(store.dir, 'засыпайка')
  const lingerers = [
    ['a background job', 'sleep 1000 & echo hi'],
    ['a job in a session of its own', 'setsid sleep 1000 & echo hi'],
    ['a daemon that forked twice', '(setsid sh -c "sleep 1000 & exit" > /dev/null 2>&1 < /dev/null &); echo hi'],
    [
      'a program whose name the kernel cuts within a character',
      `cp "$(command -v sleep)" ${cut}; ${cut} 1000 & echo hi`,
    ],
  ]

  test.each(lingerers)('do not delay its end, are counted, and a later kill reaches them: %s', async (_, command) => {
    // P8
    const sessionId = command!
    const task = await tasks.spawn(command!, { sessionId })
    const outcome = await within(tasks.wait(task), 'it ends at once')
    expect(outcome).toMatchObject({ status: 'completed', exitCode: 0, outputPreview: 'hi\n', pid: null })
    const told = tasks.drain({ sessionId })
    expect(told).toMatchObject([{ taskId: task, status: 'completed', outputPreview: 'hi\n' }])
    // A process on its way to double-forking may be two for a moment.
    expect(told[0]!.descendants).toBeGreaterThanOrEqual(1)
    await eventually(() => tasks.status(task)!.descendants === 1, 'one process is left')

    const killed = await tasks.kill(task)
    expect(killed).toMatchObject({ status: 'completed', cause: 'exit', exitCode: 0, descendants: 0 })
    await expectNobodyLeft(task)
    expect(tasks.drain({ sessionId })).toEqual([])
  })

  test('whose first thread has ended while others go on are counted, and killed when their supervisor is', async () => {
    // P8
    const second = join(store.dir, 'second')
    execFileSync('cc', ['-O1', '-Wall', '-Werror', '-pthread', '-o', second, join(__dirname, 'support/second.c')])
    const ready = readyFifo(store)
    const task = await tasks.spawn(`setsid ${second} ${ready.path} & wait`)
    const pid = Number(await ready.line())
    await eventually(() => statOf(pid)?.state === 'Z', 'its first thread has ended')
    expect(tasks.status(task)!.descendants).toBe(1)
    process.kill(statOf(tasks.status(task)!.pid!)!.ppid, 'SIGKILL')
    expect(await tasks.wait(task)).toMatchObject({ status: 'lost', exitCode: null })
    const threads = () => (existsSync(`/proc/${pid}/task`) ? readdirSync(`/proc/${pid}/task`).length : 0)
    await eventually(() => threads() < 2, 'it is dead')
  })

  test('and start others for ever when their supervisor is killed hold up no other task', async () => {
    // P29
    const file = join(store.dir, 'goes on')
    writeFileSync(file, '')
    // What starts them has thrown the mark away, so it is not found.
    const starts = `while [ -e '${file}' ]; do OUTLIVE_TASK_ID=$mark sleep 0.02 & done`
    const hidden = `env -u OUTLIVE_TASK_ID mark=$OUTLIVE_TASK_ID setsid bash -c "${starts.replace('$', '\\$')}"`
    const task = await tasks.spawn(`for i in 1 2; do ${hidden} & done; wait`)
    try {
      await eventually(() => processesOf(task).length > 3, 'they are started')
      process.kill(statOf(tasks.status(task)!.pid!)!.ppid, 'SIGKILL')
      for (let turn = 0; turn < 3; turn++) {
        const other = await within(ended('exit 3'), 'another task is told meanwhile', 5000)
        expect(other).toMatchObject({ status: 'failed', exitCode: 3 })
      }
      expect(await tasks.wait(task)).toMatchObject({ status: 'lost', exitCode: null })
    } finally {
      rmSync(file)
    }
    await expectNobodyLeft(task)
  })

  test('are ended with it when the caller asked for that', async () => {
    const outcome = await ended('sleep 1000 & setsid sleep 1000 & exit 4', { cleanup: 'kill' })
    expect(outcome).toMatchObject({ status: 'failed', cause: 'exit', exitCode: 4 })
    await expectNobodyLeft(outcome.taskId)
  })

  test('and hold its output do not delay its end: at best known within 50 ms, at worst within 1 s', async () => {
    // P25
    const late: number[] = []
    const command = 'sleep 1000 & setsid sleep 1000 & printf %s "$EPOCHREALTIME"'
    for (let turn = 0; turn < 10; turn++) {
      const task = await tasks.spawn(command)
      await tasks.wait(task)
      const known = performance.timeOrigin + performance.now()
      late.push(known - Number(tasks.output(task).text.replace(',', '.')) * 1000)
      await tasks.kill(task)
    }
    expect(Math.min(...late)).toBeLessThan(50)
    expect(Math.max(...late)).toBeLessThan(1000)
  })
})

describe('the deadline', () => {
  const truth = { status: 'timed_out', cause: 'timeout', exitCode: 124 }

  test('ends a tree that ignores SIGTERM within the grace and 1 s', async () => {
    // P1
    const ready = readyFifo(store)
    const [timeoutMs, graceMs] = [1500, 500]
    const command = `(${stubborn(ready)}) & setsid bash -c "${stubborn(ready).replaceAll('$$', '\\$\\$')}" & ${stubborn(ready)}`
    const task = await tasks.spawn(command, { timeoutMs, graceMs })
    for (let guest = 0; guest < 3; guest++) await ready.line()
    const outcome = await tasks.wait(task)
    await expectNobodyLeft(task, 1000)
    expect(outcome).toMatchObject({ ...truth, signal: 'SIGKILL' })
    expect(outcome.durationMs).toBeGreaterThanOrEqual(timeoutMs + graceMs)
    expect(outcome.durationMs).toBeLessThan(timeoutMs + graceMs + 1000)
  })

  test('holds while its host is dead, and a restart does not move it', async () => {
    // P14
    const ready = readyFifo(store)
    const timeoutMs = 2000
    const options = { sessionId: 'deadline', timeoutMs, graceMs: 100 }
    const first = await host(store)
    const spawn = (command: string) =>
      first.call(({ tasks }, command, options) => tasks.spawn(command, options), command, options)
    const ids = [await spawn(patient(ready)), await spawn(stubborn(ready))]
    const leaders = [Number(await ready.line()), Number(await ready.line())]
    const supervisors = leaders.map((pid) => statOf(pid)!.ppid)
    await first.kill()
    const second = await host(store)
    await second.call(({ tasks }) => tasks.replay('deadline'))
    await second.kill()
    await eventually(() => ![...leaders, ...supervisors].some(isAlive), 'both have been ended')
    for (const id of ids) expect(processesOf(id)).toEqual([])

    const third = await host(store)
    const told: Completion[] = await third.call(({ tasks }) => tasks.drain({ sessionId: 'deadline' }))
    expect(told.map((completion) => completion.taskId)).toEqual(ids)
    for (const completion of told) {
      expect(completion).toMatchObject(truth)
      expect(completion.durationMs).toBeGreaterThanOrEqual(timeoutMs)
      expect(completion.durationMs).toBeLessThan(timeoutMs + options.graceMs + 1000)
    }
  })

  test('that did not come changes nothing, and 0 is none', async () => {
    // P14
    const [met, none] = await Promise.all([ended('exit 3', { timeoutMs: 60_000 }), ended('exit 3', { timeoutMs: 0 })])
    expect(met).toMatchObject({ status: 'failed', cause: 'exit', exitCode: 3, timeoutMs: 60_000 })
    expect(none).toMatchObject({ status: 'failed', cause: 'exit', exitCode: 3, timeoutMs: null })
  })
})
