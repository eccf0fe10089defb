'use strict'
// VS Code: code-server, which is VS Code's own extension host and window, with examples/vscode-extension packaged by vsce and
// installed as people do. Chromium shows the window, and the chat in it is VS Code's own, with a model of ours at its end.

const assert = require('node:assert/strict')
const { execFileSync, spawnSync } = require('node:child_process')
const {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} = require('node:fs')
const { join } = require('node:path')
const { ROOT, npm, pack } = require('../packed.js')
const { CACHE, eventually, install, run } = require('./support.js')
const { openWindow } = require('./vscode-window.js')

const VERSION = '4.139.1'
const SCREENSHOT = join(CACHE, 'vscode-notification.png')
const TOOLS = [
  `node-linux-${process.arch}@24.21.0`,
  'puppeteer-core@25.16.0',
  '@vscode/vsce@4.1.0',
  '@types/node@20.19.43',
  '@types/vscode@1.104.0',
  'esbuild@0.28.2',
]

/** Without its scripts, which fetch VS Code's dependencies with compilers: those that are missing are not needed here. */
function installDependencies(modules) {
  npm(['install', '--omit=dev', '--ignore-scripts'], join(modules, 'code-server/lib/vscode'))
}

const which = () => spawnSync('which', ['chromium'], { encoding: 'utf8' }).stdout.trim()

/** Where Debian's chromium is; root may install it. Empty when there is none. */
function chromium() {
  if (which() === '' && process.getuid() === 0 && spawnSync('apt-get', ['--version']).status === 0) {
    const quiet = { stdio: ['ignore', 'ignore', 'inherit'] }
    spawnSync('apt-get', ['update', '-qq'], quiet)
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], quiet)
  }
  return which()
}

/** The example with its dependencies, as `npm install` gives them to a user who has copied it; returns the packed extension. */
function packExtension({ dir, modules, script }) {
  const extension = join(dir, 'vscode-extension')
  cpSync(join(ROOT, 'examples/vscode-extension'), extension, { recursive: true })
  const tarballs = pack(dir)
  // Of its development dependencies only those that its scripts run, and those are in the cache.
  symlinkSync(modules, join(dir, 'node_modules'))
  npm(['install', '--offline', '--omit=dev', ...tarballs], extension)
  npm(['run', script], extension)
  return { source: join(extension, 'extension.ts'), vsix: join(extension, 'outlive-shell.vsix') }
}

/** Processes of the group that are still there; its leader is reaped by us, the others by init. */
function groupMembers(group) {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ')
      } catch {
        return [] // It has ended since.
      }
    })
  return stats.filter(([state, , inGroup]) => Number(inGroup) === group && state !== 'Z').length
}

function configure(user, modelUrl) {
  mkdirSync(user, { recursive: true })
  const model = { id: 'fake-1', name: 'fake-1', url: modelUrl, toolCalling: true, vision: false }
  const limits = { maxInputTokens: 100_000, maxOutputTokens: 4096 }
  const provider = { name: 'fake', vendor: 'customendpoint', apiKey: 'none', apiType: 'chat-completions' }
  writeFileSync(
    join(user, 'chatLanguageModels.json'),
    JSON.stringify([{ ...provider, models: [{ ...model, ...limits }] }]),
  )
  const settings = { 'telemetry.telemetryLevel': 'off', 'workbench.startupEditor': 'none' }
  writeFileSync(join(user, 'settings.json'), JSON.stringify(settings))
}

/** What a person sees and can do, beside the agent. */
async function people(host, check, project) {
  await host.notification('failed, exit code 3')
  await host.screenshot(SCREENSHOT)
  check(`a person sees a notification (${SCREENSHOT})`)
  await host.runCommand('Outlive: Run in Background', 'A command for bash -c', 'echo for people')
  await host.press('echo for people: completed, exit code 0', 'Show output')
  await host.output('for people')
  check('a person runs a command in the background, is notified of its end, and reads its output')
  await host.runCommand('Outlive: Run in Background', 'A command for bash -c', 'sleep 600 & echo $! > left.pid')
  await host.press('and has left 1 process running', 'End what is left')
  const pid = readFileSync(join(project, 'left.pid'), 'utf8').trim()
  await eventually(() => !existsSync(`/proc/${pid}`), 'end of what was left')
  check('a person ends what a command has left running')
}

