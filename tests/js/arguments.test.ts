// N5
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runInNewContext } from 'node:vm'
import type { TaskRegistry } from 'outlive'
import * as outlive from 'outlive'
import { rejectionOf, temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry({ maxRunning: 100 })

type Call = (target: TaskRegistry, options: never) => unknown
const someTask = 'bash-0123456789abcdef'

/** Every method that takes options, called with them. */
const calls: Record<string, Call> = {
  TaskRegistry: (_, options) => new outlive.TaskRegistry(options),
  spawn: (target, options) => target.spawn('true', options),
  status: (target, options) => target.status(someTask, options),
  list: (target, options) => target.list(options),
  kill: (target, options) => target.kill(someTask, options),
  wait: (target, options) => target.wait(someTask, options),
  output: (target, options) => target.output(someTask, options),
  onCompletion: (target, options) => target.onCompletion(() => {}, options),
  drain: (target, options) => target.drain(options),
  pending: (target, options) => target.pending(options),
  cleanup: (target, options) => target.cleanup(options),
  shutdown: (target, options) => target.shutdown(options),
}
const asynchronous = new Set(['spawn', 'kill', 'wait', 'replay', 'cleanup', 'shutdown'])

/** What a call throws or rejects with; asynchronous methods must reject and never throw. */
async function failureOf(name: string, call: () => unknown): Promise<NodeJS.ErrnoException> {
  let answer: unknown
  try {
    answer = call()
  } catch (error) {
    if (asynchronous.has(name)) throw new Error(`${name} threw in place of rejecting`, { cause: error })
    return error as NodeJS.ErrnoException
  }
  if (!asynchronous.has(name)) throw new Error(`${name} threw nothing`)
  return (answer as Promise<unknown>).then(
    () => Promise.reject(new Error(`${name} resolved`)),
    (error) => error,
  )
}

async function expectMisuse(name: string, call: () => unknown, message: string | RegExp): Promise<void> {
  const error = await failureOf(name, call)
  expect(error).toBeInstanceOf(TypeError)
  expect(error.code).toBe('INVALID_ARGUMENT')
  expect(error.message).toMatch(message)
}

/** A proxy that throws at whatever it is asked. */
function revoked<T extends object>(target: T): T {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

const gone = revoked({})
const notText = [5, true, null, {}, [], 5n, () => {}, Symbol('s'), gone]
const notMilliseconds = ['5s', '5', Number.NaN, -1, 1.5, Infinity, 2 ** 53, null, 5n, true, {}, [], () => {}, gone]
const notBytes = [...notMilliseconds]
const notPlainText = [...notText, 'nul\0', 'half \ud83d of it', '\udc00']
const notSession = [...notPlainText, '', 'x'.repeat(1025), '😀'.repeat(257)]
const notFlag = ['true', 1, 0, null, {}]

/** For every option of every method, values that it must refuse. */
const refused: Record<string, Record<string, unknown[]>> = {
  TaskRegistry: {
    storageDir: [...notPlainText, '', 'x'.repeat(4096)],
    maxRunning: [...notMilliseconds, 0, 2 ** 31],
  },
  spawn: {
    sessionId: notSession,
    cwd: [...notPlainText, '', 'x'.repeat(4096)],
    env: [null, 5, 'A=1', ['A=1'], new Map([['A', '1']]), true, gone, Promise.resolve({ A: '1' }), new Date()],
    timeoutMs: notMilliseconds,
    graceMs: notMilliseconds,
    shell: [...notPlainText, '', 'x'.repeat(4096)],
    stderr: ['Merge', 'both', null, true, 1],
    maxOutputBytes: notBytes,
    cleanup: ['none', null, true],
    notify: notFlag,
    description: [...notText, 'half \ud83d', 'x'.repeat(65537)],
    metadata: [() => {}, Symbol('s'), 5n, { deep: { big: 5n } }, { half: '\ud83d' }, 'x'.repeat(65535)],
  },
  status: { sessionId: notSession, previewBytes: [...notBytes, 1024 * 1024 + 1] },
  list: { sessionId: notSession, previewBytes: notBytes, status: ['done', null, 5, ''] },
  kill: {
    sessionId: notSession,
    signal: [9, 15, 'KILL', 'sigterm', 'SIGNOTHING', '', null, 'toString', {}],
    graceMs: notMilliseconds,
  },
  wait: { sessionId: notSession, timeoutMs: notMilliseconds, signal: [null, {}, 'abort', { aborted: false }, gone] },
  output: {
    sessionId: notSession,
    stream: ['stdin', 'out', null, 1],
    from: ['0', Number.NaN, 1.5, Infinity, -(2 ** 53), null, 5n],
    maxBytes: [...notBytes, 0, 16 * 1024 * 1024 + 1],
    wholeLines: notFlag,
  },
  onCompletion: { sessionId: notSession, ack: ['auto ', 'none', null, true] },
  drain: { sessionId: notSession },
  pending: { sessionId: notSession },
  cleanup: { olderThanMs: notMilliseconds, undeliveredOlderThanMs: notMilliseconds },
  shutdown: { graceMs: notMilliseconds },
}

describe('every option refuses what it cannot take, and says its name', () => {
  for (const [name, options] of Object.entries(refused)) {
    for (const [option, values] of Object.entries(options)) {
      test(`${name}: ${option}`, async () => {
        for (const value of values) {
          await expectMisuse(
            name,
            () => calls[name]!(tasks, { [option]: value } as never),
            `${name}: option "${option}"`,
          )
        }
      })
    }
  }
})

test.each(Object.keys(calls))('%s refuses options that are no object', async (name) => {
  for (const options of [null, 5, 'fast', true, [], () => {}, gone, revoked([])]) {
    await expectMisuse(name, () => calls[name]!(tasks, options as never), 'takes an object of options; got')
  }
})

/** As other libraries' promises are. */
class Later {
  // biome-ignore lint/suspicious/noThenProperty: that is what it has
  then(): void {}
}

/** In which no option would ever be found, and what is said of each. */
const otherKinds: [object, string][] = [
  [Promise.resolve({ sessionId: 'a', timeoutMs: 1000 }), 'a promise, which was not awaited'],
  [new Later(), 'a promise, which was not awaited'],
  [new Map([['sessionId', 'a']]), '[object Map]'],
  [new AbortController().signal, '[object AbortSignal]'],
]

test.each(Object.keys(calls))('%s refuses an object that is none of options', async (name) => {
  for (const [options, kind] of otherKinds) {
    await expectMisuse(name, () => calls[name]!(tasks, options as never), `takes an object of options; got ${kind}`)
  }
})

test('options may be of any class, of another realm, or a module', () => {
  class Settings {
    get sessionId(): string {
      return 'of a class'
    }
  }
  for (const options of [new Settings(), Object.create(null), runInNewContext('({})')]) {
    expect(() => tasks.drain(options)).not.toThrow()
  }
  const settings = { [Symbol.toStringTag]: 'Module' }
  expect(() => tasks.drain(settings as never)).not.toThrow()
})

test.each(Object.keys(calls))(
  '%s names an option that it does not know, and the nearest one that it does',
  async (name) => {
    const option = Object.keys(refused[name]!).at(-1)!
    const misspelt = `${option}x`
    await expectMisuse(
      name,
      () => calls[name]!(tasks, { [misspelt]: 1 } as never),
      new RegExp(`no option "${misspelt}"; the nearest is "${option}"`),
    )
  },
)

test('an option that is like none is not sent to a stranger', async () => {
  const error = await failureOf('spawn', () => tasks.spawn('true', { abort: 1 } as never))
  expect(error.message).toMatch(/^spawn: there is no option "abort"; it takes sessionId, cwd, /)
  const near = await failureOf('spawn', () => tasks.spawn('true', { timeout: 1 } as never))
  expect(near.message).toMatch(/^spawn: there is no option "timeout"; the nearest is "timeoutMs" of sessionId, cwd, /)
})

test('a message says the option, what it takes and what it got', async () => {
  const error = await failureOf('spawn', () => tasks.spawn('true', { timeoutMs: '5s' as never }))
  expect(error.message).toBe(
    'spawn: option "timeoutMs" takes a whole number of milliseconds, 0 for no deadline; got "5s"',
  )
})

test('a command is a non-empty string up to 8 MiB without NUL', async () => {
  for (const command of [...notPlainText, undefined, '', 'x'.repeat(8 * 1024 * 1024 + 1)]) {
    await expectMisuse(
      'spawn',
      () => tasks.spawn(command as never),
      /spawn: the command takes a non-empty string up to 8 MiB/,
    )
  }
})

test('names and values of the environment are text that an environment can hold', async () => {
  for (const env of [{ '': 'x' }, { 'A=B': 'x' }, { 'A\0': 'x' }, { '\ud83d': 'x' }]) {
    await expectMisuse('spawn', () => tasks.spawn('true', { env }), 'spawn: option "env" takes names')
  }
  for (const value of [...notText, 'nul\0', '\ud83d']) {
    await expectMisuse(
      'spawn',
      () => tasks.spawn('true', { env: { A: value as never } }),
      'spawn: option "env", variable "A"',
    )
  }
})

test('an environment that is larger than any that the system takes is refused at once', async () => {
  const half = 'x'.repeat(4 * 1024 * 1024)
  for (const env of [
    { A: '\n'.repeat(2 ** 23) },
    { ['\n'.repeat(2 ** 23)]: 'x' },
    { A: half, B: half },
    { A: '😀'.repeat(2 ** 21) },
  ]) {
    await expectMisuse(
      'spawn',
      () => tasks.spawn('true', { env }),
      /^spawn: option "env" takes names and strings up to 8 MiB together; got \d+ bytes$/,
    )
  }
  const id = await tasks.spawn('true', { env: { A: half.slice(1), B: half.slice(1) } })
  expect(await tasks.wait(id)).toMatchObject({ status: 'failed', cause: 'spawn_error' })
})

test('a value of the environment that is refused is in no message', async () => {
  const secret = 'sk-live-1234567'
  const envs = [`${secret}\0`, `${secret}\ud83d`, 1234567, 1234567n, Symbol('1234567')].map((A) => ({ A }))
  for (const env of [...envs, secret]) {
    const error = await rejectionOf((async () => tasks.spawn('true', { env: env as never }))())
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(/; got a \w+$/) })
    expect(String(error.stack)).not.toContain('1234567')
  }
})

