'use strict'
// What every runtime must do alike: plain JavaScript, no test framework, run in the main thread and in a worker.
// `scene` is what runs in processes and workers of its own, under the same runtime; main.js runs this list.

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const { TaskRegistry } = require('outlive')
const { aliveMarked, eventually, gate, hostScene, temporaryDirectory, workerScene } = require('./support.js')

const storageDir = temporaryDirectory()
const tasks = new TaskRegistry({ storageDir, maxRunning: 100 })
const promises = []
const promise = (title, run) => promises.push({ title, run })

let sessions = 0
const newSession = () => `session ${++sessions}`
const ended = async (command, options) => tasks.wait(await tasks.spawn(command, options))
const hasPrinted = (taskId, text) => eventually(() => tasks.output(taskId).text.includes(text), `${text} in the output`)
const idsOf = (list) => list.map(({ taskId }) => taskId)

promise('import and require give the same package', async () => {
  const module = await import('outlive')
  assert.equal(module.TaskRegistry, TaskRegistry)
  assert.deepEqual(
    Object.keys(require('outlive')).filter((name) => typeof module[name] !== 'function'),
    [],
  )
})

promise('a task runs, is seen running, and ends with its own exit code and output', async () => {
  const go = gate(storageDir)
  const id = await tasks.spawn(`echo out; echo err >&2; read _ < ${go.path}; exit 3`, { metadata: { turn: [1, null] } })
  assert.match(id, /^bash-[0-9a-f]{16}$/)
  await hasPrinted(id, 'out')
  assert.equal(tasks.status(id).status, 'running')
  go.open()
  const snapshot = await tasks.wait(id)
  const { status, cause, exitCode, signal, metadata, pid } = snapshot
  const seen = { status, cause, exitCode, signal, metadata, pid }
  assert.deepEqual(seen, {
    status: 'failed',
    cause: 'exit',
    exitCode: 3,
    signal: null,
    metadata: { turn: [1, null] },
    pid: null,
  })
  assert.equal(tasks.output(id, { stream: 'stderr' }).text, 'err\n')
  assert.deepEqual(tasks.status(id), snapshot)
  assert.equal(tasks.status(id, { sessionId: 'another' }), null)
})

promise('a signal that ended a command is told by its name', async () => {
  const { status, exitCode, signal } = await ended('kill -SEGV $$')
  assert.deepEqual({ status, exitCode, signal }, { status: 'failed', exitCode: null, signal: 'SIGSEGV' })
})

promise('a command inherits the environment and the directory as they are now', async () => {
  process.env.CONFORMANCE_NEW = 'ü=1'
  const { taskId } = await ended('printf "%s|%s|" "$CONFORMANCE_NEW" "$MORE"; pwd -P', { env: { MORE: 'x\ny' } })
  delete process.env.CONFORMANCE_NEW
  assert.equal(tasks.output(taskId).text, `ü=1|x\ny|${process.cwd()}\n`)
  assert.equal(tasks.output((await ended('pwd', { cwd: '/' })).taskId).text, '/\n')
})

promise('a variable that was removed, or an environment that was replaced, is what a command gets', async () => {
  const printed = async (env) => {
    const command = 'echo "$CONFORMANCE_A $CONFORMANCE_B $ELECTRON_RUN_AS_NODE"'
    return tasks.output((await ended(command, { shell: '/bin/sh', env })).taskId).text
  }
  Object.assign(process.env, { CONFORMANCE_A: 'a', CONFORMANCE_B: 'b', ELECTRON_RUN_AS_NODE: '1' })
  assert.equal(await printed(), 'a b \n')
  assert.equal(await printed({ CONFORMANCE_A: undefined, ELECTRON_RUN_AS_NODE: 'asked' }), ' b asked\n')
  delete process.env.CONFORMANCE_A
  assert.equal(await printed(), ' b \n')
  const real = process.env
  process.env = { ...real, CONFORMANCE_B: 'replaced' }
  try {
    assert.equal(await printed(), ' replaced \n')
  } finally {
    process.env = real
  }
  for (const name of ['CONFORMANCE_B', 'ELECTRON_RUN_AS_NODE']) delete process.env[name]
})

promise('errors are Errors with a code, a cause, and the line that asked', async () => {
  const askedHere = async () => await tasks.spawn('true', { cwd: '/no/such/place' })
  const error = await askedHere().catch((thrown) => thrown)
  assert.ok(error instanceof Error)
  assert.equal(error.code, 'CWD_NOT_FOUND')
  assert.ok(error.cause instanceof Error)
  assert.equal(error.cause.code, 'ENOENT')
  assert.match(error.stack, /async .*suite\.js/)
  await assert.rejects(tasks.kill('bash-0000000000000000'), { code: 'TASK_NOT_FOUND' })
  await assert.rejects(tasks.spawn('true', { timeoutMS: 5 }), { name: 'TypeError', code: 'INVALID_ARGUMENT' })
  assert.throws(() => tasks.status('bash-0000000000000000', { previewBytes: -1 }), { code: 'INVALID_ARGUMENT' })
  assert.throws(() => new TaskRegistry({ maxRunning: Number.NaN }), { code: 'INVALID_ARGUMENT' })
})

