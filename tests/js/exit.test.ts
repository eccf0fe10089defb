// N1 N2: nothing of ours keeps a process alive that has nothing else to do, Jest included; a promise and ref() do.
import { gate, isAlive, obedient, patient, readyFifo } from './support/guests'
import { host } from './support/host'
import { jestProject, runJest } from './support/jest'
import { temporaryStore, within } from './support/store'

const store = temporaryStore()

test('N1 a registry, a subscription and a running task let the process end, and the task goes on', async () => {
  const node = await host(store)
  const ready = readyFifo(store)
  await node.call(async ({ tasks, shared }, command) => {
    shared.subscriptions = [
      tasks.onCompletion(() => {}, { sessionId: 'default' }),
      tasks.onCompletion(() => {}, { sessionId: 'other' }),
    ]
    await tasks.spawn(command)
    await tasks.spawn(command, { sessionId: 'other' })
  }, patient(ready))
  const pid = Number(await ready.line())
  node.leave()
  expect(await within(node.exited, 'the host ends by itself')).toEqual({ code: 0, signal: null })
  expect(isAlive(pid)).toBe(true)
})

test('N1 ref() keeps the process alive until the completion comes, unref() lets it go again', async () => {
  const node = await host(store)
  const ready = readyFifo(store)
  const wait = gate(store)
  await node.call(
    async ({ tasks, say }, command) => {
      const subscription = tasks.onCompletion(
        ({ exitCode }) => {
          say(exitCode)
          subscription.unref()
        },
        { sessionId: 'ref' },
      )
      subscription.ref().ref()
      await tasks.spawn(command, { sessionId: 'ref' })
    },
    obedient(ready, wait, 'exit 7'),
  )
  await ready.line()
  node.leave()
  wait.open()
  expect(await node.heard()).toBe(7)
  expect(await within(node.exited, 'the host ends by itself')).toEqual({ code: 0, signal: null })
})

test.each(['close', 'detach'] as const)('N1 %s takes back what ref() asked for', async (end) => {
  const node = await host(store)
  await node.call(({ tasks }, end) => {
    const subscription = tasks.onCompletion(() => {}, { sessionId: 'closed' }).ref()
    if (end === 'close') subscription.close()
    else tasks.detach()
    subscription.ref()
  }, end)
  node.leave()
  expect(await within(node.exited, 'the host ends by itself')).toEqual({ code: 0, signal: null })
})

test('N1 a pending promise keeps the process alive until it settles', async () => {
  const node = await host(store)
  const ready = readyFifo(store)
  const wait = gate(store)
  await node.call(
    async ({ tasks, say }, command) => {
      const id = await tasks.spawn(command)
      void tasks.wait(id).then(({ exitCode }) => say(exitCode))
    },
    obedient(ready, wait, 'exit 9'),
  )
  await ready.line()
  node.leave()
  wait.open()
  expect(await node.heard()).toBe(9)
  expect(await within(node.exited, 'the host ends by itself')).toEqual({ code: 0, signal: null })
})

test('N1 an aborted wait keeps nothing alive', async () => {
  const node = await host(store)
  const ready = readyFifo(store)
  await node.call(async ({ tasks }, command) => {
    const id = await tasks.spawn(command)
    const stop = new AbortController()
    const waiting = tasks.wait(id, { signal: stop.signal }).catch((error) => error.name)
    stop.abort()
    if ((await waiting) !== 'AbortError') throw new Error('the wait was not aborted')
  }, patient(ready))
  await ready.line()
  node.leave()
  expect(await within(node.exited, 'the host ends by itself')).toEqual({ code: 0, signal: null })
})

test('N1 a callback that is never done does not keep a process alive whose registry is detached', async () => {
  const node = await host(store)
  await node.call(async ({ tasks, say }) => {
    const callback = () => {
      say('called')
      return new Promise(() => {})
    }
    tasks.onCompletion(callback, { sessionId: 'endless' })
    await tasks.spawn('true', { sessionId: 'endless' })
  })
  expect(await node.heard()).toBe('called')
  await node.call(({ tasks }) => tasks.detach())
  node.leave()
  // For 10 s other hosts are kept from its session.
  expect(await within(node.exited, 'the host ends by itself', 8000)).toEqual({ code: 0, signal: null })
})