test('cyclic metadata is refused with the reason in cause', async () => {
  const metadata: Record<string, unknown> = {}
  metadata.self = metadata
  const error = await failureOf('spawn', () => tasks.spawn('true', { metadata }))
  expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', cause: expect.any(TypeError) })
})

test('task ids of the wrong type are refused, strange ones are unknown', async () => {
  for (const id of [undefined, null, 5, {}, ['bash-1'], 'nul\0', '\ud83d', 'x'.repeat(2 ** 20 + 1)]) {
    await expectMisuse('status', () => tasks.status(id as never), 'status: the task id')
    await expectMisuse('output', () => tasks.output(id as never), 'output: the task id')
    await expectMisuse('kill', () => tasks.kill(id as never), 'kill: the task id')
    await expectMisuse('wait', () => tasks.wait(id as never), 'wait: the task id')
    await expectMisuse('ack', () => tasks.ack([id as never]), 'ack: the task id')
  }
  for (const id of [
    '',
    'bash-0123456789abcde',
    '\u001b[31m\n',
    '../../etc',
    '/',
    'bash-',
    'BASH-0123456789ABCDEF',
    '😀',
    'x'.repeat(1_000_000),
  ]) {
    expect(tasks.status(id)).toBeNull()
    expect(tasks.ack([id])).toBe(0)
    expect(tasks.release([id])).toBe(0)
    const message = expect.stringMatching(
      /^there is no task ".{0,60}"…?: a task id is "bash-" and 16 hexadecimal digits/u,
    )
    const unknown = { code: 'TASK_NOT_FOUND', message }
    await expect(tasks.kill(id)).rejects.toMatchObject(unknown)
    await expect(tasks.wait(id)).rejects.toMatchObject(unknown)
    expect(await failureOf('output', () => tasks.output(id))).toMatchObject(unknown)
  }
})