promise('kill ends the whole tree, also what ignores SIGTERM in a session of its own', async () => {
  const stubborn = "trap '' TERM; echo here; while :; do sleep 1000 & wait; done"
  const id = await tasks.spawn(`setsid bash -c "${stubborn}" & sleep 1000`, { graceMs: 50 })
  await hasPrinted(id, 'here')
  const { status, cause, descendants } = await tasks.kill(id)
  assert.deepEqual({ status, cause, descendants }, { status: 'killed', cause: 'kill', descendants: 0 })
  assert.deepEqual(aliveMarked(id), [])
  assert.equal((await tasks.kill(id)).status, 'killed')
})

promise('a deadline ends a task as timed_out with 124', async () => {
  const { status, cause, exitCode } = await ended('sleep 1000', { timeoutMs: 100 })
  assert.deepEqual({ status, cause, exitCode }, { status: 'timed_out', cause: 'timeout', exitCode: 124 })
})

promise('wait has a patience and can be aborted, and the task goes on', async () => {
  const id = await tasks.spawn('sleep 1000')
  assert.equal((await tasks.wait(id, { timeoutMs: 50 })).status, 'running')
  const stop = new AbortController()
  const waiting = tasks.wait(id, { signal: stop.signal })
  stop.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  assert.equal(tasks.status(id).status, 'running')
  await tasks.kill(id)
})

promise('output pages never cut a character and their offsets stay valid', async () => {
  const { taskId } = await ended("printf 'aü😀'; for i in $(seq 3); do echo; printf 'line %s' $i; done")
  const first = tasks.output(taskId, { maxBytes: 5 })
  assert.deepEqual([first.text, first.nextOffset, first.eof], ['aü', 3, false])
  const next = tasks.output(taskId, { from: first.nextOffset })
  assert.deepEqual([next.text, next.eof], ['😀\nline 1\nline 2\nline 3', true])
  assert.equal(tasks.output(taskId, { from: -6 }).text, 'line 3')
  const merged = await ended('echo 1; echo 2 >&2; echo 3', { stderr: 'merge' })
  assert.equal(tasks.output(merged.taskId).text, '1\n2\n3\n')
  assert.equal(merged.stderrPath, null)
})

promise('the output limit keeps both ends and counts what it removed', async () => {
  // Where files have no holes nothing can be removed, and a task that writes too much is ended.
  if (process.env.CONFORMANCE_NO_HOLES) {
    const { status, cause } = await ended('yes', { maxOutputBytes: 262144 })
    return assert.deepEqual([status, cause], ['killed', 'output_limit'])
  }
  const { taskId, stdoutBytes, droppedBytes } = await ended('echo first; yes | head -c 4000000; echo last', {
    maxOutputBytes: 262144,
  })
  assert.equal(stdoutBytes, 4_000_011)
  assert.ok(droppedBytes > 3_000_000, `${droppedBytes} bytes were dropped`)
  assert.ok(tasks.output(taskId).text.startsWith('first\n'))
  assert.ok(tasks.output(taskId, { from: -7 }).text.endsWith('last\n'))
})

promise('a subscription hears the backlog, then each end, in order and once', async () => {
  const sessionId = newSession()
  const before = [await ended('exit 1', { sessionId }), await ended('exit 2', { sessionId })]
  const heard = []
  const subscription = tasks.onCompletion((completion) => heard.push(completion), { sessionId })
  const after = await ended('echo now; exit 0', { sessionId })
  await eventually(() => heard.length >= 3, 'three completions')
  assert.deepEqual(idsOf(heard), idsOf([...before, after]))
  assert.deepEqual([heard[2].type, heard[2].outputPreview, heard[2].attempt], ['bash_completed', 'now\n', 1])
  await eventually(() => tasks.status(after.taskId).completionDelivered, 'it is delivered')
  assert.deepEqual(tasks.drain({ sessionId }), [])
  subscription.close()
})

