/** A host that has no descriptor left: what it cannot find out now is not made up, and is found out once there is room again. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { TaskSnapshot } from 'outlive'
import { gate, obedient, processesOf, readyFifo, stubborn } from './support/guests'
import { type Host, type HostScope, host } from './support/host'
import { listen } from './support/listen'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const under = ['prlimit', '--nofile=100']

/** Runs in a host: takes all descriptors but a few, and those that come back too, until `makeRoom`. */
function takeAll({ shared }: HostScope, left = 0): void {
  const { openSync, closeSync } = require('node:fs')
  const taken: number[] = []
  const fill = () => {
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'))
    } catch {
      for (const fd of taken.splice(taken.length - left)) closeSync(fd)
    }
  }
  fill()
  const again = left === 0 ? setInterval(fill, 1) : undefined
  shared.makeRoom = () => {
    clearInterval(again)
    for (const fd of taken.splice(0)) closeSync(fd)
  }
}

/** Runs in a host: when this resolves, its own thread has heard all that had happened before. */
async function hasHeard({ tasks }: HostScope): Promise<void> {
  for (let turn = 0; turn < 20; turn++) {
    try {
      tasks.list({ sessionId: 'of nobody' })
    } catch {
      // There is no descriptor to read its directory with.
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** Runs in a host: how each call fails. */
async function failuresOf({ shared }: HostScope): Promise<string[]> {
  const failures: string[] = []
  for (const ask of shared.asks as (() => unknown)[]) {
    try {
      await ask()
      failures.push('none')
    } catch (error) {
      const { code, cause } = error as NodeJS.ErrnoException
      failures.push(`${code} ${(cause as NodeJS.ErrnoException | undefined)?.code}`)
    }
  }
  return failures
}

/** Whether a host has the file open. */
function isOpenIn({ pid }: Host, path: string): boolean {
  const fds = `/proc/${pid}/fd`
  return readdirSync(fds).some((fd) => readlinkSync(join(fds, fd)) === path)
}

const makeRoom = (node: Host) => node.call(({ shared }) => shared.makeRoom())

test('an end that comes while no file can be opened is told as it was, and once', async () => {
  // P32
  const wait = gate(store)
  const node = await host(store, { under })
  const ids = await node.call(async ({ tasks, say }, path) => {
    tasks.onCompletion(({ taskId, status, outputPreview }) => say({ taskId, status, outputPreview }))
    return Promise.all([3, 4, 5, 6, 7, 8].map((code) => tasks.spawn(`echo ${code}; read _ < ${path}; exit ${code}`)))
  }, wait.path)
  await node.call(takeAll)
  wait.open(6)
  await eventually(() => ids.every((id) => processesOf(id).length === 0), 'all have ended')
  await node.call(hasHeard)
  await makeRoom(node)
  const told: unknown[] = []
  while (told.length < ids.length) told.push(await node.heard())
  for (const [at, taskId] of ids.entries()) {
    expect(told).toContainEqual({ taskId, status: 'failed', outputPreview: `${3 + at}\n` })
  }
  await node.call(hasHeard)
  expect(node.untaken()).toEqual([])
  await node.kill()
})

test('what another host starts while a few files or none can be opened is told once there is room', async () => {
  // P32
  const other = store.registry()
  const wait = gate(store)
  const node = await host(store, { under })
  await node.call(({ tasks, say }) => {
    tasks.onCompletion(({ taskId }) => say(taskId), { sessionId: 'rung' })
    tasks.list({ sessionId: 'rung' })
  })
  for (const left of [0, 1, 2, 3]) {
    await node.call(takeAll, left)
    const id = await other.spawn(`read _ < ${wait.path}`, { sessionId: 'rung' })
    await node.call(hasHeard)
    await makeRoom(node)
    wait.open()
    expect(await node.heard(`the end of a task that came when ${left} files could be opened`)).toBe(id)
  }
  await node.kill()
})

test('a session that could not be attached for want of descriptors is left to others when the subscription ends', async () => {
  // P32 D15
  const sessionId = 'half attached'
  const [other, wait] = [store.registry(), gate(store)]
  const command = `read _ < ${wait.path}`
  const ids = [await other.spawn(command, { sessionId }), await other.spawn(command, { sessionId })]
  const owner = join(store.taskDir(ids[0]!)!, '../owner')
  const node = await host(store, { under })
  await node.call(({ tasks, shared }) => {
    shared.subscription = tasks.onCompletion(() => {})
    tasks.list()
  })
  // Enough to see that there are tasks, and too few to read one.
  await node.call(takeAll, 2)
  await node.call(({ tasks, shared }, sessionId) => {
    shared.asks = [() => tasks.replay(sessionId)]
  }, sessionId)
  expect(await node.call(failuresOf)).toEqual(['STORAGE_FAILED EMFILE'])
  await makeRoom(node)
  await eventually(() => isOpenIn(node, owner), 'the host delivers the session')
  const listed = await node.call(({ tasks }) => tasks.list().map(({ taskId }) => taskId))
  expect(listed).toEqual(expect.arrayContaining(ids))
  await node.call(({ shared }) => shared.subscription.close())
  const listener = listen(other, sessionId)
  wait.open(ids.length)
  await listener.times(ids.length)
  expect(listener.heard.map(({ taskId }) => taskId).sort()).toEqual(ids.sort())
  await node.kill()
})

test('a task that cannot be read for want of descriptors is not unknown, and not called killed in vain', async () => {
  // P32 D19
  const other = store.registry()
  const sessionId = 'unread'
  const wait = gate(store)
  const known = await other.spawn(`read _ < ${wait.path}`, { sessionId })
  const node = await host(store, { under })
  await node.call(({ tasks }, sessionId) => tasks.replay(sessionId), sessionId)
  const theirs = await other.spawn(`read _ < ${wait.path}; exit 6`, { sessionId })
  const ours = await node.call(({ tasks }, path) => tasks.spawn(`read _ < ${path}; exit 6`), wait.path)
  await node.call(takeAll)
  await node.call(
    ({ tasks, shared }, sessionId, theirs, ours, known) => {
      shared.asks = [
        () => tasks.spawn('true'),
        () => tasks.status(theirs, { sessionId }),
        () => tasks.kill(theirs, { sessionId }),
        () => tasks.wait(theirs, { sessionId }),
        () => tasks.kill(ours),
        () => tasks.status(ours),
        () => tasks.status(known, { sessionId }),
      ]
    },
    sessionId,
    theirs,
    ours,
    known,
  )
  const refused = await node.call(failuresOf)
  expect(refused).toEqual(['SPAWN_FAILED EMFILE', ...Array(6).fill('STORAGE_FAILED EMFILE')])
  await makeRoom(node)
  const { command } = (await node.call(
    ({ tasks }, id, sessionId) => tasks.status(id, { sessionId }),
    known,
    sessionId,
  ))!
  expect(command).toBe(`read _ < ${wait.path}`)
  wait.open(3)
  const waited = await node.call(
    ({ tasks }, sessionId, theirs, ours) => Promise.all([tasks.wait(theirs, { sessionId }), tasks.wait(ours)]),
    sessionId,
    theirs,
    ours,
  )
  expect(waited.map(({ exitCode }) => exitCode)).toEqual([6, 6])
  expect(JSON.parse(readFileSync(join(store.taskDir(theirs)!, 'ended.json'), 'utf8')).exitCode).toBe(6)
  await node.kill()
})

test('what a task wrote is not taken for nothing: who asks is refused, and who waits has it once there is room', async () => {
  // P32
  const other = store.registry()
  const sessionId = 'written'
  const [ready, wait] = [readyFifo(store), gate(store)]
  const over = await other.spawn('echo 3 tests failed; exit 1', { sessionId })
  const runs = await other.spawn(`echo important; ${obedient(ready, wait, 'exit 1')}`, { sessionId })
  await other.wait(over, { sessionId })
  await ready.line()
  const node = await host(store, { under })
  await node.call(({ tasks }, sessionId) => tasks.replay(sessionId), sessionId)
  // Enough to read a record with, and too few for both streams.
  await node.call(takeAll, 1)
  await node.call(
    ({ tasks, shared }, sessionId, over, runs) => {
      const waits = [tasks.wait(runs, { sessionId }), tasks.wait(runs, { sessionId, timeoutMs: 1 })]
      shared.waited = Promise.all(waits)
      const asks = [
        () => tasks.status(over),
        () => tasks.list({ sessionId }),
        () => tasks.wait(over),
        () => tasks.kill(over),
      ]
      shared.asks = asks
    },
    sessionId,
    over,
    runs,
  )
  expect(await node.call(failuresOf)).toEqual(Array(4).fill('STORAGE_FAILED EMFILE'))
  wait.open()
  await eventually(() => processesOf(runs).length === 0, 'it has ended')
  await node.call(hasHeard)
  await makeRoom(node)
  const waited = await node.call(({ shared }) => shared.waited)
  const whole = { outputPreview: 'important\n', stdoutBytes: 10, command: expect.stringContaining('echo important') }
  expect(waited).toMatchObject([{ ...whole, status: 'failed', exitCode: 1 }, whole])
  await node.kill()
})

test('what a killed supervisor leaves behind is killed once there is room to look for it', async () => {
  // P32 P31
  const ready = readyFifo(store)
  const node = await host(store, { under })
  for (const left of [0, 1, 2]) {
    const id = await node.call(({ tasks }, path) => {
      return tasks.spawn(`setsid sh -c 'echo here > ${path}; exec sleep 1000' & wait`)
    }, ready.path)
    await ready.line()
    const { supervisorPid } = JSON.parse(readFileSync(join(store.taskDir(id)!, 'started.json'), 'utf8'))
    await node.call(takeAll, left)
    process.kill(supervisorPid, 'SIGKILL')
    await node.call(hasHeard)
    await makeRoom(node)
    await eventually(() => processesOf(id).length === 0, `an end of what was left, with ${left} files to open`)
    expect(await node.call(({ tasks }, id) => tasks.wait(id), id)).toMatchObject({ status: 'lost' })
  }
  await node.kill()
})

test('a session of which a part can be read is not told as if that were all', async () => {
  // P32
  const sessionId = 'many'
  const other = store.registry({ maxRunning: 200 })
  const wait = gate(store)
  const started = Array.from({ length: 100 }, () => other.spawn(`read _ < ${wait.path}`, { sessionId, notify: false }))
  const ids = await Promise.all(started)
  const node = await host(store, { under })
  const seen = await node.call(async ({ tasks }, sessionId) => {
    const outcome = await tasks.replay(sessionId).catch(({ code, cause }) => `${code} ${cause.code}`)
    try {
      return [outcome, tasks.list({ sessionId }).length]
    } catch (error) {
      return [outcome, (error as NodeJS.ErrnoException).code]
    }
  }, sessionId)
  expect(seen).toEqual(['STORAGE_FAILED EMFILE', 'STORAGE_FAILED'])
  wait.open(ids.length)
  await node.kill()
})

test('a shutdown that can neither order an end nor say how things stand fails, and can be asked for again', async () => {
  // P32
  const node = await host(store, { under })
  const ready = readyFifo(store)
  const id = await node.call(({ tasks }, command) => tasks.spawn(command), stubborn(ready))
  await ready.line()
  await node.call(takeAll)
  await node.call(({ tasks, shared }) => {
    shared.asks = [() => tasks.shutdown({ graceMs: 0 })]
  })
  expect(await node.call(failuresOf)).toEqual(['STORAGE_FAILED EMFILE'])
  await makeRoom(node)
  expect(await node.call(({ tasks }) => tasks.shutdown({ graceMs: 0 }))).toMatchObject([
    { taskId: id, status: 'killed' },
  ])
  await node.kill()
})

test('a shutdown that is asked for again in vain ends none that was heard', async () => {
  // P32
  const node = await host(store, { under })
  const ready = readyFifo(store)
  const commands = [stubborn(ready), stubborn(ready)]
  await node.call(({ tasks }, commands) => Promise.all(commands.map((command) => tasks.spawn(command))), commands)
  for (const _ of commands) await ready.line()
  await node.call(({ tasks, shared }) => {
    shared.ended = tasks.shutdown({ graceMs: 600_000 })
  })
  await node.call(hasHeard)
  await node.call(takeAll)
  await node.call(({ tasks, shared }) => {
    shared.again = tasks.shutdown({ graceMs: 0 })
  })
  await node.call(hasHeard)
  await makeRoom(node)
  const snapshots = await node.call(({ tasks, shared }) => {
    // Closed already if a descriptor was free for a moment, and the second was heard.
    tasks.shutdown({ graceMs: 0 }).catch(() => {})
    return Promise.all([shared.ended, shared.again])
  })
  for (const ended of snapshots) expect(ended.map(({ status }: TaskSnapshot) => status)).toEqual(['killed', 'killed'])
  await node.kill()
})

test('a host of few descriptors that has closed a standard one starts tasks as long as it has any left', () => {
  // P32
  // Alone, for it has just enough: how many Node itself has open depends on its release.
  const script = `
    const { TaskRegistry } = require(${JSON.stringify(join(__dirname, '../..'))})
    const tasks = new TaskRegistry({ storageDir: ${JSON.stringify(store.dir)} })
    const run = async (command) => (await tasks.wait(await tasks.spawn(command))).exitCode
    const saysHow = async () => {
      await run('true')
      require('node:child_process').execFileSync('prlimit', ['--pid=' + process.pid, '--nofile=32:'])
      require('node:fs').closeSync(0)
      return run('exit 3').catch((error) => error.code)
    }
    saysHow().then((how) => process.stdout.write(String(how), () => process.exit()))`
  const how = execFileSync(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
  expect(['3', 'SPAWN_FAILED', 'STORAGE_FAILED']).toContain(how)
})

test('sessions are all there, or the call says that it cannot look, however few files can be opened', async () => {
  // P32 R17
  const node = await host(store, { under })
  const ids = ['first', 'second', 'third']
  await node.call(async ({ tasks }, ids) => {
    for (const sessionId of ids) await tasks.wait(await tasks.spawn('true', { sessionId }))
  }, ids)
  for (const left of [0, 1, 2, 3]) {
    await node.call(takeAll, left)
    const seen = await node.call(({ tasks }) => {
      try {
        return tasks.sessions()
      } catch (error) {
        return ((error as NodeJS.ErrnoException).cause as NodeJS.ErrnoException).code
      }
    })
    await makeRoom(node)
    expect(seen === 'EMFILE' || ids.every((id) => seen!.includes(id))).toBe(true)
  }
  await node.kill()
})