test('an id that nobody has awaited is said to be a promise', async () => {
  const id = tasks.spawn('true')
  const message = /takes the string that spawn resolved with; got a promise, which was not awaited$/
  await expectMisuse('status', () => tasks.status(id as never), message)
  await expectMisuse('wait', () => tasks.wait(id as never), message)
  await expectMisuse('ack', () => tasks.ack([id] as never), message)
  await id
})

test('ack and release take arrays only, without holes', async () => {
  // biome-ignore lint/suspicious/noSparseArray: that is what is refused
  for (const ids of [undefined, null, someTask, new Set([someTask]), { length: 0 }, [, someTask], gone]) {
    await expectMisuse('ack', () => tasks.ack(ids as never), /^ack(:| takes)/)
    await expectMisuse('release', () => tasks.release(ids as never), /^release(:| takes)/)
  }
})

test('onCompletion takes a function, replay a session id', async () => {
  for (const callback of [undefined, null, 'x', {}, 5, gone, revoked(() => {})]) {
    await expectMisuse(
      'onCompletion',
      () => tasks.onCompletion(callback as never),
      'onCompletion takes a function; got',
    )
  }
  for (const session of notSession) {
    await expectMisuse('replay', () => tasks.replay(session as never), 'replay: the session id')
  }
})

