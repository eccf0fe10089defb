// N5: the package as its users load it, on platforms that it knows and on others.
import { execFile, execFileSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { atTheEnd, temporaryStore } from './support/store'

const root = join(__dirname, '../..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const outlive: typeof import('outlive') = require('outlive')
const functions = Object.keys(outlive).filter((name) => name !== 'TaskRegistry')

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'outlive-module-'))
  atTheEnd(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** What npm puts into the package. */
function packed(): string[] {
  const [{ files }] = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: root, encoding: 'utf8', stdio: 'pipe' }),
  )
  return files.map((file: { path: string }) => file.path)
}

/** The package as npm would install it, with or without the addon of this machine. */
function installed(options: { addon: boolean }): string {
  const project = folder()
  const home = join(project, 'node_modules/outlive')
  mkdirSync(home, { recursive: true })
  for (const file of packed()) cpSync(join(root, file), join(home, file))
  const addons = readdirSync(root).filter((name) => name.endsWith('.node'))
  if (options.addon) for (const file of addons) copyFileSync(join(root, file), join(home, file))
  return project
}

interface Run {
  cwd?: string
  env?: Record<string, string | undefined>
  flags?: string[]
}

/** What a script prints, as JSON; rejects with its stderr when it fails. */
async function run(script: string, { cwd = root, env = {}, flags = [] }: Run = {}): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, '-e', script], {
    cwd,
    env: { ...process.env, ...env },
    timeout: 30_000,
  })
  return JSON.parse(stdout)
}

const print = 'const print = (value) => process.stdout.write(JSON.stringify(value));'

