'use strict'
// OpenCode: `opencode serve` with examples/opencode-plugin, spoken to as its own clients do, over HTTP.

const assert = require('node:assert/strict')
const { copyFileSync, existsSync, mkdirSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { ROOT } = require('../packed.js')
const { aliveMarked } = require('../conformance/support.js')
const { eventually, install, linkPackages, run } = require('./support.js')

const VERSION = '1.18.33'
const MODEL = { providerID: 'fake', modelID: 'fake-1' }

function configuration(modelUrl) {
  return {
    enabled_providers: ['fake'],
    model: 'fake/fake-1',
    small_model: 'fake/fake-1',
    provider: {
      fake: {
        npm: '@ai-sdk/openai-compatible',
        options: { baseURL: modelUrl, apiKey: 'none' },
        models: { 'fake-1': { tool_call: true, limit: { context: 100_000, output: 4096 } } },
      },
    },
  }
}

const RULES = {
  permission: {
    bash: { '*': 'allow', 'rm *': 'deny', 'uname *': 'ask' },
    external_directory: 'deny',
  },
}

/** Answers "always" to what is asked for while `work` goes on; resolves with the patterns of each question. */
async function questions(api, work) {
  const asked = []
  const isDone = work.then(() => true)
  await eventually(async () => {
    for (const { id, patterns } of await api('GET', '/permission')) {
      asked.push(patterns)
      await api('POST', `/permission/${id}/reply`, { reply: 'always' })
    }
    return Promise.race([isDone, false])
  }, 'end of the turn')
  return asked
}

async function rules({ host, call, check, project }) {
  const victim = join(project, 'victim')
  writeFileSync(victim, '')
  const forbidden = [
    `rm -f ${victim}`,
    `true && rm -f ${victim}`,
    `sleep 0 & rm -f ${victim} 2>&1`,
    `if true; then rm -f ${victim}; fi`,
    `echo $(rm -f ${victim})`,
    'cat /etc/hostname',
    'cd / && ls',
  ]
  for (const command of forbidden)
    assert.match(await call(host, 'bash', { command }), /rule which prevents you/, `${command} is refused`)
  assert.match(await call(host, 'bash', { command: 'pwd', workdir: '/' }), /rule which prevents you/)
  assert.ok(existsSync(victim), 'nothing has removed it')
  assert.match(await call(host, 'bash', { command: 'pwd 2>&1 | cat', workdir: '.opencode' }), /project\/\.opencode\n/)
  check('what `permission` denies is refused, wherever it stands in a line; directories outside of the project too')
}

async function always({ host, call, check }) {
  const ask = (command) => questions(host.api, call(host, 'bash', { command }))
  assert.deepEqual(await ask('uname -s && true'), [['uname -s', 'true']])
  assert.deepEqual(await ask('uname -s && true'), [], 'the same again')
  assert.deepEqual(await ask('uname -m'), [['uname -m']])
  check('"always" allows the very command that somebody was asked for')
}

async function people({ host, call, check }) {
  const { id: sessionId } = await host.api('POST', '/session', {})
  const said = await call(host, 'bash', { command: 'echo seen; exit 3', description: 'Prints a word' }, { sessionId })
  const all = await host.api('GET', `/session/${sessionId}/message`)
  const { state } = all.flatMap(({ parts }) => parts).find(({ type }) => type === 'tool')
  assert.equal(state.title, 'Prints a word')
  assert.deepEqual(state.metadata, { output: said, exit: 3, description: 'Prints a word', truncated: false })
  check('people see what a command has printed, as of OpenCode’s own shell')
}

/** The agent and the text of each message of a session. */
async function messages({ api }, sessionId) {
  const all = await api('GET', `/session/${sessionId}/message`)
  return all.map(({ info, parts }) => ({ agent: info.agent ?? info.mode, text: parts.map((p) => p.text ?? '').join() }))
}

/** Resolves when a session has been told of a task's end. */
const news = (host, sessionId, id) =>
  eventually(async () => (await messages(host, sessionId)).some(({ text }) => text.includes(`${id} ended`)), 'notice')

async function planMode({ host, inBackground, gate, check }) {
  const { id: sessionId } = await host.api('POST', '/session', {})
  const planned = gate('planned')
  const id = await inBackground(host, `read _ < ${planned.path}`, { sessionId, agent: 'plan' })
  planned.open()
  await news(host, sessionId, id)
  assert.deepEqual([...new Set((await messages(host, sessionId)).map(({ agent }) => agent))], ['plan'])
  check('a session in plan mode stays in it when a task ends')
}

async function subagent({ host, inBackground, gate, check }) {
  const { id: parentID } = await host.api('POST', '/session', {})
  await host.ask('hello', { sessionId: parentID })
  const { id: sessionId } = await host.api('POST', '/session', { parentID })
  const left = gate('left')
  const id = await inBackground(host, `read _ < ${left.path}`, { sessionId, agent: 'general' })
  left.open()
  await news(host, parentID, id)
  check('what a subagent leaves running is told to the session that has asked the subagent')
}

async function deletion({ host, inBackground, leavesBehind, check }) {
  const { id: sessionId } = await host.api('POST', '/session', {})
  const { id: other } = await host.api('POST', '/session', {})
  const ids = [
    await inBackground(host, 'exec sleep 600', { sessionId }),
    await leavesBehind(host, { sessionId }),
    await leavesBehind(host, { sessionId: other }),
  ]
  for (const id of [sessionId, other]) await host.api('DELETE', `/session/${id}`)
  await eventually(() => ids.flatMap(aliveMarked).length === 0, 'end of the tasks')
  check('the tasks of a session that is deleted are ended, and what they have left running')
}

async function unload({ host, inForeground, leavesBehind, check }) {
  const ids = [await leavesBehind(host), await inForeground(host)]
  await host.api('POST', '/instance/dispose')
  await eventually(() => ids.flatMap(aliveMarked).length === 0, 'end of both')
  await host.api('GET', '/session') // Loads the project again.
  check('a command in front ends with the plugin, and what one has left running')
}

/** OpenCode from npm, with what its plugins are compiled against; its node_modules. */
const installed = () => install('opencode', [`opencode-ai@${VERSION}`, `@opencode-ai/plugin@${VERSION}`])

/** How OpenCode is started in a project, whose configuration is there: a function. */
function starter({ project, home, store }) {
  const program = join(installed(), `opencode-linux-${process.arch}`, 'bin/opencode')
  const quiet = ['MODELS_FETCH', 'AUTOUPDATE', 'LSP_DOWNLOAD'].map((name) => [`OPENCODE_DISABLE_${name}`, '1'])
  const env = { PATH: process.env.PATH, HOME: home, OUTLIVE_DIR: store, ...Object.fromEntries(quiet) }
  let sessionId

  /** Starts the server, and has it load the project, as a client that connects does. */
  return async () => {
    const server = run(program, ['serve', '--port', '0', '--hostname', '127.0.0.1', '--print-logs'], {
      cwd: project,
      env,
    })
    const url = await eventually(() => /listening on (http:\S+)/.exec(server.said)?.[1], 'server that listens')
    const call = async (method, path, body) => {
      const headers = { 'content-type': 'application/json' }
      const response = await fetch(`${url}${path}`, { method, headers, body: body && JSON.stringify(body) })
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
      return response.json()
    }
    await call('GET', '/session')
    sessionId ??= (await call('POST', '/session', {})).id
    /** Resolves when the turn has ended. */
    const ask = (text, { sessionId: id = sessionId, agent } = {}) =>
      call('POST', `/session/${id}/message`, { agent, model: MODEL, parts: [{ type: 'text', text }] })
    const begin = (text) => void ask(text).catch(() => {}) // The server will be killed.
    /** Makes so many newer sessions that `GET /session`, which ends after 100, leaves ours out. */
    const crowd = async () => {
      await Promise.all(Array.from({ length: 100 }, () => call('POST', '/session', {})))
      const listed = await call('GET', '/session')
      if (listed.some(({ id }) => id === sessionId)) throw new Error('our session is still among the newest')
    }
    const abort = () => call('POST', `/session/${sessionId}/abort`)
    return { api: call, ask, begin, abort, crowd, kill: server.kill, said: () => server.said }
  }
}

/** A project with the plugin in it, as README.md says. */
function prepare({ project, home, modelUrl, store }) {
  const plugins = join(project, '.opencode/plugins')
  mkdirSync(plugins, { recursive: true })
  copyFileSync(join(ROOT, 'examples/opencode-plugin/outlive.ts'), join(plugins, 'outlive.ts'))
  linkPackages(project, [join(installed(), '@opencode-ai')])
  writeFileSync(join(project, 'opencode.json'), JSON.stringify({ ...configuration(modelUrl), ...RULES }))
  return {
    example: join(plugins, 'outlive.ts'),
    types: ['node'],
    start: starter({ project, home, store }),
    store,
    own: [rules, always, people, planMode, subagent, deletion, unload],
  }
}

module.exports = { name: 'OpenCode', version: VERSION, prepare, configuration, starter }
