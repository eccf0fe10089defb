'use strict'
// What scenarios have a model do in a client, and what it was told there.

const assert = require('node:assert/strict')
const { TaskRegistry } = require('../../index.js')
const { eventually } = require('./support.js')

/** The news of a task, as each example words it. */
const ended = (id) => `Background task ${id} ended`
const occurrences = (text, part) => text.split(part).length - 1
/** All that stands in a conversation. */
const allOf = (messages) => messages.map(({ text }) => text).join('\n')

/** What runs in a store, whoever started it. */
function running(store) {
  const tasks = new TaskRegistry({ storageDir: store })
  try {
    return tasks.sessions().flatMap((sessionId) => tasks.list({ sessionId, status: 'running' }))
  } finally {
    tasks.detach()
  }
}

/** `prefix`: what the client puts before the names of tools. */
function talk({ model, store, prefix = '' }) {
  const order = (tool, args) => `CALL ${prefix}${tool} ${JSON.stringify(args)}`
  const lastOf = (role) => model.seen.flat().findLast((message) => message.role === role)?.text
  /** What the model is answered. */
  const call = async (host, tool, args, options) => {
    await host.ask(order(tool, args), options)
    return lastOf('tool')
  }
  /** A task in the background: its id. */
  const inBackground = async (host, command, options) => {
    const said = await call(host, 'bash', { command, run_in_background: true }, options)
    return /bash-[0-9a-f]{16}/.exec(said)?.[0] ?? assert.fail(`no task id in: ${said}`)
  }
  /** A command that a turn waits for: its id, once it runs. */
  const inFront = (host, command) => {
    host.begin(order('bash', { command }))
    return eventually(() => running(store).find((task) => task.command === command)?.taskId, 'command in front')
  }
  /** Starts so many tasks in one turn that wait for a gate, and then one more, of which the answer is returned. */
  const startServers = async (host, { path }, count) => {
    // Each another one: OpenCode takes the same call again for a loop.
    const server = (name) => ({ command: `read _ < ${path}; echo ${name}`, run_in_background: true })
    await host.ask(Array.from({ length: count }, (_, name) => order('bash', server(name))).join('\n'))
    return call(host, 'bash', server('one more'))
  }
  return { lastOf, call, inBackground, inFront, startServers }
}

module.exports = { allOf, ended, occurrences, talk }
