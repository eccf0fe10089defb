'use strict'
// Pi: `pi --mode rpc` with examples/pi-extension, spoken to in its protocol of JSON lines.

const assert = require('node:assert/strict')
const { cpSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { ROOT } = require('../packed.js')
const { aliveMarked } = require('../conformance/support.js')
const { NEWER_NODE, eventually, install, linkPackages, newerNode, pause, run } = require('./support.js')

const VERSION = '1.6.0'
const SESSION = '0199c0de-0000-7000-8000-000000000001'

const textOf = (message) => (Array.isArray(message.content) ? message.content[0]?.text : message.content)

async function readTools({ model, check }) {
  const prompt = model.seen[0][0].text
  for (const tool of ['bash', 'bash_output', 'kill_shell']) assert.match(prompt, new RegExp(`^- ${tool}: `, 'm'))
  check('the list of tools that the model begins with has all three')
}

/** A task that ends while the model thinks: its id, and the gate that lets the model answer. */
async function endsDuringTurn({ host, inBackground, gate, model }, name) {
  const [task, thought] = [gate(`${name}-task`), gate(`${name}-thought`)]
  const id = await inBackground(host, `read _ < ${task.path}`)
  await host.begin(`WAIT ${thought.path}`)
  await eventually(() => model.seen.at(-1).at(-1).text.includes('WAIT'), 'model that thinks')
  task.open()
  await eventually(() => aliveMarked(id).length === 0, 'end of the task')
  await pause(500) // Not needed to hold, but to fail: the notice is to wait for the turn.
  return { id, thought }
}

async function pressEscape(stage) {
  const { host, noticeOf, check } = stage
  const { id, thought } = await endsDuringTurn(stage, 'escape')
  for (const type of ['clear_queue', 'abort']) await host.send({ type })
  await noticeOf(id)
  thought.open()
  check('Escape loses no notice that waits behind the turn')
}

async function leave(stage) {
  const { start, host, noticeOf, model, check } = stage
  const { id, thought } = await endsDuringTurn(stage, 'leave')
  await host.quit()
  thought.open()
  assert.ok(
    !model.seen.flat().some(({ text }) => text.includes(`${id} ended`)),
    'the model has been asked nothing more',
  )
  const next = await start()
  await noticeOf(id)
  check('who leaves in the middle of a turn waits for no other; what that kept waiting is told at the next start')
  return next
}

async function session({ host, call, check }) {
  assert.match(
    await call(host, 'bash', { command: 'echo "$PI_SESSION_ID $PI_MODEL"' }),
    new RegExp(`^${SESSION} fake-1\n`),
  )
  check('a command knows the session and the model as in Pi’s own shell')
}

async function people({ host, gate, check }) {
  const printed = gate('printed')
  await host.begin(`CALL bash ${JSON.stringify({ command: `echo $((6 * 7)) so far; read _ < ${printed.path}` })}`)
  await eventually(() => host.shows('42 so far\n'), 'output of a command that runs')
  printed.open()
  check('people see what a command in front prints while it runs')
}

async function quit({ start, host, inForeground, leavesBehind, check }) {
  const ids = [await leavesBehind(host), await inForeground(host)]
  await host.quit()
  await eventually(() => ids.flatMap(aliveMarked).length === 0, 'end of both')
  check('a command in front ends with Pi, and what one has left running')
  return start()
}

function prepare({ project, home, modelUrl, store }) {
  // Pi needs a newer Node than the one that tests run under.
  const modules = install('pi', [`@earendil-works/pi-coding-agent@${VERSION}`, NEWER_NODE])
  const extension = join(project, '.pi/extensions/outlive')
  cpSync(join(ROOT, 'examples/pi-extension'), extension, { recursive: true })
  // For types: Pi itself gives an extension its own copy.
  linkPackages(project, [join(modules, '@earendil-works'), join(modules, 'typebox')])
  const fake = { baseUrl: modelUrl, api: 'openai-completions', apiKey: 'none', models: [{ id: 'fake-1' }] }
  writeFileSync(join(home, 'models.json'), JSON.stringify({ providers: { fake } }))
  const main = join(modules, '@earendil-works/pi-coding-agent/dist/cli.js')
  const options = ['--mode', 'rpc', '--approve', '--model', 'fake/fake-1', '--session-id', SESSION]
  const around = { PI_MODEL: 'of a Pi around this one' }
  const quiet = { PI_OFFLINE: '1', PI_TELEMETRY: '0', PI_SKIP_VERSION_CHECK: '1' }
  const env = { PATH: process.env.PATH, HOME: home, PI_CODING_AGENT_DIR: home, OUTLIVE_DIR: store, ...quiet, ...around }
  let requests = 0

  async function start() {
    const pi = run(newerNode(modules), [main, ...options], { cwd: project, env })
    const records = () =>
      pi.said
        .split('\n')
        .filter((line) => line.startsWith('{') && line.endsWith('}'))
        .map((line) => JSON.parse(line))
    const call = async (command) => {
      const id = `request-${++requests}`
      pi.child.stdin.write(`${JSON.stringify({ id, ...command })}\n`)
      const response = await eventually(() => records().find((record) => record.id === id), `answer to ${command.type}`)
      if (!response.success) throw new Error(response.error)
    }
    await call({ type: 'get_state' })
    // A turn that a completion started may settle in between: ours is the one behind our message.
    const isSettled = (message) => {
      const all = records()
      const asked = all.findLastIndex(({ type, message: sent }) => type === 'message_end' && textOf(sent) === message)
      return asked >= 0 && all.slice(asked).some(({ type }) => type === 'agent_settled')
    }
    const begin = (message) => call({ type: 'prompt', message, streamingBehavior: 'followUp' })
    const ask = async (message) => {
      await begin(message)
      await eventually(() => isSettled(message), 'end of the turn')
    }
    const shows = (text) =>
      records().some(({ type, partialResult }) => type === 'tool_execution_update' && textOf(partialResult) === text)
    const quit = () => {
      pi.child.stdin.end()
      return pi.gone
    }
    return { ask, begin, shows, send: call, quit, kill: pi.kill, said: () => pi.said }
  }
  return {
    example: join(extension, 'index.ts'),
    types: ['node'],
    start,
    store,
    own: [readTools, session, people, pressEscape, leave, quit],
  }
}

module.exports = { name: 'Pi', version: VERSION, prepare }