/** Uses the package as a plugin author's tests would. */
const pluginTest = (file: number): string => `
  let subscription
  for (const round of [1, 2, 3]) {
    test('round ' + round, async () => {
      const { TaskRegistry } = require('outlive')
      const tasks = new TaskRegistry({ storageDir: ${JSON.stringify(store.dir)} })
      const sessionId = 'file ${file} round ' + round
      const told = new Promise((resolve) => { subscription = tasks.onCompletion(resolve, { sessionId }) })
      const id = await tasks.spawn('exit 3', { sessionId })
      expect(await told).toMatchObject({ taskId: id, exitCode: 3 })
      await tasks.spawn('exec sleep 1000', { sessionId })
      await expect(tasks.spawn('true', { cwd: '/no/such/place' })).rejects.toBeInstanceOf(Error)
      jest.resetModules()
    })
  }
  test('resetModules gives a face of its own', () => {
    const before = require('outlive')
    jest.resetModules()
    expect(require('outlive')).not.toBe(before)
  })
`

test.each([
  ['in one process', ['--runInBand']],
  ['in workers', ['--maxWorkers=2']],
  ['looking for open handles', ['--detectOpenHandles']],
])('N2 Jest ends by itself over several files with resets, %s', async (_, flags) => {
  const { code, printed } = await runJest(jestProject([0, 1, 2].map(pluginTest)), flags)
  expect(printed).toContain('12 passed, 12 total')
  expect(printed).not.toMatch(/did not exit|open handle|failed to exit|force exited|leaking/i)
  expect(code).toBe(0)
})

test.each([
  ['that cleans up after a file', {}],
  ['with globalsCleanup off', { globalsCleanup: 'off' }],
])(
  'D24 a Jest environment that ends leaves its sessions to the next file, and its completions, %s',
  async (_, options) => {
    const wait = gate(store)
    const sessionId = JSON.stringify(options)
    const file = `
    const { existsSync, writeFileSync } = require('node:fs')
    const { TaskRegistry } = require('outlive')
    test('a completion of this file comes, and the one that the file before left behind', async () => {
      const expected = existsSync('left') ? ['left', 'own'] : ['own']
      const heard = []
      const tasks = new TaskRegistry({ storageDir: ${JSON.stringify(store.dir)} })
      const all = new Promise((resolve) => tasks.onCompletion(({ description }) => {
        heard.push(description)
        if (heard.length === expected.length) resolve()
      }, { sessionId: '${sessionId}' }))
      jest.resetModules() // which ends nothing
      if (existsSync('left')) writeFileSync('${wait.path}', '\\n')
      await tasks.spawn('true', { sessionId: '${sessionId}', description: 'own' })
      await all
      expect(heard.sort()).toEqual(expected)
      void tasks.wait(await tasks.spawn('read _ < ${wait.path}', { sessionId: '${sessionId}', description: 'left' }))
      writeFileSync('left', '')
    })
  `
    const { code, printed } = await runJest(jestProject([file, file, file]), [
      '--runInBand',
      `--testEnvironmentOptions=${JSON.stringify(options)}`,
    ])
    expect(printed).toContain('3 passed, 3 total')
    expect(code).toBe(0)
  },
)

test('N2 a test file that keeps a registry in a variable is collected when it is over, detached or not', async () => {
  const file = (end: string): string => `
    const { TaskRegistry } = require('outlive')
    let tasks
    afterAll(() => { ${end} })
    test('a subscription and a task', async () => {
      tasks = new TaskRegistry({ storageDir: ${JSON.stringify(store.dir)} })
      tasks.onCompletion(() => {}, { sessionId: 'collected' })
      await tasks.wait(await tasks.spawn('true', { sessionId: 'collected' }))
    })
  `
  const { code, printed } = await runJest(jestProject(['tasks.detach()', ''].map(file)), [
    '--runInBand',
    '--detectLeaks',
  ])
  expect(printed).toContain('2 passed, 2 total')
  expect(code).toBe(0)
})
