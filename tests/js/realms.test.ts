/** Copies of the package in one process: realms of their own, modules that are reset, and calls in flight while that happens. */
import { join } from 'node:path'
import { gate } from './support/guests'
import { type HostScope, host } from './support/host'
import { jestProject, runJest } from './support/jest'
import { eventually, temporaryStore } from './support/store'

const root = join(__dirname, '../..')
const store = temporaryStore()
let sessions = 0

/** Runs in a host: the package's own files, each compiled in `context`, as a plugin loader with realms does it. */
function loadInRealm(_: HostScope, root: string): void {
  const { readFileSync } = require('node:fs')
  const { dirname, join } = require('node:path')
  const { compileFunction, createContext } = require('node:vm')
  const loadFile = (context: object, path: string): unknown => {
    const module = { exports: {} }
    const requireHere = (name: string) => {
      const isOurs = name.startsWith('./') && name.endsWith('.js')
      return isOurs ? loadFile(context, join(dirname(path), name)) : require(isOurs ? name : resolve(path, name))
    }
    const parameters = ['exports', 'require', 'module']
    const run = compileFunction(readFileSync(path, 'utf8'), parameters, { parsingContext: context, filename: path })
    run(module.exports, requireHere, module)
    return module.exports
  }
  const resolve = (path: string, name: string) => (name.startsWith('.') ? join(dirname(path), name) : name)
  Object.assign(globalThis, {
    newRealm() {
      const context = createContext({ process, Buffer })
      return { context, outlive: loadFile(context, join(root, 'index.js')) }
    },
  })
}

interface Realm {
  context: object
  outlive: HostScope['outlive']
}
declare function newRealm(): Realm

test('in a realm of its own the package speaks in values of that realm: errors, promises, snapshots', async () => {
  const node = await host(store)
  await node.call(loadInRealm, root)
  const seen = await node.call(async (_, storageDir) => {
    const { runInContext } = require('node:vm')
    const { context, outlive } = newRealm()
    Object.assign(context, { outlive, storageDir })
    const inRealm = await runInContext(
      `(async () => {
        const tasks = new outlive.TaskRegistry({ storageDir })
        const refused = await tasks.spawn('true', { cwd: '/no/such/place' }).catch((error) => error)
        const misused = await tasks.spawn(1).catch((error) => error)
        const id = await tasks.spawn('sleep 1000', { metadata: { list: [] } })
        const stop = { aborted: true, addEventListener() {} }
        const stopped = await tasks.wait(id, { signal: stop }).catch((error) => error)
        const told = new Promise((resolve) => tasks.onCompletion(resolve, { sessionId: 'default' }))
        const snapshot = await tasks.kill(id)
        const completion = await told
        // What compilers make of \`using\`.
        tasks[Symbol.dispose ?? Symbol.for('Symbol.dispose')]()
        let closed
        try { tasks.list() } catch (error) { closed = error }
        globalThis.refused = refused
        return [
          refused instanceof Error, refused.cause instanceof Error, refused.code,
          misused instanceof TypeError, stopped instanceof Error, stopped.name, closed instanceof Error, closed.code,
          snapshot instanceof Object, completion instanceof Object, completion.metadata.list instanceof Array,
          tasks.wait('bash-0000000000000000').catch(() => {}) instanceof Promise,
        ].join(' ')
      })()`,
      context,
    )
    return { inRealm, isOurs: (context as { refused?: unknown }).refused instanceof Error }
  }, store.dir)
  expect(seen.inRealm).toBe('true true CWD_NOT_FOUND true true AbortError true REGISTRY_CLOSED true true true true')
  expect(seen.isOurs).toBe(false)
  await node.kill()
})

test('two realms in one process are two hosts: one tells, and the other when that one is closed', async () => {
  // N2 D15
  const node = await host(store)
  await node.call(loadInRealm, root)
  await node.call(async ({ say, shared }, storageDir) => {
    shared.realms = [newRealm(), newRealm()].map(({ outlive }) => new outlive.TaskRegistry({ storageDir }))
    for (const [place, tasks] of shared.realms.entries()) {
      tasks.onCompletion(({ taskId, attempt }: { taskId: string; attempt: number }) => say([place, taskId, attempt]), {
        sessionId: 'realms',
      })
      await tasks.replay('realms')
    }
  }, store.dir)
  const spawnBy = (place: number) =>
    node.call(({ shared }, place) => shared.realms[place].spawn('true', { sessionId: 'realms' }), place)
  const first = await spawnBy(1)
  expect(await node.heard()).toEqual([0, first, 1])
  await node.call(({ shared }) => shared.realms[0].detach())
  const second = await spawnBy(1)
  expect(await node.heard()).toEqual([1, second, 1])
  await node.kill()
})

