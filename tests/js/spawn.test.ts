import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { getPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as immediate } from 'node:timers/promises'
import type { OutliveError, SpawnOptions, TaskSnapshot } from 'outlive'
import { patient, readyFifo, statOf } from './support/guests'
import { host } from './support/host'
import { listen } from './support/listen'
import { atTheEnd, eventually, rejectionOf, temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 50 })

async function ran(command: string, options?: SpawnOptions): Promise<TaskSnapshot> {
  return tasks.wait(await tasks.spawn(command, options))
}

async function printed(command: string, options?: SpawnOptions): Promise<string> {
  return tasks.output((await ran(command, options)).taskId).text
}

/** A place for scripts and directories that are no part of the store. */
function scratch(): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'outlive-spawn-')))
  chmodSync(dir, 0o755)
  atTheEnd(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function script(text: string, mode = 0o755): string {
  const path = join(scratch(), 'script')
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

describe('the shell', () => {
  test('is bash by default: [[ ]], arrays and pipefail work', async () => {
    // P18
    const words = 'words=(one two); [[ a == a ]] && echo "$' + '{words[1]}"'
    expect(await printed(words)).toBe('two\n')
    expect(await ran('set -o pipefail; false | true')).toMatchObject({ status: 'failed', exitCode: 1 })
  })

  test.each([['/bin/sh'], ['sh']])('is the one that the caller names: %s', async (shell) => {
    // P18
    expect(await printed('readlink /proc/$$/exe', { shell })).toBe(`${realpathSync('/bin/sh')}\n`)
  })

  test('may be any program that takes -c', async () => {
    // P18
    const shell = script('#!/bin/sh\nprintf "%s|" "$@"\n')
    expect(await printed('a  b\n$c', { shell })).toBe('-c|a  b\n$c|')
  })
})

describe('the command', () => {
  test('may begin like an option of the shell, and is shown as it was given', async () => {
    // P18
    const command = '-x 2> /dev/null || echo "it ran in $0"'
    const { taskId } = await ran(command, { shell: '/bin/sh' })
    expect(tasks.output(taskId).text).toBe('it ran in /bin/sh\n')
    expect(tasks.status(taskId)!.command).toBe(command)
  })

  test.each([
    ['1 MiB', 1 << 20],
    ['8 MiB', 8 << 20],
  ])('may be long: one of %s runs to its end', async (_, bytes) => {
    // P19
    const [start, end] = ["printf %s '", "' | wc -c"]
    const filler = bytes - start.length - end.length
    expect(await printed(start + 'x'.repeat(filler) + end)).toBe(`${filler}\n`)
  })

  test('is not in the arguments of its supervisor, so its own pkill -f never hits that', async () => {
    // P19
    const ready = readyFifo(store)
    const marker = `outlive-marker-${process.pid}-${Date.now()}`
    const task = await tasks.spawn(`: ${marker}; echo $PPID > ${ready.path}; sleep 1000`)
    const supervisor = Number(await ready.line())
    expect(readFileSync(`/proc/${supervisor}/cmdline`, 'latin1')).not.toContain(marker)
    await tasks.kill(task)

    const suicide = await ran(`pkill -f ${marker}; sleep 1000`)
    expect(suicide).toMatchObject({ status: 'failed', cause: 'signal', signal: 'SIGTERM', exitCode: null })
  })
})

describe('a spawn that cannot work', () => {
  async function refused(options: SpawnOptions, code: string, names: string): Promise<void> {
    const before = store.taskIds()
    const error = await tasks.spawn(`touch ${join(scratch(), 'ran')}`, { sessionId: 'refused', ...options }).then(
      (id) => Promise.reject(new Error(`${id} was started`)),
      (reason: OutliveError) => reason,
    )
    expect(error).toMatchObject({ code, message: expect.stringContaining(names) })
    expect(store.taskIds()).toEqual(before)
    expect(tasks.list({ sessionId: 'refused' })).toEqual([])
    expect(tasks.drain({ sessionId: 'refused' })).toEqual([])
  }

  test('rejects with the path of a working directory that is missing or no directory, and leaves nothing', async () => {
    // P20
    const missing = join(scratch(), 'not', 'there')
    await refused({ cwd: missing }, 'CWD_NOT_FOUND', missing)
    for (const mode of [0o644, 0o755]) {
      const file = script('', mode)
      await refused({ cwd: file }, 'CWD_NOT_FOUND', file)
      await expect(tasks.spawn('true', { cwd: file })).rejects.toMatchObject({ cause: { code: 'ENOTDIR' } })
    }
  })

  test('rejects with the name of a shell that is missing, no file, or not executable, and leaves nothing', async () => {
    // P20
    const missing = join(scratch(), 'no-shell')
    for (const shell of [missing, 'outlive-no-such-shell', scratch(), script('#!/bin/sh\n', 0o644)]) {
      await refused({ shell }, 'SHELL_NOT_FOUND', shell)
    }
  })

  test('rejects with the path of a working directory that may not be entered, and leaves nothing', async () => {
    // P20
    const nobody = 65534
    const asRoot = process.getuid!() === 0
    const own = temporaryStore()
    const closed = join(scratch(), 'closed')
    mkdirSync(closed, { mode: 0o000 })
    if (asRoot) chownSync(own.dir, nobody, nobody)
    const identity = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']
    // Nothing is closed to root.
    const node = await host(own, asRoot ? { under: ['setpriv', ...identity], cwd: '/' } : {})
    const spawning = node.call(({ tasks }, cwd) => tasks.spawn('true', { cwd }), closed)
    await expect(spawning).rejects.toMatchObject({
      code: 'CWD_NOT_FOUND',
      message: expect.stringContaining(closed),
      cause: { code: 'EACCES' },
    })
    expect(own.taskIds()).toEqual([])
    expect(await node.call(({ tasks }) => [tasks.list(), tasks.drain()])).toEqual([[], []])
  })

  test('at the limit starts exactly as many as may run, and names them and the limit to the others', async () => {
    // P21
    const ready = readyFifo(store)
    for (let turn = 0; turn < 10; turn++) {
      const few = store.registry({ maxRunning: 5 })
      const sessionId = `limit ${turn}`
      // Some while the first are still on their way, some while those start.
      const spawning = Array.from({ length: 40 }, async (_, at) => {
        for (let wait = 0; wait < at; wait += 4) await immediate()
        return few.spawn(patient(ready), { sessionId })
      })
      const outcomes = await Promise.allSettled(spawning)
      const started = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
      const refusals = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
      expect(started).toHaveLength(5)
      const message = expect.not.stringMatching(/,$/) // also where none of those that start has a name yet
      for (const refusal of refusals) expect(refusal).toMatchObject({ code: 'TASK_LIMIT_EXCEEDED', message })
      expect(few.list({ sessionId }).map((task) => task.taskId)).toEqual(started)

      const late = await few.spawn('true', { sessionId }).catch((error: OutliveError) => error.message)
      const standing = 'this registry may run 5 tasks at once (maxRunning); starting: 0, running: 5,'
      expect(late?.startsWith(standing)).toBe(true)
      for (const named of started) expect(late).toContain(` ${named}`)

      await few.kill(started[0]!)
      await expect(few.spawn('true', { sessionId })).resolves.toMatch(/^bash-[0-9a-f]{16}$/)
      await few.shutdown()
    }
  })
})

test('at the limit a place is free once wait, kill or a completion has told an end', async () => {
  const one = store.registry({ maxRunning: 1 })
  const sessionId = 'places'
  for (let turn = 0; turn < 20; turn++) {
    await one.wait(await one.spawn(turn % 4 === 0 ? 'sleep 0.2 & true' : 'true', { sessionId }))
    await one.kill(await one.spawn('sleep 1000', { sessionId }))
  }
  one.drain({ sessionId })
  const started: string[] = []
  const { times, subscription } = listen(one, sessionId, async () =>
    started.push(await one.spawn('true', { sessionId })),
  )
  await one.spawn('true', { sessionId })
  await times(20)
  subscription.close()
  expect(started.length).toBeGreaterThanOrEqual(19)
})

test('at the limit a place is free once a spawn was rejected for its working directory', async () => {
  // P21
  const cwd = join(scratch(), 'missing')
  const lanes = 4
  const few = store.registry({ maxRunning: lanes })
  const codes = new Set<string>()
  const tryAgain = async (): Promise<void> => {
    for (let turn = 0; turn < 250; turn++) codes.add((await rejectionOf(few.spawn('true', { cwd }))).code!)
  }
  await Promise.all(Array.from({ length: lanes }, tryAgain))
  expect([...codes]).toEqual(['CWD_NOT_FOUND'])
})

test('a working directory behind a link is what the kernel finds there', async () => {
  // P20
  const dir = scratch()
  mkdirSync(join(dir, 'real/deep'), { recursive: true })
  symlinkSync('real/deep', join(dir, 'link'))
  for (const shell of ['bash', 'sh']) {
    const command = 'pwd; cd deep && /bin/pwd -P'
    const { taskId } = await tasks.wait(await tasks.spawn(command, { cwd: `${dir}/link/..`, shell }))
    expect(tasks.output(taskId).text).toBe(`${dir}/real\n${dir}/real/deep\n`)
  }
  const missing = tasks.spawn('true', { cwd: `${dir}/missing/..` })
  await expect(missing).rejects.toMatchObject({ code: 'CWD_NOT_FOUND', cause: { code: 'ENOENT' } })
})

test('a shell that is found in a directory whose name is no text runs the command', async () => {
  // P20 D22
  const dir = `"$(printf '${store.dir}-shells/caf\\351')"`
  atTheEnd(() => rmSync(`${store.dir}-shells`, { recursive: true, force: true }))
  const script = `mkdir -p ${dir}; ln -s /bin/bash ${dir}/bash; PATH=${dir}:$PATH exec "$@"`
  const node = await host(store, { under: ['sh', '-c', script, 'sh'] })
  const seen = await node.call(async ({ tasks }) => {
    const waited = await Promise.all(
      ['exit 3', 'exit 4'].map(async (command) => tasks.wait(await tasks.spawn(command))),
    )
    return waited.map(({ exitCode }) => exitCode)
  })
  expect(seen).toEqual([3, 4])
  await node.kill()
})

describe('the command finds', () => {
  test('its standard input at end of file', async () => {
    // P26
    expect(await printed('cat; read -r line; echo "$?"')).toBe('1\n')
  })

  test('no signal ignored or blocked, whatever its host ignores and blocks', async () => {
    // P26
    const under = ['env', '--ignore-signal=HUP,INT,USR2,RTMIN+3', '--block-signal=USR1,CHLD']
    const node = await host(store, { under })
    const masks = await node.call(async ({ tasks }) => {
      const own = require('node:fs').readFileSync('/proc/self/status', 'utf8')
      const { taskId } = await tasks.wait(await tasks.spawn('exec cat /proc/self/status'))
      return [own, tasks.output(taskId).text].map((text) => text.match(/^Sig(Blk|Ign):.*$/gm))
    })
    const none = ['SigBlk:\t0000000000000000', 'SigIgn:\t0000000000000000']
    expect(masks[0]).not.toEqual(none)
    expect(masks[1]).toEqual(none)
  })

  test("its host's scheduling policy and niceness, whatever we chose for a thread of ours", async () => {
    // P26
    const policyAndNice = `cut -d' ' -f19,41 /proc/self/stat`
    // All of the tests may run under `nice`.
    const own = getPriority()
    for (const [under, expected] of [
      [['chrt', '--other', '0'], `${own} 0\n`],
      [['chrt', '--batch', '0', 'nice', '-n', '3'], `${Math.min(own + 3, 19)} 3\n`],
    ] as const) {
      const node = await host(store, { under: [...under] })
      const text = await node.call(async ({ tasks }, command) => {
        const { taskId } = await tasks.wait(await tasks.spawn(command))
        return tasks.output(taskId).text
      }, policyAndNice)
      expect(text).toBe(expected)
    }
  })

  test('the umask, the working directory and the environment as asked', async () => {
    // P26
    const cwd = scratch()
    const node = await host(store, { env: { OUTLIVE_TEST_KEPT: 'kept', OUTLIVE_TEST_REMOVED: 'here' } })
    const command = 'umask; pwd; env; touch made; stat -c %a made'
    const text = await node.call(
      async ({ tasks }, command, cwd) => {
        process.umask(0o027)
        const env = { OUTLIVE_TEST_ADDED: 'two\nlines = é', OUTLIVE_TEST_REMOVED: undefined }
        const { taskId } = await tasks.wait(await tasks.spawn(command, { cwd, env }))
        return `${tasks.output(taskId).text}id ${taskId}`
      },
      command,
      cwd,
    )
    const id = text.split('id ').at(-1)
    expect(text).toMatch(new RegExp(`^0027\\n${cwd}\\n`))
    expect(text).toContain('\nOUTLIVE_TEST_ADDED=two\nlines = é\n')
    expect(text).toContain('\nOUTLIVE_TEST_KEPT=kept\n')
    expect(text).not.toContain('OUTLIVE_TEST_REMOVED')
    expect(text).toContain(`\nOUTLIVE_TASK_ID=${id}\n`)
    expect(text).toContain(`\n640\n`)
  })

  test('the environment as it stands also where a worker shares and changes it', async () => {
    // P26
    const node = await host(store)
    const texts = await node.call(
      async ({ tasks }, face) => {
        const threads: typeof import('node:worker_threads') = require('node:worker_threads')
        const { spawnOrder } = require(face) as { spawnOrder(command: string): { inherits: boolean } }
        const before = spawnOrder('true').inherits
        const change = "process.env.OUTLIVE_TEST_SHARED = 'by the worker'"
        const worker = new threads.Worker(change, { eval: true, env: threads.SHARE_ENV })
        await new Promise((resolve) => worker.on('exit', resolve))
        const { taskId } = await tasks.wait(await tasks.spawn('echo "$OUTLIVE_TEST_SHARED"'))
        // Native code reads the process's own block without the lock that Node has on it.
        return [before, spawnOrder('true').inherits, tasks.output(taskId).text]
      },
      join(__dirname, '../../arguments.js'),
    )
    expect(texts).toEqual([true, false, 'by the worker\n'])
    await node.kill()
  })

  test('no descriptor beyond 0, 1 and 2, a session of its own, and no terminal', async () => {
    // P26
    const ready = readyFifo(store)
    const under = ['bash', '-c', 'exec 7< /etc/passwd 40< /etc/passwd; exec "$@"', 'bash']
    const node = await host(store, { under })
    const terminal = '(: < /dev/tty) 2> /dev/null && echo terminal'
    const task = await node.call(({ tasks }, text) => tasks.spawn(text), `${terminal}; ${patient(ready)}`)
    const pid = Number(await ready.line())
    // While a program is loaded its libraries are open.
    await eventually(() => String(readdirSync(`/proc/${pid}/fd`)) === '0,1,2', 'no more than 0, 1 and 2 are open')
    expect(statOf(pid)).toMatchObject({ pgid: pid, sid: pid })
    const ended = await node.call(({ tasks }, id) => tasks.kill(id), task)
    expect(ended.outputPreview).toBe('')
  })
})

describe('a shell that cannot be executed', () => {
  async function expectSpawnError(spawning: Promise<string>, errno: string): Promise<void> {
    const ended = await tasks.wait(await spawning)
    expect(ended).toMatchObject({ status: 'failed', cause: 'spawn_error', exitCode: null, signal: null })
    expect(ended.error).toMatch(new RegExp(`\\b${errno}\\b`))
    expect(ended.stdoutBytes + ended.stderrBytes).toBe(0)
    const told = tasks.drain({ sessionId: ended.sessionId }).filter((completion) => completion.taskId === ended.taskId)
    expect(told).toMatchObject([{ status: 'failed', cause: 'spawn_error', exitCode: null, error: ended.error }])
  }

  test.each([
    ['ENOEXEC', 'no program at all', () => script('echo this has no first line\n')],
    ['ENOENT', 'a script whose interpreter is missing', () => script('#!/no/such/interpreter\n')],
    ['EACCES', 'a script whose interpreter is not executable', () => script(`#!${script('#!/bin/sh\n', 0o644)}\n`)],
  ])('is a spawn_error with %s, not exit code 127: %s', async (errno, _, shell) => {
    // P30
    await expectSpawnError(tasks.spawn('echo ran', { shell: shell() }), errno)
  })

  test('for too large an environment is a spawn_error with E2BIG', async () => {
    // P30
    await expectSpawnError(tasks.spawn('echo ran', { env: { HUGE: 'x'.repeat(200_000) } }), 'E2BIG')
    const many = Object.fromEntries(Array.from({ length: 80 }, (_, at) => [`LARGE_${at}`, 'x'.repeat(100_000)]))
    await expectSpawnError(tasks.spawn('echo ran', { env: many }), 'E2BIG')
  })

  test('leaves a command that says 127 by itself what it is', async () => {
    // P30
    expect(await ran('exit 127')).toMatchObject({ status: 'failed', cause: 'exit', exitCode: 127, error: null })
    expect(await ran('outlive-no-such-command')).toMatchObject({ cause: 'exit', exitCode: 127 })
  })
})
