// What the command line says to what it cannot do.
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CLI, commandLine } from './support/cli'
import { temporaryStore } from './support/store'

const store = temporaryStore()
const { outlive } = commandLine(store)

const wrong = [[], ['lst'], ['ls', 'x'], ['show'], ['show', 'a', 'b'], ['ls', '--follow'], ['logs', '--nope', 'a']]
const values = [
  ['gc', '--older-than', '5'],
  ['gc', '--older-than', '999999999d'],
  ['logs', '--lines', 'x', 'a'],
  ['logs', '--stream', 'both', 'a'],
  ['kill', '--signal', 'NOPE', 'a'],
  ['kill', '--grace', '-5s', 'a'],
  ['ls', '--status', 'done'],
  ['ls', '--session', ''],
  ['ls', '--store', ''],
  ['ls', '--store'],
]

test('misuse ends with 2, prints no result and says what is wrong', async () => {
  for (const args of [...wrong, ...values]) {
    const { code, stdout, stderr } = await outlive(...args)
    expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' })
    expect(stderr).toMatch(/^outlive: .+\n$/)
    const option = args.find((word) => word.startsWith('--'))
    if (option !== undefined) expect(stderr).toContain(option)
  }
})

test('a store that nothing was started in has no tasks, and looking makes none', async () => {
  const home = join(store.dir, 'home')
  const places = [{ OUTLIVE_DIR: join(store.dir, 'not yet') }, { OUTLIVE_DIR: '', XDG_STATE_HOME: '', HOME: home }]
  for (const place of places) {
    const { outlive } = commandLine(store, place)
    expect(await outlive('ls')).toEqual({ code: 0, stdout: 'no tasks\n', stderr: '' })
    expect(await outlive('ls', '--json', '--session', 'a')).toEqual({ code: 0, stdout: '[]\n', stderr: '' })
    expect(await outlive('gc')).toEqual({ code: 0, stdout: 'removed 0 tasks\n', stderr: '' })
    for (const verb of ['show', 'logs', 'kill']) {
      expect(await outlive(verb, 'a')).toEqual({ code: 3, stdout: '', stderr: 'outlive: no task has the id "a"\n' })
    }
  }
  expect(['not yet', 'home'].filter((name) => existsSync(join(store.dir, name)))).toEqual([])
})

test('a store that --store names and that is not there is an error, and none is made', async () => {
  const missing = join(store.dir, 'no', 'store')
  expect(await outlive('ls', '--store', missing)).toMatchObject({ code: 1, stderr: expect.stringContaining(missing) })
  const file = await outlive('ls', '--store', CLI)
  expect(file).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(CLI) })
})

test('a store that may not be looked at is an error, and not taken for an empty one', async () => {
  const closed = join(store.dir, 'closed')
  mkdirSync(closed, { mode: 0 })
  const place = join(closed, 'store')
  const { start } = commandLine(store, { OUTLIVE_DIR: place })
  // Nothing is closed to root.
  const under = process.getuid!() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : []
  for (const args of [['ls'], ['ls', '--json'], ['ls', '--store', place], ['kill', 'a']]) {
    const { code, stdout, stderr } = await start(args, under).ended
    expect({ args, code, stdout }).toEqual({ args, code: 1, stdout: '' })
    expect(stderr).toMatch(/^outlive: .*closed.*[Pp]ermission denied.*\n$/)
  }
})

test('what keeps the package from loading is said under its name once', async () => {
  const { outlive } = commandLine(store, { OUTLIVE_NATIVE: '/no/such.node' })
  const { code, stdout, stderr } = await outlive('ls')
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toMatch(/^outlive: no addon for /)
})

test('misuse is what --help is there for: each command, and the exit codes of docs/cli.md', async () => {
  const { code, stdout } = await outlive('--help')
  expect(code).toBe(0)
  for (const verb of ['ls', 'show', 'logs', 'kill', 'gc']) expect(stdout).toContain(`outlive ${verb}`)
  const page = readFileSync(join(__dirname, '../../docs/cli.md'), 'utf8').replaceAll('`', '').replaceAll('"', '')
  const codes = stdout.slice(stdout.indexOf('Exit codes:')).match(/^ {2}\d .*$/gm) ?? []
  expect(codes).toHaveLength(5)
  for (const line of codes) {
    const [, digit, meaning] = /^ {2}(\d) {2}(.*)$/.exec(line.replaceAll('"', ''))!
    expect(page).toContain(`| ${digit} | ${meaning} |`)
  }
  expect((await outlive('logs', '-h')).stdout).toContain('--follow')
  expect((await outlive('-V')).stdout).toBe(`${require('../../package.json').version}\n`)
})