describe('loading', () => {
  test('import knows every export by name', async () => {
    const script = `import { TaskRegistry, ${functions.join(', ')} } from 'outlive'; import * as all from 'outlive'; ${print}
      print({ each: [TaskRegistry, ${functions.join(', ')}].map((one) => typeof one), all: Object.keys(all) })`
    const cwd = installed({ addon: true })
    const { each, all } = (await run(script, { cwd, flags: ['--input-type=module'] })) as Record<string, string[]>
    expect(new Set(each)).toEqual(new Set(['function']))
    expect(all).toEqual(expect.arrayContaining(['TaskRegistry', ...functions, 'default']))
  })

  test('require gives the same, and package.json can be required', async () => {
    const script = `${print} const { version } = require('outlive/package.json');
      print({ version, names: Object.keys(require('outlive')) })`
    const cwd = installed({ addon: true })
    expect(await run(script, { cwd })).toEqual({ version: manifest.version, names: ['TaskRegistry', ...functions] })
  })

  test('the types declare exactly what there is', () => {
    const types = readFileSync(join(root, 'index.d.ts'), 'utf8')
    const declared = [...types.matchAll(/^export (?:function|class) (\w+)/gm)].map((match) => match[1])
    expect(declared.sort()).toEqual(Object.keys(outlive).sort())
    const methods = [...types.matchAll(/^ {2}(\w+)\(/gm)]
      .map((match) => match[1])
      .filter((name) => name !== 'constructor')
    const inherited = ['close', 'ref', 'unref'] // of Subscription
    expect(new Set(methods)).toEqual(new Set([...functions, ...inherited]))
    expect(functions.every((name) => name in outlive.TaskRegistry.prototype)).toBe(true)
  })

  test('opens nothing: no store is made before the first call', async () => {
    const store = join(folder(), 'store')
    expect(await run(`${print} require('outlive'); print(null)`, { env: { OUTLIVE_DIR: store } })).toBeNull()
    expect(existsSync(store)).toBe(false)
  })
})

describe('the default registry', () => {
  const inHome = (home: string) => ({ HOME: home, OUTLIVE_DIR: undefined, XDG_STATE_HOME: undefined })

  test('opens on first use; its functions need no object', async () => {
    const { dir } = temporaryStore()
    const script = `${print} const { spawn, wait, drain, list, output } = require('outlive');
      spawn('echo hi').then(wait).then(({ taskId, status }) =>
        print({ status, text: output(taskId).text, told: drain().length, listed: list().length }))`
    expect(await run(script, { env: { OUTLIVE_DIR: dir } })).toEqual({
      status: 'completed',
      text: 'hi\n',
      told: 1,
      listed: 1,
    })
  })

  test.each([
    ['$OUTLIVE_DIR', 'a', (home: string) => ({ ...inHome(home), OUTLIVE_DIR: join(home, 'a'), XDG_STATE_HOME: '/b' })],
    ['a relative $OUTLIVE_DIR', 'a/b', (home: string) => ({ ...inHome(home), OUTLIVE_DIR: 'a/b' })],
    ['$XDG_STATE_HOME', 's/outlive', (home: string) => ({ ...inHome(home), XDG_STATE_HOME: join(home, 's') })],
    [
      '~/.local/state, not a relative $XDG_STATE_HOME',
      '.local/state/outlive',
      (home: string) => ({ ...inHome(home), XDG_STATE_HOME: 's' }),
    ],
    [
      '~/.local/state, not an empty $OUTLIVE_DIR',
      '.local/state/outlive',
      (home: string) => ({ ...inHome(home), OUTLIVE_DIR: '' }),
    ],
  ])('keeps its store in %s', async (_, place, env) => {
    const home = folder()
    const script = `${print} print(require(${JSON.stringify(root)}).list())`
    expect(await run(script, { cwd: home, env: env(home) })).toEqual([])
    expect(existsSync(join(home, place))).toBe(true)
  })

  test.each(['', 'relative'])('keeps no store in the folder of the host when $HOME is "%s"', async (HOME) => {
    const cwd = folder()
    const { homedir } = userInfo()
    const script = `${print} const { defaultStorageDir } = require(${JSON.stringify(join(root, 'storage.js'))})
      print(defaultStorageDir())`
    const env = { ...inHome(HOME) }
    expect(await run(script, { cwd, env })).toBe(join(homedir, '.local/state/outlive'))
    expect(readdirSync(cwd)).toEqual([])
  })

  test('and another one say so when the folder of the host is gone, and a relative path leads nowhere', async () => {
    const script = `${print} const { mkdtempSync, rmdirSync } = require('node:fs'); const { TaskRegistry, list } = require(${JSON.stringify(root)})
      const gone = mkdtempSync('gone-'); process.chdir(gone); rmdirSync('../' + gone)
      const tasks = new TaskRegistry({ storageDir: process.env.STORE })
      const fails = async (call) => { try { await call() } catch ({ code, cause }) { return [code, cause.code] } }
      const calls = [list, () => new TaskRegistry({ storageDir: 'a' }), () => tasks.spawn('true', { cwd: 'b' }), () => tasks.spawn('true')]
      Promise.all(calls.map(fails)).then(print)`
    const { dir } = temporaryStore()
    expect(await run(script, { cwd: folder(), env: { OUTLIVE_DIR: 'x', STORE: dir } })).toEqual([
      ['STORAGE_FAILED', 'ENOENT'],
      ['STORAGE_FAILED', 'ENOENT'],
      ['CWD_NOT_FOUND', 'ENOENT'],
      ['CWD_NOT_FOUND', 'ENOENT'],
    ])
  })

  test.each(['detach()', 'await shutdown()'])('stays closed after %s', async (end) => {
    const script = `import { detach, shutdown, spawn, list } from 'outlive'; ${print}
      list(); ${end}; detach()
      const codes = []
      try { list() } catch (error) { codes.push(error.code) }
      await spawn('true').catch((error) => codes.push(error.code))
      await shutdown().catch((error) => codes.push(error.code))
      print(codes)`
    const { dir } = temporaryStore()
    const answer = await run(script, { env: { OUTLIVE_DIR: dir }, flags: ['--input-type=module'] })
    expect(answer).toEqual(['REGISTRY_CLOSED', 'REGISTRY_CLOSED', 'REGISTRY_CLOSED'])
  })

  test('is not opened by a detach that comes first, nor by what comes after that', async () => {
    const store = join(folder(), 'store')
    const script = `${print} const { detach, list } = require('outlive'); detach(); try { list() } catch ({ code }) { print(code) }`
    expect(await run(script, { env: { OUTLIVE_DIR: store } })).toBe('REGISTRY_CLOSED')
    expect(existsSync(store)).toBe(false)
  })
})

describe('a platform without an addon', () => {
  const fake = (system: string): string =>
    `Object.defineProperty(process, 'platform', { value: '${system}' });
     Object.defineProperty(process, 'arch', { value: 'arm64' });`

  test.each(['win32', 'darwin', 'freebsd'])('%s: the package loads, and every call says so', async (system) => {
    const script = `${fake(system)} ${print} const outlive = require('outlive')
      const registry = new outlive.TaskRegistry()
      const calls = { status: ['x'], kill: ['x'], wait: ['x'], output: ['x'], spawn: ['x'], onCompletion: [() => {}], ack: [[]], release: [[]] }
      async function ask(owner, name) {
        try { await owner[name](...(calls[name] ?? [])) } catch ({ code, message }) { return { name, code, message } }
        return { name }
      }
      const names = ${JSON.stringify(functions)}
      Promise.all([registry, outlive].flatMap((owner) => names.filter((name) => name !== 'detach').map((name) => ask(owner, name))))
        .then((answers) => { registry.detach(); outlive.detach(); print(answers) })`
    const answers = (await run(script)) as { code: string; message: string }[]
    expect(answers).toHaveLength((functions.length - 1) * 2)
    for (const answer of answers) {
      expect(answer).toMatchObject({
        code: 'UNSUPPORTED_PLATFORM',
        message: expect.stringContaining(`${system}-arm64`),
      })
    }
  })

  test('a wrong argument is still a wrong argument there', async () => {
    const script = `${fake('win32')} ${print}
      try { new (require('outlive').TaskRegistry)({ maxRunning: 0 }) } catch ({ code }) { print(code) }`
    expect(await run(script)).toBe('INVALID_ARGUMENT')
  })
})

describe('an addon that does not load', () => {
  const messageOf = (cwd: string, env: Record<string, string> = {}): Promise<unknown> =>
    run(
      `${print} try { require('outlive'); print('loaded') } catch ({ message, cause }) { print({ message, causes: cause?.errors.length }) }`,
      { cwd, env },
    )

  test('is told with the platform, every name that was tried, and why each failed', async () => {
    const cwd = installed({ addon: false })
    const { message, causes } = (await messageOf(cwd)) as { message: string; causes: number }
    const key = message.match(/linux-\w+-(gnu|musl)/)![0]
    expect(message).toContain(`no addon for ${key} could be loaded`)
    expect(message).toContain(`./outlive.${key}.node: Cannot find module`)
    expect(message).toContain(`outlive-${key}: Cannot find module`)
    expect(message).toContain(`optional dependency outlive-${key}: install without leaving those out`)
    expect(message).toContain('In a checkout "npm ci && npm run build" makes it')
    expect(causes).toBe(2)
  })

  test('a file that is no addon is told as such, and the package is tried after it', async () => {
    const cwd = installed({ addon: true })
    const home = join(cwd, 'node_modules/outlive')
    const [name] = readdirSync(home).filter((name) => name.endsWith('.node'))
    writeFileSync(join(home, name!), 'no ELF')
    const { message } = (await messageOf(cwd)) as { message: string }
    expect(message).toMatch(/\.node: .*(invalid ELF header|file too short)/)
    const key = name!.split('.')[1]
    const rescue = join(cwd, `node_modules/outlive-${key}`)
    mkdirSync(rescue)
    copyFileSync(join(root, name!), join(rescue, name!))
    copyFileSync(join(root, `npm/${key}/package.json`), join(rescue, 'package.json'))
    expect(await messageOf(cwd)).toBe('loaded')
  })

  test('OUTLIVE_NATIVE overrides the path, and nothing else is tried then', async () => {
    const cwd = installed({ addon: false })
    const [name] = readdirSync(root).filter((name) => name.endsWith('.node'))
    expect(await messageOf(cwd, { OUTLIVE_NATIVE: join(root, name!) })).toBe('loaded')
    expect(await messageOf(root, { OUTLIVE_NATIVE: '/no/such.node' })).toMatchObject({
      message: expect.stringContaining('/no/such.node (from OUTLIVE_NATIVE): Cannot find module'),
      causes: 1,
    })
  })

  test('and its package are of one version, in every place that says it', () => {
    const { version } = require('../../tools/release/version.js')
    const { VERSION } = require(join(root, readdirSync(root).find((name) => name.endsWith('.node'))!))
    expect([version(), VERSION]).toEqual([manifest.version, manifest.version])
  })

  test('one of another release that OUTLIVE_NATIVE names is told as such', async () => {
    const script = join(folder(), 'addon.js')
    writeFileSync(script, 'module.exports = { NativeRegistry: class {}, VERSION: "0.0.9" }')
    const { message } = (await messageOf(root, { OUTLIVE_NATIVE: script })) as { message: string }
    expect(message).toContain(
      `the files are those of version ${manifest.version}, and the loaded addon is version 0.0.9`,
    )
    expect(message).toContain(`OUTLIVE_NATIVE names that addon, ${script}`)
  })

  test('after an upgrade under a running host, and after that alone, says to restart it: in the host and in its workers', async () => {
    const [cwd, next] = [installed({ addon: true }), installed({ addon: true })]
    const place = join(cwd, 'node_modules/outlive')
    const upgrade = join(next, 'node_modules/outlive')
    for (const name of ['native.js', 'package.json']) {
      const text = readFileSync(join(upgrade, name), 'utf8')
      writeFileSync(join(upgrade, name), text.replace(manifest.version, '99.0.0'))
    }
    const script = `${print} const { renameSync, rmSync } = require('node:fs'); const { Worker } = require('node:worker_threads')
      const load = "try { require('outlive').list(); 0 } catch ({ code, message }) { ({ code, message }) }"
      const again = () => { for (const path in require.cache) delete require.cache[path]; return eval(load) }
      const inWorker = () => new Promise((resolve, reject) => new Worker(
        "require('node:worker_threads').parentPort.postMessage(eval(" + JSON.stringify(load) + "))", { eval: true })
        .once('message', resolve).once('error', reject))
      const all = async () => [again(), await inWorker()]
      const main = async () => {
        const before = [again(), ...await all()]
        rmSync(${JSON.stringify(place)}, { recursive: true })
        renameSync(${JSON.stringify(upgrade)}, ${JSON.stringify(place)})
        print({ before, after: await all() })
      }
      main()`
    const { before, after } = (await run(script, { cwd, env: { OUTLIVE_DIR: temporaryStore().dir } })) as {
      [when: string]: unknown[]
    }
    expect(before).toEqual([0, 0, 0])
    const told = {
      code: 'UNSUPPORTED_PLATFORM',
      message: expect.stringMatching(/version 99\.0\.0, .* addon is version [\d.]+\. .*Restart the host/),
    }
    expect(after).toEqual([told, told])
  })

  test('a bundler that put the name of a file in the addon’s place is told what to do', async () => {
    const script = join(folder(), 'addon.js')
    writeFileSync(script, 'module.exports = "./addon-5f3a.node"')
    const { message } = (await messageOf(root, { OUTLIVE_NATIVE: script })) as { message: string }
    expect(message).toMatch(/the string "\.\/addon-5f3a\.node".*--loader:\.node=copy.*node-loader.*external/)
  })
})