test.each(Object.keys(calls))('%s passes on the very error that a getter of its options throws', async (name) => {
  for (const option of Object.keys(refused[name]!)) {
    const mine = new Error('mine')
    const options = {
      get [option]() {
        throw mine
      },
    }
    expect(await failureOf(name, () => calls[name]!(tasks, options as never))).toBe(mine)
  }
})

test('an error thrown inside metadata or env comes out as it is', async () => {
  const mine = new Error('mine')
  const thrower = {
    get inner() {
      throw mine
    },
  }
  await expect(tasks.spawn('true', { metadata: thrower })).rejects.toBe(mine)
  await expect(tasks.spawn('true', { env: thrower as never })).rejects.toBe(mine)
})

test('each option is read once, from a prototype too', async () => {
  const reads: string[] = []
  class Options {
    get sessionId() {
      reads.push('sessionId')
      return reads.length === 1 ? 'once' : 'twice'
    }
    helper() {}
  }
  const id = await tasks.spawn('true', new Options())
  expect(reads).toEqual(['sessionId'])
  expect(tasks.status(id, { sessionId: 'once' })?.sessionId).toBe('once')
})

test('the largest values that are allowed work', async () => {
  const most = Number.MAX_SAFE_INTEGER
  const sessionId = '😀'.repeat(256)
  const metadata = 'x'.repeat(65534)
  const description = 'd'.repeat(65536)
  const options = { sessionId, metadata, description, timeoutMs: most, graceMs: most, maxOutputBytes: most }
  const id = await tasks.spawn('echo done', options)
  const snapshot = await tasks.wait(id, { sessionId, timeoutMs: most })
  expect(snapshot).toMatchObject({ status: 'completed', sessionId, metadata, description, timeoutMs: most })
  expect(tasks.status(id, { previewBytes: 1024 * 1024 })?.outputPreview).toBe('done\n')
  expect(tasks.status(id, { previewBytes: 0 })?.outputPreview).toBe('')
  expect(tasks.output(id, { from: most })).toMatchObject({ text: '', eof: true })
  expect(tasks.output(id, { from: -most, maxBytes: 16 * 1024 * 1024 }).text).toBe('done\n')
  expect(await tasks.kill(id, { graceMs: most })).toMatchObject({ status: 'completed' })
  expect(await tasks.cleanup({ olderThanMs: most, undeliveredOlderThanMs: most })).toBe(0)
})

