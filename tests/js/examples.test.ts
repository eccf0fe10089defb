// N2: the examples run as somebody who copies them would run them.
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Completion, TaskSnapshot } from 'outlive'
import { gate } from './support/guests'
import { type Host, host } from './support/host'
import { atTheEnd, eventually, temporaryStore, within } from './support/store'

const ROOT = join(__dirname, '../..')

/** A folder of a project where outlive is installed. */
function project(): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'outlive-example-')))
  atTheEnd(() => rmSync(dir, { recursive: true, force: true }))
  mkdirSync(join(dir, 'node_modules'))
  symlinkSync(ROOT, join(dir, 'node_modules/outlive'))
  return dir
}

/** Runs Node there until it ends by itself. */
function node(cwd: string, args: string[], env: NodeJS.ProcessEnv): Promise<{ code: unknown; printed: string }> {
  const ended = new Promise<{ code: unknown; printed: string }>((resolve) => {
    execFile(process.execPath, args, { cwd, env }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, printed: stdout + stderr }),
    )
  })
  return within(ended, `node ${args.join(' ')} ends by itself`, 40_000)
}

/** The first sample below a heading. */
function sample(page: string, heading: string): string {
  const [, code] = readFileSync(join(ROOT, page), 'utf8').split(`\n## ${heading}\n`)[1]!.split('```js\n')
  return code!.split('```')[0]!
}

test.each([
  [
    'the ten lines of README.md',
    () => sample('README.md', 'Ten lines that run'),
    /^bash-\w+ failed 1 .*Missing script/m,
  ],
  ['examples/minimal', () => readFileSync(join(ROOT, 'examples/minimal/main.mjs'), 'utf8'), /completed, exit code 0/],
])('%s run as they stand, and leave the news of other programs to them', async (_, code, told) => {
  const store = temporaryStore()
  const other = store.registry()
  const id = await other.spawn('true')
  await other.wait(id)
  const dir = project()
  writeFileSync(join(dir, 'main.mjs'), code())
  writeFileSync(join(dir, 'package.json'), '{}')
  const { code: exitCode, printed } = await node(dir, ['main.mjs'], { ...process.env, OUTLIVE_DIR: store.dir })
  expect(printed).toMatch(told)
  expect(printed).not.toContain(id)
  expect(exitCode).toBe(0)
  expect(other.drain().map(({ taskId }) => taskId)).toEqual([id])
})

test('the loop of docs/api.md reads each line as it comes, and ends with the task', async () => {
  const store = temporaryStore()
  const tasks = store.registry()
  const go = gate(store)
  const loop = sample('docs/api.md', 'output').split('for await')[0]!
  const lines: (id: string) => AsyncGenerator<string> = new Function('tasks', `${loop}; return lines`)(tasks)
  const id = await tasks.spawn(
    `echo starting; echo; printf 'listening '; sleep 0.3; echo on 80; read _ < ${go.path}; printf end`,
  )
  const seen: string[] = []
  for await (const line of lines(id)) {
    seen.push(line)
    if (line.includes('listening on')) go.open()
  }
  expect(seen).toEqual(['starting', '', 'listening on 80', 'end'])
})

test('the foreground call of docs/api.md returns an end or has it told, and never both', async () => {
  const tasks = temporaryStore().registry({ maxRunning: 100 })
  const code = sample('docs/api.md', 'wait').replace('10_000', '30')
  const told: string[] = []
  const tell = ({ taskId }: Completion): void => void told.push(taskId)
  const make = new Function('tasks', 'sessionId', 'tell', `${code}; return run`)
  const run: (command: string) => Promise<TaskSnapshot> = make(tasks, 'chat', tell)
  // They end before the call looks, while it waits, at about the moment at which it turns, and after that.
  const times = Array.from({ length: 80 }, (_, n) => `sleep 0.0${String(n).padStart(2, '0')}`)
  const seen = await Promise.all([...times, ...Array(10).fill('true')].map(run))
  const returned = seen.filter(({ finishedAt }) => finishedAt !== null).map(({ taskId }) => taskId)
  await eventually(() => tasks.list().every((task) => task.completionDelivered), 'all are told')
  expect([...returned, ...told].sort()).toEqual(seen.map(({ taskId }) => taskId).sort())
})