test('realms that are dropped with a registry open leave no thread and no descriptor behind', async () => {
  // N3 N6
  const node = await host(store, { execArgv: ['--expose-gc'] })
  await node.call(loadInRealm, root)
  const counts = await node.call(async (_, storageDir) => {
    const { readdirSync } = require('node:fs') as typeof import('node:fs')
    const count = () => ['fd', 'task'].map((name) => readdirSync(`/proc/self/${name}`).length)
    const use = async () => {
      const tasks = new (newRealm().outlive.TaskRegistry)({ storageDir })
      await tasks.replay('of a realm')
    }
    const before = count()
    for (let turn = 0; turn < 20; turn++) await use()
    const most = count()
    for (let turn = 0; turn < 1000 && count().some((now, place) => now > before[place]! + 2); turn++) {
      globalThis.gc!()
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    return { before, most, after: count() }
  }, store.dir)
  expect(counts.after[0]).toBeLessThanOrEqual(counts.before[0]! + 2)
  expect(counts.after[1]).toBeLessThanOrEqual(counts.before[1]! + 2)
  await node.kill()
})

/** Resets modules while promises are pending and a callback is at work. */
const resetInFlight = (path: string, file: string): string => `
  const settings = { storageDir: ${JSON.stringify(store.dir)} }
  const open = () => require('node:fs').writeFileSync('${path}', '\\n')
  afterEach(() => jest.resetModules())

  test('calls that were in flight at a reset settle, with errors of this realm', async () => {
    const tasks = new (require('outlive').TaskRegistry)(settings)
    const id = await tasks.spawn('read _ < ${path}; exit 3', { sessionId: 'in flight ${file}' })
    const calls = [tasks.wait(id), tasks.spawn('true'), tasks.replay('x'), tasks.kill('bash-0000000000000000')]
    jest.resetModules()
    open()
    const [ended, started, replayed, unknown] = await Promise.allSettled(calls)
    expect([ended.value.exitCode, typeof started.value, replayed.value.running]).toEqual([3, 'string', 0])
    expect(unknown.reason).toBeInstanceOf(Error)
    expect(unknown.reason.code).toBe('TASK_NOT_FOUND')
  })

  test('a subscription of before a reset goes on, and leaves the session to a new one when it is closed', async () => {
    const heard = []
    const listen = (name) => {
      const tasks = new (require('outlive').TaskRegistry)(settings)
      return [tasks, tasks.onCompletion(({ taskId }) => void heard.push([name, taskId]), { sessionId: 'reset ${file}' })]
    }
    const [owner, before] = listen('before')
    await owner.replay('reset ${file}') // answered when it owns the session
    jest.resetModules()
    const [tasks] = listen('after')
    const ids = [await tasks.spawn('true', { sessionId: 'reset ${file}' })]
    while (heard.length < 1) await new Promise(setImmediate)
    before.close()
    ids.push(await tasks.spawn('true', { sessionId: 'reset ${file}' }))
    while (heard.length < 2) await new Promise(setImmediate)
    expect(heard).toEqual([['before', ids[0]], ['after', ids[1]]])
  })

  test('isolated modules are registries of their own, and a detach of one closes no other', async () => {
    process.env.OUTLIVE_DIR = settings.storageDir
    let isolated
    jest.isolateModules(() => { isolated = require('outlive') })
    const ours = require('outlive')
    expect(isolated.TaskRegistry).not.toBe(ours.TaskRegistry)
    const sessionId = 'isolated ${file}' // the other file's drain must not take it
    const id = await isolated.spawn('exit 4', { sessionId })
    expect((await ours.wait(id, { sessionId })).exitCode).toBe(4)
    isolated.detach()
    await expect(isolated.spawn('true')).rejects.toMatchObject({ code: 'REGISTRY_CLOSED' })
    expect(ours.drain({ sessionId }).map(({ taskId }) => taskId)).toEqual([id])
  })

  test('twenty resets with a subscription, a promise and a callback open', async () => {
    for (let turn = 0; turn < 20; turn++) {
      const tasks = new (require('outlive').TaskRegistry)(settings)
      tasks.onCompletion(() => new Promise(() => {}), { sessionId: 'left ${file} ' + turn })
      void tasks.wait(await tasks.spawn('exec sleep 1000', { sessionId: 'left ${file} ' + turn })).catch(() => {})
      await tasks.spawn('true', { sessionId: 'left ${file} ' + turn })
      jest.resetModules()
    }
  })
`

test.each([[['--runInBand']], [['--maxWorkers=2']], [['--runInBand', '--detectOpenHandles']]])(
  'Jest resets modules with calls, subscriptions and callbacks in flight, and ends by itself (%s)',
  async (flags) => {
    // N2 D24
    const names = ['a', 'b'].map((name) => `${name} ${++sessions}`)
    const files = names.map((name) => resetInFlight(gate(store).path, name))
    const { code, printed } = await runJest(jestProject(files), flags)
    expect(printed).toContain('8 passed, 8 total')
    expect(printed).not.toMatch(/did not exit|open handle|failed to exit|force exited|leaking/i)
    expect(code).toBe(0)
    // What the files left behind is there for the next host.
    const tasks = store.registry()
    for (const name of names) {
      const isThere = () => tasks.drain({ sessionId: `left ${name} 19` }).length > 0
      await eventually(isThere, 'the completion that a callback held')
    }
  },
  120_000,
)