test('the smallest values that are allowed work', async () => {
  const id = await tasks.spawn('exec sleep 1000', { timeoutMs: 0, graceMs: 0, maxOutputBytes: 0, description: '' })
  expect(await tasks.wait(id, { timeoutMs: 0 })).toMatchObject({ status: 'running', timeoutMs: null, description: '' })
  expect(await tasks.kill(id, { graceMs: 0 })).toMatchObject({ status: 'killed' })
})

test('what nobody has said is what docs/api.md says', async () => {
  const own = temporaryStore().registry()
  const long = "head -c 100000 /dev/zero | tr '\\0' o"
  const [completed, failed] = [await own.spawn(long), await own.spawn(`${long}; exit 1`)]
  const snapshot = await own.wait(completed)
  await own.wait(failed)
  const record = JSON.parse(readFileSync(join(dirname(snapshot.stdoutPath), 'task.json'), 'utf8'))
  const limits = { timeoutMs: 1_800_000, graceMs: 2000, maxOutputBytes: 104_857_600 }
  expect(record).toMatchObject({ ...limits, sessionId: 'default', notify: true })
  expect(snapshot).toMatchObject({ timeoutMs: 1_800_000, description: null, metadata: null })
  const previews = [snapshot, own.status(completed)!, ...own.list()].map((task) => task.outputPreview.length)
  expect(previews).toEqual([5120, 5120, 5120, 5120])
  const told = new Map(own.pending().map(({ taskId, outputPreview }) => [taskId, outputPreview.length]))
  expect([told.get(completed), told.get(failed)]).toEqual([300, 2048])
  expect(own.output(completed)).toMatchObject({ from: 0, nextOffset: 65536 })
  expect(await own.replay()).toMatchObject({ finished: 2, pending: 2 })
  const spawns = Array.from({ length: 9 }, () => own.spawn('exec sleep 1000'))
  const refused = (await Promise.allSettled(spawns)).flatMap((spawn) =>
    spawn.status === 'rejected' ? spawn.reason.code : [],
  )
  expect(refused).toEqual(['TASK_LIMIT_EXCEEDED'])
  await own.shutdown({ graceMs: 0 })
})

test('metadata comes back as JSON would have it, however deep', async () => {
  let deep: unknown = 'bottom'
  for (let level = 0; level < 2000; level++) deep = [deep]
  for (const [given, got] of [
    [undefined, null],
    [null, null],
    [0, 0],
    [-0, 0],
    [1e300, 1e300],
    [2 ** 63, 2 ** 63],
    ['\u0000 \\ud800 😀', '\u0000 \\ud800 😀'],
    [{ when: new Date(0), skip: undefined }, { when: '1970-01-01T00:00:00.000Z' }],
    [JSON.parse('{"__proto__":{"a":1}}'), JSON.parse('{"__proto__":{"a":1}}')],
    [deep, deep],
  ]) {
    const id = await tasks.spawn('true', { metadata: given, sessionId: 'metadata' })
    await tasks.wait(id)
    expect(JSON.stringify(tasks.status(id)!.metadata)).toBe(JSON.stringify(got))
  }
  const told = tasks.drain({ sessionId: 'metadata' }).map((completion) => JSON.stringify(completion.metadata))
  expect(told).toContain(JSON.stringify(deep))
})

test('a refused spawn leaves nothing on disk and is never told', async () => {
  const fresh = temporaryStore()
  const registry = fresh.registry()
  await expect(registry.spawn('true', { timeoutMs: Number.NaN })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  await expect(registry.spawn('true', { env: { A: '\0' } })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  expect(fresh.taskIds()).toEqual([])
  expect(registry.list()).toEqual([])
  expect(registry.pending()).toEqual([])
})

test('this file calls every method that the types declare', () => {
  const types = readFileSync(require.resolve('../../index.d.ts'), 'utf8')
  const declared = [...types.matchAll(/^export function (\w+)/gm)].map((match) => match[1])
  const withoutOptions = ['ack', 'release', 'replay', 'detach', 'sessions']
  expect([...Object.keys(calls), ...withoutOptions].sort()).toEqual([...declared, 'TaskRegistry'].sort())
})
