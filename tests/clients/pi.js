'use strict'
// Pi: `pi --mode rpc` with examples/pi-extension, spoken to in its protocol of JSON lines.

const { cpSync, mkdirSync, symlinkSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { ROOT } = require('../packed.js')
const { eventually, install, run } = require('./support.js')

const VERSION = '0.87.1'
const SESSION = '0199c0de-0000-7000-8000-000000000001'

const textOf = (message) => (Array.isArray(message.content) ? message.content[0]?.text : message.content)

function prepare({ project, home, modelUrl, store }) {
  // Pi needs a newer Node than the one that tests run under.
  const modules = install('pi', [`@earendil-works/pi-coding-agent@${VERSION}`, `node-linux-${process.arch}@22.23.3`])
  const extension = join(project, '.pi/extensions/outlive')
  cpSync(join(ROOT, 'examples/pi-extension'), extension, { recursive: true })
  mkdirSync(join(project, 'node_modules'))
  symlinkSync(ROOT, join(project, 'node_modules/outlive'))
  // For its types: Pi itself gives an extension its own copy.
  symlinkSync(join(modules, '@earendil-works'), join(project, 'node_modules/@earendil-works'))
  const fake = { baseUrl: modelUrl, api: 'openai-completions', apiKey: 'none', models: [{ id: 'fake-1' }] }
  writeFileSync(join(home, 'models.json'), JSON.stringify({ providers: { fake } }))
  const node = join(modules, `node-linux-${process.arch}/bin/node`)
  const main = join(modules, '@earendil-works/pi-coding-agent/dist/cli.js')
  const options = ['--mode', 'rpc', '--approve', '--model', 'fake/fake-1', '--session-id', SESSION]
  const quiet = { PI_OFFLINE: '1', PI_TELEMETRY: '0', PI_SKIP_VERSION_CHECK: '1' }
  const env = { PATH: process.env.PATH, HOME: home, PI_CODING_AGENT_DIR: home, OUTLIVE_DIR: store, ...quiet }
  let requests = 0

  async function start() {
    const pi = run(node, [main, ...options], { cwd: project, env })
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
    const ask = async (message) => {
      await call({ type: 'prompt', message, streamingBehavior: 'followUp' })
      await eventually(() => isSettled(message), 'end of the turn')
    }
    return { ask, kill: pi.kill, said: () => pi.said }
  }
  return { example: join(extension, 'index.ts'), start, store }
}

module.exports = { name: 'Pi', version: VERSION, prepare }