promise('a callback that throws or rejects is told again and harms nobody', async () => {
  const sessionId = newSession()
  const attempts = []
  const subscription = tasks.onCompletion(
    ({ attempt }) => {
      attempts.push(attempt)
      if (attempt === 1) throw new Error('thrown on purpose')
      if (attempt === 2) return Promise.reject(new Error('rejected on purpose'))
    },
    { sessionId },
  )
  const { taskId } = await ended('true', { sessionId })
  await eventually(() => tasks.status(taskId).completionDelivered, 'it is delivered in the end')
  assert.deepEqual(attempts, [1, 2, 3])
  subscription.close()
})

promise('manual acknowledgement holds a completion until ack or release', async () => {
  const sessionId = newSession()
  const heard = []
  const subscription = tasks.onCompletion((completion) => void heard.push(completion), { sessionId, ack: 'manual' })
  const { taskId } = await ended('true', { sessionId })
  await eventually(() => heard.length === 1, 'the completion')
  assert.deepEqual([tasks.pending({ sessionId }), tasks.drain({ sessionId })], [[], []])
  assert.equal(tasks.status(taskId).completionDelivered, false)
  assert.equal(tasks.release([taskId]), 1)
  await eventually(() => heard.length === 2, 'the completion again')
  assert.equal(heard[1].attempt, 2)
  assert.equal(tasks.ack([taskId]), 1)
  assert.equal(tasks.ack([taskId]), 0)
  assert.equal(tasks.status(taskId).completionDelivered, true)
  subscription.close()
})

promise('drain takes what pending shows, once; notify: false is in neither', async () => {
  const sessionId = newSession()
  const { taskId } = await ended('true', { sessionId })
  await ended('true', { sessionId, notify: false })
  assert.deepEqual(idsOf(tasks.pending({ sessionId })), [taskId])
  assert.deepEqual(idsOf(tasks.drain({ sessionId })), [taskId])
  assert.deepEqual([tasks.pending({ sessionId }), tasks.drain({ sessionId })], [[], []])
})

promise('forty tasks at once are each told once', async () => {
  const sessionId = newSession()
  const heard = []
  const subscription = tasks.onCompletion(({ taskId }) => heard.push(taskId), { sessionId })
  const numbers = Array.from({ length: 40 }, (_, number) => number)
  const ids = await Promise.all(numbers.map((number) => tasks.spawn(`exit ${number}`, { sessionId })))
  const codes = (await Promise.all(ids.map((id) => tasks.wait(id)))).map(({ exitCode }) => exitCode)
  assert.deepEqual(codes, numbers)
  await eventually(() => heard.length >= ids.length, 'all completions')
  assert.deepEqual([...heard].sort(), [...ids].sort())
  assert.equal(tasks.list({ sessionId }).length, ids.length)
  subscription.close()
})

promise('a task outlives a SIGKILLed host, and the next host tells its end once', async () => {
  const sessionId = newSession()
  const go = gate(storageDir)
  const host = hostScene('start', { storageDir, sessionId, command: `echo up; read _ < ${go.path}; exit 9` })
  const { taskId } = await host.said()
  await host.kill()
  assert.deepEqual((await tasks.replay(sessionId)).running, 1)
  const heard = []
  const subscription = tasks.onCompletion((completion) => heard.push(completion), { sessionId })
  go.open()
  assert.equal((await tasks.wait(taskId)).exitCode, 9)
  await eventually(() => heard.length > 0, 'the completion')
  await eventually(() => tasks.status(taskId).completionDelivered, 'it is delivered')
  subscription.close()
  const next = hostScene('drain', { storageDir, sessionId })
  assert.deepEqual(await next.said(), { drained: [] })
  assert.deepEqual(await next.ended, { code: 0, signal: null })
  assert.equal(heard.length, 1)
})

promise('a host that was killed in a callback is told again by the next, as the second attempt', async () => {
  const sessionId = newSession()
  const { taskId } = await ended('exit 4', { sessionId })
  const first = hostScene('hold', { storageDir, sessionId })
  assert.deepEqual(await first.said(), { taskId, attempt: 1 })
  await first.kill()
  const second = hostScene('hold', { storageDir, sessionId })
  assert.deepEqual(await second.said(), { taskId, attempt: 2 })
  await second.kill()
})

promise('an idle registry lets the process end, with a task running and a subscription open', async () => {
  const host = hostScene('idle', { storageDir, sessionId: newSession() })
  const { taskId } = await host.said()
  assert.deepEqual(await host.ended, { code: 0, signal: null })
  assert.equal((await tasks.kill(taskId, { sessionId: `session ${sessions}` })).status, 'killed')
})

