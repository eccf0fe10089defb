// The command line, run as people run it: real processes on a real store, with a real pty for what is coloured.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, chmodSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { TaskSnapshot } from 'outlive'
import { CLI, commandLine } from './support/cli'
import { gate, isAlive, obedient, patient, processesOf, readyFifo } from './support/guests'
import { rewrite, sealed } from './support/records'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 50 })
const { start, outlive } = commandLine(store)

async function ended(command: string, options: object = {}): Promise<TaskSnapshot> {
  return tasks.wait(await tasks.spawn(command, options))
}

/** What a terminal of 100 columns, or so many, gets to see. */
function inTerminal(args: string, env: Record<string, string> = {}, columns = 100): string {
  const line = `stty cols ${columns}; exec '${process.execPath}' '${CLI}' ${args}`
  const { NO_COLOR: _, ...rest } = process.env
  const colours = { ...rest, TERM: 'xterm', OUTLIVE_DIR: store.dir, ...env }
  return execFileSync('script', ['-qec', line, '/dev/null'], { env: colours, encoding: 'utf8', stdio: 'pipe' })
}

describe('ls', () => {
  test('is a table for people and the snapshots of the API for scripts', async () => {
    const sessionId = 'table'
    const failed = await ended('echo out; exit 3', { sessionId })
    const killed = await tasks.kill(await tasks.spawn('sleep 1000', { sessionId, description: 'a long sleep' }))
    const late = await ended('sleep 1000', { sessionId, timeoutMs: 50 })
    const { code, stdout, stderr } = await outlive('ls', '--session', sessionId)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [head, ...rows] = stdout.trimEnd().split('\n')
    expect(head).toMatch(/^ID +STATUS +EXIT +STARTED +TOOK +OUTPUT +PROCS +COMMAND$/)
    expect(rows[0]).toMatch(new RegExp(`^${failed.taskId} +failed +3 .* 4 B +0 +echo out; exit 3$`))
    expect(rows[1]).toMatch(new RegExp(`^${killed.taskId} +killed +SIGTERM .* a long sleep$`))
    expect(rows[2]).toMatch(new RegExp(`^${late.taskId} +timed_out +124 .* sleep 1000$`))
    const json = JSON.parse((await outlive('ls', '--json', '--session', sessionId)).stdout)
    expect(json).toEqual(tasks.list({ sessionId }))
    const some = await outlive('ls', '--json', '--session', sessionId, '--status', 'killed', '--status', 'failed')
    expect(JSON.parse(some.stdout).map((task: TaskSnapshot) => task.taskId)).toEqual([failed.taskId, killed.taskId])
    const twice = await outlive('ls', '--session', sessionId, '--status', 'failed', '--status', 'failed')
    expect(twice.stdout.match(/^bash-/gm)).toHaveLength(1)
  })

  test('is in the order of the spawns, over all sessions, whatever the wall clock said', async () => {
    // R12
    const other = temporaryStore()
    const registry = other.registry()
    const ids: string[] = []
    for (const sessionId of ['one', 'another', 'one']) {
      const id = await registry.spawn('true', { sessionId })
      await registry.wait(id)
      await eventually(() => processesOf(id).length === 0, 'its supervisor is gone')
      ids.push(id)
    }
    registry.detach()
    const [first] = ids.map((id) => other.taskDir(id)!)
    for (const name of ['ended.json', 'started.json'])
      rewrite(first!, name, (record) => ({ ...record, startedAt: Date.now() + 3_600_000 }))
    const { stdout } = await outlive('ls', '--store', other.dir)
    expect(stdout.match(/^bash-\w+/gm)).toEqual(ids)
  })

  test('shows the command of a task whose description says nothing', async () => {
    const sessionId = 'blank'
    const ids = ['', ' \n'].map(async (description) => (await ended('true', { sessionId, description })).taskId)
    const { stdout } = await outlive('ls', '--session', sessionId)
    for (const id of await Promise.all(ids)) expect(stdout).toMatch(new RegExp(`^${id} .* true$`, 'm'))
  })

  test('shows all sessions of the store, and with --session only those', async () => {
    const { taskId } = await ended('true', { sessionId: 'elsewhere' })
    const { taskId: here } = await ended('true')
    expect((await outlive('ls')).stdout).toMatch(new RegExp(`^${taskId} .* elsewhere +true$`, 'm'))
    const only = (await outlive('ls', '--session', 'elsewhere')).stdout
    expect(only).toMatch(new RegExp(`^${taskId} .* 0 +true$`, 'm'))
    expect(only).not.toContain(here)
    const ids = async (...names: string[]) =>
      JSON.parse((await outlive('ls', '--json', ...names.flatMap((name) => ['--session', name]))).stdout)
        .filter((task: TaskSnapshot) => [here, taskId].includes(task.taskId))
        .map((task: TaskSnapshot) => task.taskId)
    expect(await ids('elsewhere', 'default')).toEqual([taskId, here])
    expect((await outlive('show', taskId)).code).toBe(0)
    expect(await outlive('show', '--session', 'default', taskId)).toMatchObject({
      code: 3,
      stderr: `outlive: no task has the id "${taskId}"\n`,
    })
    expect((await outlive('ls', '--status', 'lost')).stdout).toBe('no tasks of that status\n')
  })

  test('has colours and the width of the terminal in a terminal, and neither with NO_COLOR or in a pipe', async () => {
    const { taskId } = await ended(`exit 7 # ${'long '.repeat(40)}`, { sessionId: 'wide' })
    const coloured = inTerminal('ls --session wide')
    expect(coloured).toContain('\u001b[31mfailed')
    const line = coloured.split('\r\n').find((row) => row.includes(taskId))
    expect(line).toMatch(/…$/)
    expect(line!.replace(/\u001b\[\d+m/g, '')).toHaveLength(100)
    const plain = inTerminal('ls --session wide', { NO_COLOR: '1' })
    expect(plain).toContain(taskId)
    expect(plain).not.toContain('\u001b')
    const piped = (await outlive('ls', '--session', 'wide')).stdout
    expect(piped).toContain('long '.repeat(40).trim())
    expect(piped).not.toContain('\u001b')
  })

  test.each([20, 40, 60, 80, 120])(
    'fits into a terminal of %d columns, whatever its tasks are called',
    async (columns) => {
      const ids = [
        await ended(`exit 7 # ${'long '.repeat(40)}`, { sessionId: 'narrow 1' }),
        await ended('true', { sessionId: 'narrow 2', description: '日本語の説明'.repeat(20) }),
      ].map(({ taskId }) => taskId)
      const rows = inTerminal('ls --session "narrow 1" --session "narrow 2"', { NO_COLOR: '1' }, columns)
        .trimEnd()
        .split('\r\n')
      const cells = (row: string) =>
        Array.from(row).reduce((sum, letter) => sum + (/\p{Script=Han}|\p{Script=Hiragana}/u.test(letter) ? 2 : 1), 0)
      for (const row of rows) expect(cells(row)).toBeLessThanOrEqual(columns)
      for (const id of ids) expect(rows.filter((row) => row.startsWith(id.slice(0, 19)))).not.toEqual([])
      const [head] = rows
      if (columns === 80) expect(head).toMatch(/^ID +STATUS +EXIT +TOOK +PROCS +SESSION +COMMAND$/)
      if (columns >= 60) expect(rows.join('\n')).toMatch(/ exit 7.*…$/m)
    },
  )

  test('has room for as many rows as a store can have', () => {
    const { table }: { table(head: string[], rows: string[][]): string } = require('../../cli/table.js')
    const rows = Array.from({ length: 200_000 }, (_, row) => [String(row), 'true'])
    expect(table(['ID', 'COMMAND'], rows).split('\n')).toHaveLength(200_001)
  })

  test('lets no command and no description steer the terminal', async () => {
    const { taskId } = await ended('true', {
      sessionId: 'evil',
      description: 'a\u001b[2J\u0007b\rc\nd\u009b31m\u202ee',
    })
    await ended("printf '\\033]0;title\\007x'; # \u001b[8m", { sessionId: 'evil' })
    const shown = inTerminal('ls --session evil') + inTerminal(`show --session evil ${taskId}`)
    expect(shown.replace(/\u001b\[\d+m/g, '')).not.toMatch(/[\u001b\u0007\u009b\u202e]|\r(?!\n)/)
    expect(shown).not.toContain('\u001b[8m')
  })
})

describe('show', () => {
  test('tells everything about a task, by its id or the beginning of it', async () => {
    const { taskId, stdoutPath } = await ended('printf "to be\\r\\nseen\\n"; kill -SEGV $$', { metadata: { turn: 4 } })
    const { code, stdout } = await outlive('show', taskId.slice(0, 17))
    expect(code).toBe(0)
    for (const part of [taskId, 'failed (signal, SIGSEGV)', '{"turn":4}', stdoutPath, 'to be\nseen']) {
      expect(stdout).toContain(part)
    }
    const json = await outlive('show', '--json', taskId.slice(5))
    expect(JSON.parse(json.stdout)).toEqual(tasks.status(taskId))
  })

  test('lets nothing that a task wrote or was called steer the terminal', async () => {
    const command = "printf '\\033]0;title\\007\\033[2Jx\\202\\n' # \u001b[8m\u2066"
    const { taskId } = await ended(command, { sessionId: 'e\u001b[2Jvil', metadata: '\u202e' })
    const { stdout } = await outlive('show', taskId)
    for (const part of ['session', 'printf', 'metadata']) expect(stdout).toContain(part)
    expect(stdout).toMatch(/^x/m)
    expect(stdout).not.toMatch(/[\u0007\u001b\u0080-\u009f\u202e\u2066]/)
  })

  test('says whether the news of a task was taken, of one that has news', async () => {
    const sessionId = 'told'
    const { taskId } = await ended('true', { sessionId })
    const { taskId: silent } = await ended('true', { sessionId, notify: false })
    const told = async (id: string) => /^told +(.*)$/m.exec((await outlive('show', id)).stdout)?.[1]
    expect([await told(taskId), await told(silent)]).toEqual(['not yet', undefined])
    tasks.drain({ sessionId })
    expect([await told(taskId), await told(silent)]).toEqual(['yes', undefined])
  })

  test('ends with 3 when no task, or more than one, is meant', async () => {
    const unknown = await outlive('show', 'bash-0000000000000000')
    expect(unknown).toMatchObject({ code: 3, stdout: '', stderr: expect.stringContaining('bash-0000000000000000') })
    const sessionId = 'more than digits'
    const ids = await Promise.all(Array.from({ length: 17 }, async () => (await ended('true', { sessionId })).taskId))
    const beginnings = ids.map((id) => id.slice(0, 'bash-0'.length))
    const shared = beginnings.find((beginning, at) => beginnings.indexOf(beginning) < at)!
    const ambiguous = await outlive('show', '--session', sessionId, shared)
    expect(ambiguous).toMatchObject({
      code: 3,
      stdout: '',
      stderr: expect.stringContaining(`"${shared}" is the beginning of`),
    })
  })

  test('ends with 3 when no digit is named, also where there is only one task', async () => {
    const sessionId = 'alone'
    const id = await tasks.spawn('sleep 600', { sessionId })
    const killed = await outlive('kill', '--session', sessionId, 'bash-')
    expect(killed).toMatchObject({ code: 3, stdout: '', stderr: expect.stringContaining('no task has the id "bash-"') })
    expect(tasks.status(id)?.status).toBe('running')
    await tasks.kill(id)
  })
})

describe('logs', () => {
  test('prints each stream on its own, whole or from its last lines', async () => {
    const { taskId } = await ended('seq 1 30000; echo ü >&2; printf end')
    const all = await outlive('logs', taskId)
    expect(all).toMatchObject({ code: 0, stdout: tasks.output(taskId, { maxBytes: 1e6 }).text, stderr: 'ü\n' })
    expect((await outlive('logs', '-n', '3', taskId)).stdout).toBe('29999\n30000\nend')
    expect((await outlive('logs', '-n', '20000', '--stream', 'stdout', taskId)).stdout).toMatch(/^10002\n[\d\n]*end$/)
    expect(await outlive('logs', '-n', '0', taskId)).toMatchObject({ stdout: '', stderr: '' })
    const chunk = JSON.parse((await outlive('logs', '--json', '-n', '1', '--stream', 'stderr', taskId)).stdout)
    expect(chunk).toEqual({
      stream: 'stderr',
      text: 'ü\n',
      from: 0,
      nextOffset: 3,
      droppedBytes: 0,
      totalBytes: 3,
      eof: true,
    })
  })

  test('prints what is no text byte for byte, whole, from its last lines and around what the limit removed', async () => {
    const bytes = randomBytes(3_000_000)
    const path = join(store.dir, 'random')
    writeFileSync(path, bytes)
    const raw = (...args: string[]): Buffer =>
      execFileSync(process.execPath, [CLI, 'logs', ...args], {
        env: { ...process.env, OUTLIVE_DIR: store.dir },
        maxBuffer: 2 ** 24,
        stdio: ['ignore', 'pipe', 'ignore'],
      })
    const { taskId } = await ended(`cat '${path}'`)
    expect(raw(taskId).equals(bytes)).toBe(true)
    expect(raw('-f', taskId).equals(bytes)).toBe(true)
    let tail = bytes.length
    for (let left = 0; left < 3; left++) tail = bytes.lastIndexOf(10, tail - 1)
    const last = raw('-n', bytes.at(-1) === 10 ? '2' : '3', taskId)
    expect(last.equals(bytes.subarray(tail + 1))).toBe(true)
    const limited = await ended(`cat '${path}'`, { maxOutputBytes: 1_000_000 })
    const kept = raw(limited.taskId)
    // Beside what was removed, what looks like the rest of a character goes with it.
    const removed = bytes.length - kept.length
    expect(removed - limited.droppedBytes).toBeLessThanOrEqual(6)
    const head = bytes.findIndex((byte, at) => byte !== kept[at])
    expect(bytes.subarray(head + removed).equals(kept.subarray(head))).toBe(true)
  })

  test('counts no line before a removed middle, however small that is', async () => {
    const { taskId, droppedBytes } = await ended('seq -w 1 100000', { maxOutputBytes: 65_536 })
    expect(droppedBytes).toBeGreaterThan(0)
    const { stdout, stderr } = await outlive('logs', '-n', '20000', taskId)
    const numbers = stdout.split('\n').slice(1, -1).map(Number)
    expect(numbers.at(-1)).toBe(100_000)
    expect(numbers).toEqual(numbers.map((_, at) => 100_001 - numbers.length + at))
    expect(stderr).toContain('fewer than 20000 lines are there')
  })

  test.each([
    ['goes on', 'fatal', 'read _ <'],
    ['ends', 'fatal', ': '],
    ['writes more than before', 'fatal '.repeat(100), ': '],
  ])('-f prints what comes behind a command’s own truncation, one that %s', async (way, text, wait) => {
    const [first, second] = [gate(store), gate(store)]
    const truncate = `echo '${text}' >/dev/stderr; echo later >&2`
    const taskId = await tasks.spawn(`seq 1 100 >&2; read _ <'${first.path}'; ${truncate}\n${wait}'${second.path}'`)
    const { seen, ended } = start(['logs', '-f', taskId])
    await eventually(() => seen.stderr.endsWith('\n100\n'), 'all is printed that is there')
    first.open()
    const rest = `\n100\noutlive: stderr was truncated by the command; from its beginning again:\n${text}\nlater\n`
    if (way === 'goes on') await eventually(() => seen.stderr.endsWith(rest), 'what comes behind it is printed')
    second.open()
    expect((await ended).code).toBe(0)
    expect(seen.stderr.slice(-rest.length)).toBe(rest)
  })

  test.each([[], ['-f']])('--json prints what is no text once, with what stands for it %s', async (...follow) => {
    // Three bytes of a character of four, at the beginning and at the end of a page: what stands for them has three as well.
    const fill = (count: number, letter: string) => `head -c ${count} /dev/zero | tr '\\0' ${letter}`
    const cut = "printf '\\360\\237\\230 '"
    const { taskId } = await ended(`${cut}; ${fill(1_048_550, 'a')}; ${cut}; ${fill(100_000, 'b')}`)
    const { stdout, stderr } = await outlive('logs', '--json', ...follow, taskId)
    expect(stderr).toBe('')
    const texts = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).text)
    expect(texts.join('')).toBe(`\u{fffd} ${'a'.repeat(1_048_550)}\u{fffd} ${'b'.repeat(100_000)}`)
  })

  test('of any length prints as many of its last lines as were asked for, and takes no memory for it', async () => {
    const [ready, wait] = [readyFifo(store), gate(store)]
    const write = 'yes 123456789abcdef | head -c 128000000'
    const taskId = await tasks.spawn(`${write}; ${obedient(ready, wait)}`, { maxOutputBytes: 0 })
    await ready.line()
    const { child, seen, ended } = start(['logs', '-f', '-n', '7999999', taskId])
    await eventually(() => seen.stdout.length === 128_000_000 - 16, 'all lines but the first are printed')
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]
    expect(Number(peak)).toBeLessThan(140_000)
    wait.open()
    expect((await ended).code).toBe(0)
  })

  test('finds the last lines behind a removed middle of any size, and says when they are fewer', async () => {
    const { taskId, stdoutPath } = await ended('seq 1 3')
    const hole = [statSync(stdoutPath).size, 2 ** 43]
    truncateSync(stdoutPath, 2 ** 43)
    appendFileSync(stdoutPath, 'the rest of a line\nlast but one\nlast\n')
    writeFileSync(join(store.taskDir(taskId)!, 'dropped.json'), sealed({ version: 1, stdout: hole, stderr: [0, 0] }))
    const last = (lines: string) => outlive('logs', '--stream', 'stdout', '-n', lines, taskId)
    expect(await last('2')).toEqual({ code: 0, stdout: 'last but one\nlast\n', stderr: '' })
    expect(await last('5')).toEqual({
      code: 0,
      stdout: 'the rest of a line\nlast but one\nlast\n',
      stderr: 'outlive: fewer than 5 lines are there: the output limit removed what was before them\n',
    })
  })

  test('says where the stderr of a merged task is', async () => {
    const { taskId } = await ended('echo out; echo err >&2', { stderr: 'merge' })
    expect(await outlive('logs', taskId)).toEqual({ code: 0, stdout: 'out\nerr\n', stderr: '' })
    const { stdout, stderr } = await outlive('logs', '--stream', 'stderr', taskId)
    expect({ stdout, stderr }).toEqual({
      stdout: '',
      stderr: 'outlive: the stderr of this task was merged into its stdout\n',
    })
  })

  test('-f prints as the task writes, costs nothing in between, and ends with it', async () => {
    const [ready, wait] = [readyFifo(store), gate(store)]
    const step = (word: string) => `read _ < ${wait.path}; echo ${word}`
    const taskId = await tasks.spawn(`echo one; echo $$ > ${ready.path}; ${step('two')}; ${step('three')} >&2; exit 3`)
    await ready.line()
    const { child, seen, ended } = start(['logs', '-f', taskId])
    await eventually(() => seen.stdout === 'one\n', 'what was there before comes first')
    wait.open()
    await eventually(() => seen.stdout === 'one\ntwo\n', 'the next line comes while the task runs')
    const before = wakeUps(child.pid!)
    await new Promise((resolve) => setTimeout(resolve, 400)) // how long nothing shall happen
    expect(wakeUps(child.pid!) - before).toBeLessThanOrEqual(2)
    wait.open()
    expect(await ended).toMatchObject({ code: 4, stdout: 'one\ntwo\n', stderr: 'three\n' })
  })

  test('-f where the kernel has no watch left says so and prints the rest at the end', async () => {
    const [ready, wait] = [readyFifo(store), gate(store)]
    const taskId = await tasks.spawn(`echo one; ${obedient(ready, wait, 'echo two')}`)
    await ready.line()
    const line = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    const { seen, ended } = start(['logs', '-f', taskId], ['unshare', '-Ur', 'sh', '-c', line, 'sh'])
    await eventually(() => seen.stdout === 'one\n', 'what was there before comes first')
    wait.open()
    expect(await ended).toMatchObject({
      code: 0,
      stdout: 'one\ntwo\n',
      stderr: expect.stringContaining('cannot watch'),
    })
  })

  test('-f of a task that has completed prints all and ends with 0', async () => {
    const { taskId } = await ended('seq 1 200000', { stderr: 'merge' })
    const { code, stdout } = await outlive('logs', '-f', taskId)
    expect(code).toBe(0)
    expect(stdout).toHaveLength(1288895)
  })

  test('-f ends with its task and says which processes it left behind', async () => {
    const [ready, wait] = [readyFifo(store), gate(store)]
    const taskId = await tasks.spawn(`(${patient(ready)}) & ${obedient(ready, wait)}`)
    await Promise.all([ready.line(), ready.line()])
    wait.open()
    const { code, stderr } = await outlive('logs', '-f', taskId)
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('1 of its processes still run') })
    await tasks.kill(taskId)
  })

  test('of what never stops writing ends with what there was, and with -f when the task does', async () => {
    const intoNothing = ['sh', '-c', 'exec "$@" > /dev/null', 'sh']
    const [ready, wait] = [readyFifo(store), gate(store)]
    const taskId = await tasks.spawn(`yes & echo also here >&2; ${obedient(ready, wait, 'exit 3')}`, {
      maxOutputBytes: 16 << 20,
    })
    await ready.line()
    expect((await start(['logs', taskId], intoNothing).ended).code).toBe(0)
    const { seen, ended } = start(['logs', '-f', taskId], intoNothing)
    await eventually(() => seen.stderr.includes('also here\n'), 'it follows the other stream too')
    wait.open()
    expect((await ended).code).toBe(4)
    await tasks.kill(taskId)
  })

  test('-n prints as many lines of each stream, however much comes while the other one is printed', async () => {
    const ready = readyFifo(store)
    const taskId = await tasks.spawn(`echo ready > '${ready.path}'; while :; do echo out; echo err >&2; done`)
    await ready.line()
    await eventually(() => tasks.status(taskId)!.stderrBytes! > 1000, 'it has written')
    const { stdout, stderr } = await start(['logs', '-n', '3', taskId]).ended
    // The last one may be half written.
    expect([stdout, stderr].map((text) => text.split('\n').filter(Boolean).length)).toEqual([3, 3])
    await tasks.kill(taskId)
  })

  test('ends quietly when its reader has seen enough', async () => {
    const { taskId } = await ended('seq 1 200000')
    const line = `'${process.execPath}' '${CLI}' logs ${taskId} | head -n 1; echo "\${PIPESTATUS[0]}"`
    const seen = execFileSync('bash', ['-c', line], {
      env: { ...process.env, OUTLIVE_DIR: store.dir },
      encoding: 'utf8',
    })
    expect(seen).toBe('1\n0\n')
  })
})