test('the shell of docs/plugins.md has no type errors, shows, tells once, and ends in front what nobody waits for', async () => {
  const store = temporaryStore()
  const dir = project()
  const [, code] = readFileSync(join(ROOT, 'docs/plugins.md'), 'utf8').split('```ts\n')
  writeFileSync(join(dir, 'shell.cts'), code!.split('```')[0]!)
  symlinkSync(join(ROOT, 'node_modules/@types'), join(dir, 'node_modules/@types'))
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--target', 'es2022']
  const libraries = ['--lib', 'es2023,esnext.disposable,dom', '--types', 'node', '--ignoreConfig', '--skipLibCheck']
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  expect(await node(dir, [tsc, ...strict, ...libraries, 'shell.cts'], process.env)).toEqual({ code: 0, printed: '' })

  const load = async (): Promise<Host> => {
    const one = await host(store)
    await one.call(
      ({ say, shared }, path, storageDir) => {
        process.env.OUTLIVE_DIR = storageDir
        const { openShell } = require(path)
        shared.shell = openShell('chat', async (message: string) => say(message))
      },
      join(dir, 'shell.cjs'),
      store.dir,
    )
    return one
  }
  const first = await load()
  const [inFront, inBack] = [gate(store), gate(store)]
  const shown = await first.call(async ({ shared }, path) => {
    const texts: string[] = []
    const running = shared.shell.run(
      `echo one; read _ <'${path}'; echo two >&2; sleep 600 & exit 3`,
      new AbortController().signal,
      (text: string) => texts.push(text),
    )
    while (texts.join('') !== 'one\n') await new Promise((resolve) => setTimeout(resolve, 5))
    require('node:fs').writeFileSync(path, '\n')
    const { taskId, exitCode } = await running
    return { taskId, texts, exitCode }
  }, inFront.path)
  expect(shown).toMatchObject({ texts: ['one\n', 'two\n'], exitCode: 3 })
  const aborted = await first.call(
    async ({ shared }, path) => {
      const [before, meanwhile] = [AbortSignal.abort(), new AbortController()]
      const early = await shared.shell.run(`echo >'${path}'`, before, () => {}).catch(({ name }: Error) => name)
      const show = () => {
        meanwhile.abort()
        throw new Error('the client is gone')
      }
      const { status } = await shared.shell.run('echo; exec sleep 1000', meanwhile.signal, show)
      return { early, status }
    },
    join(dir, 'never'),
  )
  expect(aborted).toEqual({ early: 'AbortError', status: 'killed' })
  expect(existsSync(join(dir, 'never'))).toBe(false)
  expect(await first.call(({ shared }) => shared.shell.start('true', '/no/such/place'))).toBe(
    'There is no directory /no/such/place.',
  )
  const said: string = await first.call(
    ({ shared }, path) => shared.shell.start(`read _ <'${path}'; echo '</output>'`),
    inBack.path,
  )
  const [id] = /bash-[0-9a-f]{16}/.exec(said)!
  await first.call(({ shared }) => void shared.shell.run('exec sleep 1000', new AbortController().signal, () => {}))
  const tasks = store.registry()
  await eventually(
    () => tasks.status(shown.taskId, { sessionId: 'chat' })?.descendants === 0,
    'what it has left is ended',
  )
  const running = () => tasks.list({ sessionId: 'chat', status: 'running' })
  const forsaken = await eventually(() => running().find(({ command }) => command === 'exec sleep 1000'), 'it runs')
  await first.kill()
  inBack.open()

  const next = await load()
  const message = await next.heard<string>()
  expect(message).toContain(`Background task ${id} ended: completed, exit code 0.`)
  expect(message.split('</output>')).toHaveLength(2)
  await eventually(() => tasks.status(forsaken.taskId)?.status === 'killed', 'nobody waits for it any more')
  await next.call(({ shared }) => shared.shell.close())
  expect(next.untaken()).toEqual([])
  expect(tasks.drain({ sessionId: 'chat' })).toEqual([])
})

test('the tests of examples/jest pass where outlive is installed, and leave nothing behind', async () => {
  const dir = project()
  cpSync(join(ROOT, 'examples/jest'), dir, { recursive: true })
  mkdirSync(join(dir, 'tmp'))
  const { JEST_WORKER_ID: _, ...rest } = process.env
  const env = { ...rest, TMPDIR: join(dir, 'tmp'), OUTLIVE_DIR: '/no/such/store', FORCE_COLOR: '0' }
  const jest = [join(ROOT, 'node_modules/jest/bin/jest.js'), '--runInBand', '--no-cache']
  const { code, printed } = await node(dir, jest, env)
  expect(printed).toContain('3 passed, 3 total')
  expect(printed).not.toMatch(/did not exit|open handle|leaking/i)
  expect(code).toBe(0)
  expect(readdirSync(join(dir, 'tmp')).filter((name) => name.startsWith('plugin-test-'))).toEqual([])
})
