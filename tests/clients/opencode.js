'use strict'
// OpenCode: `opencode serve` with examples/opencode-plugin, spoken to as its own clients do, over HTTP.

const { copyFileSync, mkdirSync, symlinkSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { ROOT } = require('../packed.js')
const { eventually, install, run } = require('./support.js')

const VERSION = '1.18.33'
const MODEL = { providerID: 'fake', modelID: 'fake-1' }

function configuration(modelUrl) {
  return {
    enabled_providers: ['fake'],
    model: 'fake/fake-1',
    small_model: 'fake/fake-1',
    permission: { bash: 'allow' },
    provider: {
      fake: {
        npm: '@ai-sdk/openai-compatible',
        options: { baseURL: modelUrl, apiKey: 'none' },
        models: { 'fake-1': { tool_call: true, limit: { context: 100_000, output: 4096 } } },
      },
    },
  }
}

/** A project with the plugin in it, as README.md says. */
function prepare({ project, home, modelUrl, store }) {
  const modules = install('opencode', [`opencode-ai@${VERSION}`, `@opencode-ai/plugin@${VERSION}`])
  const plugins = join(project, '.opencode/plugins')
  mkdirSync(plugins, { recursive: true })
  copyFileSync(join(ROOT, 'examples/opencode-plugin/outlive.ts'), join(plugins, 'outlive.ts'))
  mkdirSync(join(project, 'node_modules'))
  symlinkSync(ROOT, join(project, 'node_modules/outlive'))
  symlinkSync(join(modules, '@opencode-ai'), join(project, 'node_modules/@opencode-ai'))
  writeFileSync(join(project, 'opencode.json'), JSON.stringify(configuration(modelUrl)))
  const program = join(modules, `opencode-linux-${process.arch}`, 'bin/opencode')
  const quiet = ['MODELS_FETCH', 'AUTOUPDATE', 'LSP_DOWNLOAD'].map((name) => [`OPENCODE_DISABLE_${name}`, '1'])
  const env = { PATH: process.env.PATH, HOME: home, OUTLIVE_DIR: store, ...Object.fromEntries(quiet) }
  let sessionId

  /** Starts the server, and has it load the project, as a client that connects does. */
  async function start() {
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
    const ask = (text) =>
      call('POST', `/session/${sessionId}/message`, { model: MODEL, parts: [{ type: 'text', text }] })
    /** Makes so many newer sessions that `GET /session`, which ends after 100, leaves ours out. */
    const crowd = async () => {
      await Promise.all(Array.from({ length: 100 }, () => call('POST', '/session', {})))
      const listed = await call('GET', '/session')
      if (listed.some(({ id }) => id === sessionId)) throw new Error('our session is still among the newest')
    }
    return { ask, crowd, kill: server.kill, said: () => server.said }
  }
  return { example: join(plugins, 'outlive.ts'), start, store }
}

module.exports = { name: 'OpenCode', version: VERSION, prepare }