describe('kill', () => {
  test('ends the task for its plugin, which still gets the completion', async () => {
    const ready = readyFifo(store)
    const sessionId = 'plugin'
    const taskId = await tasks.spawn(patient(ready), { sessionId })
    const pid = Number(await ready.line())
    const { code, stdout } = await outlive('kill', '--session', sessionId, taskId)
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${taskId} killed (SIGTERM)\n` })
    expect(isAlive(pid)).toBe(false)
    expect(await tasks.wait(taskId)).toMatchObject({ status: 'killed' })
    expect(tasks.drain({ sessionId })).toMatchObject([{ taskId, status: 'killed' }])
  })

  test('of a task that has ended says so, and what it has ended all the same', async () => {
    const { taskId } = await ended('sleep 1000 & exit 3')
    const stdout = `${taskId} failed (exit code 3)\n`
    const first = await outlive('kill', taskId)
    const stderr = 'outlive: the task had ended before; 1 process that it left behind was ended\n'
    expect(first).toEqual({ code: 0, stdout, stderr })
    expect(await outlive('kill', taskId)).toEqual({ code: 0, stdout, stderr: 'outlive: the task had ended before\n' })
  })

  test('takes a signal as people write it, and a grace', async () => {
    const [ready, wait] = [readyFifo(store), gate(store)]
    const taskId = await tasks.spawn(`trap 'exit 5' INT; ${obedient(ready, wait)}`)
    await ready.line()
    const { stdout } = await outlive('kill', '-s', 'int', '--grace', '20s', '--json', taskId)
    expect(JSON.parse(stdout)).toMatchObject({ taskId, status: 'killed', exitCode: 5 })
  })

  test.each([
    ['int', 'SIGINT'],
    ['SIGUSR1', 'SIGUSR1'],
    ['9', 'SIGKILL'],
  ])('knows the signal %s', async (written, signal) => {
    const taskId = await tasks.spawn('exec sleep 1000')
    expect(await outlive('kill', '-s', written, taskId)).toMatchObject({
      code: 0,
      stdout: `${taskId} killed (${signal})\n`,
    })
  })

  test('of an unknown task ends with 3, with an unknown signal it is misuse', async () => {
    expect(await outlive('kill', 'bash-0000000000000000')).toMatchObject({ code: 3 })
    const { taskId } = await ended('true')
    for (const signal of ['NOPE', '999', '']) {
      const refused = await outlive('kill', '-s', signal, taskId)
      expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining(`such as TERM or 15; got "${signal}"`) })
    }
  })
})

describe('gc', () => {
  test('removes what is finished and old enough, and nothing that runs', async () => {
    const other = temporaryStore()
    const registry = other.registry()
    const ready = readyFifo(other)
    const running = await registry.spawn(patient(ready))
    const finished = await registry.spawn('true')
    await registry.wait(finished)
    const gc = (...args: string[]) => outlive('gc', '--store', other.dir, ...args)
    expect(await gc()).toMatchObject({ code: 0, stdout: 'removed 0 tasks\n' })
    const elsewhere = await registry.spawn('true', { sessionId: 'elsewhere', notify: false })
    await registry.wait(elsewhere)
    const removedElsewhere = async () => (await gc('--older-than', '0s', '--json')).stdout === '{"removed":1}\n'
    await eventually(removedElsewhere, 'the task of another session is removed, which nobody wants to hear of')
    expect((await gc('--older-than', '0s', '--json')).stdout).toBe('{"removed":0}\n')
    registry.drain()
    // A supervisor that still syncs its record keeps its task for a moment.
    const removed = async () => (await gc('--older-than', '0s', '--json')).stdout === '{"removed":1}\n'
    await eventually(removed, 'the finished task is removed')
    expect(other.taskIds()).toEqual([running])
  })
})

test('a duration is what its unit says', () => {
  const { parse } = require('../../cli/arguments.js')
  const milliseconds = (text: string) => parse(['gc', '--older-than', text]).options.olderThanMs
  expect(['7ms', '7s', '7m', '7h', '7d', '0'].map(milliseconds)).toEqual([7, 7000, 420_000, 25_200_000, 604_800_000, 0])
})

test('gc takes of the sessions that are named what was told, and the rest by a limit of its own', async () => {
  const other = temporaryStore()
  const registry = other.registry()
  const sessionId = 'named'
  const untold = await registry.spawn('true', { sessionId })
  const silent = await registry.spawn('true', { sessionId: 'another', notify: false })
  for (const id of [untold, silent]) {
    await registry.wait(id)
    await eventually(() => processesOf(id).length === 0, 'its supervisor is gone')
  }
  registry.detach()
  const gc = async (...args: string[]) =>
    (await outlive('gc', '--store', other.dir, '--session', sessionId, '--older-than', '0', ...args)).stdout
  expect(await gc()).toBe('removed 0 tasks\n')
  expect(await gc('--undelivered-older-than', '0s')).toBe('removed 1 task\n')
  expect(other.taskIds()).toEqual([silent])
})

test.each(['ls', 'gc'])('%s says which tasks it cannot read', async (verb) => {
  const other = temporaryStore()
  const registry = other.registry()
  const id = await registry.spawn('true')
  await registry.wait(id)
  registry.detach()
  const newer = join(dirname(other.taskDir(id)!), 'bash-0123456789abcdef')
  mkdirSync(newer)
  writeFileSync(join(newer, 'task.json'), '{"version":99}\n')
  const { code, stderr } = await outlive(verb, '--store', other.dir)
  const why =
    'written by a newer version, damaged, open to others, or the task of another machine or store; left as it is'
  expect({ code, stderr }).toEqual({ code: 0, stderr: `outlive: left out ${newer}: ${why}\n` })
})

test('ls says why it leaves out a session that others can write to, and lists the others', async () => {
  const other = temporaryStore()
  const registry = other.registry()
  const [bad, good] = await Promise.all(['bad', 'good'].map((sessionId) => registry.spawn('true', { sessionId })))
  await Promise.all([registry.wait(bad!), registry.wait(good!)])
  registry.detach()
  const session = dirname(other.taskDir(bad!)!)
  chmodSync(session, 0o770)
  const { code, stdout, stderr } = await outlive('ls', '--store', other.dir)
  expect(code).toBe(0)
  expect(stdout).toContain(good)
  expect(stdout).not.toContain(bad)
  expect(stderr).toMatch(/^outlive: .*others can write to it \(mode 770\).*chmod -R go-w\n$/)
  expect(stderr).toContain(session)
  const named = await outlive('ls', '--session', 'bad', '--store', other.dir)
  expect(named).toMatchObject({ code: 1, stdout: '', stderr })
})

test.each(['ls', 'logs'])('what %s cannot write, it says in a line', async (verb) => {
  const { taskId } = await ended('echo out')
  const shell = ['sh', '-c', 'exec "$@" > /dev/full', 'sh']
  const { code, stderr } = await start(verb === 'ls' ? [verb] : [verb, taskId], shell).ended
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^outlive: cannot write: ENOSPC[^\n]*\n$/),
  })
})

describe('where nobody reads stderr', () => {
  const other = temporaryStore()
  const registry = other.registry()

  /** Runs it when the reader of its stderr has gone. */
  async function unread(...args: string[]): Promise<{ code: number | null; stdout: string }> {
    const wait = gate(other)
    const shell = ['sh', '-c', `read _ < ${wait.path} && exec "$@"`, 'sh']
    const { child, ended } = start([...args, '--store', other.dir], shell)
    await once(child.stderr!.destroy(), 'close')
    wait.open()
    const { code, stdout } = await ended
    return { code, stdout }
  }

  test('what was asked is done all the same, whatever there was to be remarked', async () => {
    const damaged = await registry.spawn('true', { sessionId: 'damaged' })
    await registry.wait(damaged)
    writeFileSync(join(other.taskDir(damaged)!, 'task.json'), 'xx{')
    const taskId = await registry.spawn('exec sleep 1000', { sessionId: 'running' })
    expect((await outlive('ls', '--store', other.dir)).stderr).toContain('left out')
    expect((await unread('ls')).stdout).toMatch(new RegExp(`^${taskId} +running`, 'm'))
    const killed = `${taskId} killed (SIGTERM)\n`
    expect(await unread('kill', taskId)).toEqual({ code: 0, stdout: killed })
    expect(await unread('kill', taskId)).toEqual({ code: 0, stdout: killed }) // "the task had ended before"
    expect(await unread('show', 'bash-0000000000000000')).toEqual({ code: 3, stdout: '' })
    expect(await unread('lst')).toEqual({ code: 2, stdout: '' })
  })

  test('logs of what a task wrote there ends as quietly as on stdout', async () => {
    const taskId = await registry.spawn('echo err >&2; exit 3')
    await registry.wait(taskId)
    expect(await unread('logs', '-f', taskId)).toEqual({ code: 0, stdout: '' })
    expect(await unread('logs', '-f', '--stream', 'stdout', taskId)).toEqual({ code: 4, stdout: '' })
  })
})

/** How often the main thread of a process slept and was woken so far. */
function wakeUps(pid: number): number {
  const status = readFileSync(`/proc/${pid}/task/${pid}/status`, 'utf8')
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)![1])
}