/** A command that a turn waits for: the chat names it, and what it prints can be seen. */
async function watch({ host, gate, check }) {
  const printed = gate('printed')
  const command = `echo $((6 * 7)) so far; read _ < ${printed.path}`
  const see = async () => {
    await host.chat('Shell: echo $((6 * 7)) so far')
    await host.clickTask('so far')
    await host.output('42 so far')
    printed.open()
  }
  await Promise.all([host.ask(`CALL bash ${JSON.stringify({ command })}`), see()])
  check('people see which command runs in front, and what it prints while it runs')
}

async function endFromList({ host, check }) {
  await host.runCommand('Outlive: Run in Background', 'A command for bash -c', 'echo endless $(sync); sleep 600')
  await host.clickTask('echo endless $(sync); sleep 600', '.codicon-trash')
  await host.notification('echo endless $(sync); sleep 600: killed')
  check('a person ends a task that runs')
}

/** As where there is no addon for the platform: the extension cannot start. */
async function unusable({ host, start, model, store, check }) {
  await host.kill()
  chmodSync(store, 0o777)
  const broken = await start()
  await broken.notification('Outlive: the store could not use the storage directory')
  const before = model.seen.length
  await broken.ask(`Try this:\nCALL bash ${JSON.stringify({ command: 'true' })}`)
  assert.ok(!model.seen.slice(before).some((messages) => messages.at(-1).role === 'tool'), 'no tool is offered')
  check('a person reads why the extension cannot start, and no agent is offered its tools')
  await broken.kill()
  chmodSync(store, 0o700)
  return start()
}

async function peopleAgain(host, check) {
  await host.notification('while nobody was there: completed, exit code 0')
  await host.screenshot(SCREENSHOT.replace('notification', 'restart'))
  check('a person is notified of it too')
}

function prepare(script, { dir, project, home, modelUrl, seen }) {
  const browser = chromium()
  if (browser === '') return { skipped: 'it needs chromium, or root and apt-get to install it' }
  const modules = install('vscode', [`code-server@${VERSION}`, ...TOOLS], installDependencies)
  const { source, vsix } = packExtension({ dir, modules, script })
  const [data, extensions] = ['data', 'extensions'].map((name) => join(dir, name))
  const store = join(data, 'User/globalStorage/outlive-examples.outlive-shell/tasks')
  configure(join(data, 'User'), modelUrl)
  const node = join(modules, `node-linux-${process.arch}/bin/node`)
  const program = [join(modules, 'code-server'), '--user-data-dir', data, '--extensions-dir', extensions]
  const env = { PATH: process.env.PATH, HOME: home }
  execFileSync(node, [...program, '--install-extension', vsix], { env, stdio: 'pipe' })
  const options = ['--auth', 'none', '--disable-telemetry', '--disable-update-check', '--disable-workspace-trust']
  let window
  let address = '127.0.0.1:0'

  async function start() {
    const args = [...program, ...options, '--bind-addr', address, project]
    const server = run(node, args, { env, cwd: project, detached: true })
    address = await eventually(() => /listening on http:\/\/([\d.:]+)/.exec(server.said)?.[1], 'server that listens')
    window ??= await openWindow({ modules, home, browser, seen, origin: `http://${address}` })
    await window.load(project)
    const kill = async () => {
      await server.kill()
      await eventually(() => groupMembers(server.child.pid) === 0, 'end of the extension host')
    }
    return { ...window, kill, said: () => `${window.heard()}\n${server.said}` }
  }
  // A window whose server was killed may come back with a new chat.
  const losesConversations = true
  return {
    example: source,
    types: ['node'],
    losesConversations,
    start,
    own: [watch, endFromList, (stage) => unusable({ ...stage, store })],
    people: (host, check) => people(host, check, project),
    peopleAgain,
    close: () => window?.close(),
  }
}

const client = (name, script) => ({
  name: `VS Code (${name})`,
  version: `1.139.1, code-server ${VERSION}`,
  prepare: (place) => prepare(script, place),
})

module.exports = {
  bundled: client('bundled', 'package:bundled'),
  withDependencies: client('with dependencies', 'package'),
}