promise('what is asked for right before the end of the process still goes out', async () => {
  const ways = ['before process.exit', 'in an exit handler', 'at the natural end']
  if (globalThis.Deno === undefined) ways.push('after an uncaught error') // it calls no handlers then
  const hosts = ways.flatMap((way) =>
    ['kill', 'shutdown'].map((verb) => {
      const sessionId = newSession()
      return { way, verb, sessionId, host: hostScene('leave', { storageDir, sessionId, way, verb }) }
    }),
  )
  const ends = hosts.map(async ({ way, verb, sessionId, host }) => {
    await host.ended
    await tasks.replay(sessionId)
    const [{ taskId }] = tasks.list({ sessionId })
    const { status } = await tasks.wait(taskId, { timeoutMs: 5000 })
    return `${verb} ${way}: ${status}`
  })
  const expected = hosts.map(({ way, verb }) => `${verb} ${way}: killed`)
  assert.deepEqual(await Promise.all(ends), expected)
})

promise('a pending promise and a ref’d subscription keep the process until they are done', async () => {
  const sessionId = newSession()
  const go = gate(storageDir)
  const host = hostScene('await', { storageDir, sessionId, command: `read _ < ${go.path}; exit 6` })
  await host.said()
  go.open()
  assert.deepEqual(await host.said(), { exitCode: 6, told: true })
  assert.deepEqual(await host.ended, { code: 0, signal: null })
})

promise('the plain functions use the default registry of the process', async () => {
  const host = hostScene('default', { storageDir: temporaryDirectory() })
  assert.deepEqual(await host.said(), { status: 'completed', text: 'hi\n', told: 1, closed: 'REGISTRY_CLOSED' })
  assert.deepEqual(await host.ended, { code: 0, signal: null })
})

promise('workers have registries of their own on one store', async () => {
  const names = [newSession(), newSession(), newSession()]
  const workers = names.map((sessionId) => workerScene('round', { storageDir, sessionId }))
  for (const worker of workers) assert.deepEqual(await worker.said(), { exitCode: 5, told: 1, envWins: true })
  for (const worker of workers) assert.equal(await worker.ended, 0)
})

promise('a task outlives a terminated worker, and so does the process', async () => {
  const sessionId = newSession()
  const go = gate(storageDir)
  const worker = workerScene('start', { storageDir, sessionId, command: `read _ < ${go.path}; exit 8` })
  const { taskId } = await worker.said()
  await worker.terminate()
  const heard = []
  const subscription = tasks.onCompletion((completion) => heard.push(completion), { sessionId })
  go.open()
  await eventually(() => heard.length > 0, 'the completion')
  assert.deepEqual([heard[0].taskId, heard[0].exitCode, heard.length], [taskId, 8, 1])
  subscription.close()
})

promise('a worker may be terminated while completions rain on it', async () => {
  const sessionId = newSession()
  for (let round = 0; round < 5; round++) {
    const worker = workerScene('rain', { storageDir, sessionId })
    await worker.said()
    await worker.terminate()
  }
  const { finished, running } = await tasks.replay(sessionId)
  assert.ok(finished + running >= 5)
})

promise('cleanup removes what was told and is old enough', async () => {
  const own = new TaskRegistry({ storageDir: temporaryDirectory() })
  const told = await own.wait(await own.spawn('true'))
  own.drain()
  const untold = await own.wait(await own.spawn('true'))
  // A supervisor that still syncs its record keeps its task for a moment.
  await eventually(async () => (await own.cleanup({ olderThanMs: 0 })) === 1, 'the told task is removed')
  assert.equal(own.status(told.taskId), null)
  assert.equal(own.status(untold.taskId).status, 'completed')
  own.detach()
})

promise('shutdown ends what runs; detach rejects what is pending; both close', async () => {
  const own = new TaskRegistry({ storageDir: temporaryDirectory() })
  const ids = await Promise.all([own.spawn('sleep 1000'), own.spawn('sleep 1000')])
  const ends = await own.shutdown()
  assert.deepEqual([idsOf(ends).sort(), ends.map(({ status }) => status)], [[...ids].sort(), ['killed', 'killed']])
  assert.throws(() => own.list(), { code: 'REGISTRY_CLOSED' })
  const other = new TaskRegistry({ storageDir })
  const id = await other.spawn('sleep 1000')
  const waiting = other.wait(id)
  other.detach()
  await assert.rejects(waiting, { code: 'REGISTRY_CLOSED' })
  assert.equal((await tasks.kill(id)).status, 'killed')
})

promise('two hundred registries come and go', async () => {
  for (let count = 0; count < 200; count++) {
    const own = new TaskRegistry({ storageDir })
    own.list({ previewBytes: 0, status: 'running' })
    if (count % 2 === 0) own.detach()
  }
  const threads = Number(execFileSync('bash', ['-c', 'ls /proc/$PPID/task | wc -l'], { encoding: 'utf8' }))
  assert.ok(threads < 300, `${threads} threads`)
})

// The registry stays open on purpose: the process must end all the same.
module.exports = { promises }
