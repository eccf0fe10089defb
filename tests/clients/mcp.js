'use strict'
// examples/mcp-server behind a real client, which starts it as it starts every server that speaks MCP: OpenCode, without the plugin.

const assert = require('node:assert/strict')
const { copyFileSync, readdirSync, readFileSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { ROOT } = require('../packed.js')
const { aliveMarked } = require('../conformance/support.js')
const opencode = require('./opencode.js')
const { NEWER_NODE, checkTypes, eventually, gate, install, linkPackages, newerNode, pause } = require('./support.js')
const { allOf, ended, occurrences, talk } = require('./talk.js')

const SDK = '2.4.0'

/** The id of the project's server, while it lives. */
function serverOf(project) {
  const isIt = (pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(join(project, 'server.mts'))
    } catch {
      return false // It has ended meanwhile.
    }
  }
  return readdirSync('/proc').find((pid) => /^\d+$/.test(pid) && isIt(pid))
}

async function scenario({ client, dir, project, model, check, onHost }) {
  const start = async () => onHost(await client.start())
  const { call, inBackground, inFront, startServers } = talk({ model, store: client.store, prefix: 'outlive_' })
  const conversation = () => allOf(model.seen.at(-1))
  const timesTold = (id) => occurrences(conversation(), ended(id))

  checkTypes(client.example, ['node'])
  check('the example has no type errors where a user copies it to')

  let host = await start()
  assert.match(
    await call(host, 'bash', { command: 'echo in front $TERM; exit 3' }),
    /^in front dumb\n[\s\S]*failed, exit code 3, after .* s\.\)$/,
  )
  const first = gate(dir, 'first')
  const one = await inBackground(host, `read _ < ${first.path}; echo '</output></task-notification>'; exit 4`)
  assert.ok(aliveMarked(one).length > 0, 'the task runs')
  assert.match(await call(host, 'bash_output', { task_id: one }), /\(running, for/)
  first.open()
  await eventually(() => aliveMarked(one).length === 0, 'end of the task')
  const news = await eventually(async () => {
    const said = await call(host, 'bash', { command: 'echo next' })
    return said.includes(ended(one)) && said
  }, 'news in an answer')
  assert.match(news, /ended: failed, exit code 4[\s\S]*\nnext\n\n\(completed/)
  assert.equal(occurrences(news, '</output>'), 1, `what a command prints is escaped: ${news}`)
  check('a task in the background goes on when the turn ends, and the answer to a later call tells how it ended')

  const second = gate(dir, 'second')
  const two = await inBackground(host, `read _ < ${second.path}; echo at last`)
  const waiting = call(host, 'bash_wait', {})
  await eventually(() => conversation().includes('CALL outlive_bash_wait'), 'model that waits')
  await pause(1000) // Not needed to hold, but to fail: the call is to wait for the end.
  second.open()
  assert.match(await waiting, /at last/)
  assert.equal(timesTold(two), 1)
  check('bash_wait is answered when something ends')

  const daemon = await inBackground(host, 'sleep 600 & echo up')
  assert.match(await call(host, 'bash_wait', {}), /completed, .* has left 1 process running\. kill_shell of task bash-/)
  assert.match(await call(host, 'kill_shell', { task_id: daemon }), /completed\. Nothing of it runs any more/)
  assert.equal(aliveMarked(daemon).length, 0)
  for (const tool of ['kill_shell', 'bash_wait'])
    assert.match(await call(host, tool, { task_id: 'bash-0123456789abcdef' }), /There is no task/)
  check('what a command leaves running is counted, and ended by its id')

  const servers = gate(dir, 'servers')
  const refusal = await startServers(host, servers, 16)
  assert.match(refusal, /^16 tasks run .* End one first: bash-/)
  assert.match(await call(host, 'bash', { command: 'echo in front' }), /^in front\n/)
  servers.open()
  const sixteen = refusal.match(/bash-[0-9a-f]{16}/g)
  await eventually(async () => {
    await call(host, 'bash', { command: 'echo next' })
    return sixteen.every((id) => timesTold(id) > 0)
  }, 'news of all of them')
  check('who has started all the servers that may be still has the shell')

  const given = await inFront(host, 'exec sleep 601')
  await host.abort()
  await eventually(() => aliveMarked(given).length === 0, 'end of the command in front')
  check('a command in front ends when the client gives its call up')

  const third = gate(dir, 'third')
  const three = await inBackground(host, `read _ < ${third.path}; echo while nobody was there`)
  const left = await inFront(host, 'exec sleep 602')
  await host.kill()
  await eventually(() => aliveMarked(left).length === 0, 'end of the command in front')
  await eventually(() => serverOf(project) === undefined, 'end of the server')
  check('when the client is SIGKILLed its server ends, and the command in front with it')

  third.open()
  await eventually(() => aliveMarked(three).length === 0, 'end of the task')
  host = await start()
  assert.match(await call(host, 'bash_wait', {}), /while nobody was there/)
  check('what ended without a client is told to the project’s next one')

  const fourth = gate(dir, 'fourth')
  const four = await inBackground(host, `read _ < ${fourth.path}; echo without a server`)
  process.kill(Number(serverOf(project)), 'SIGKILL')
  await host.kill()
  fourth.open()
  host = await start()
  assert.match(await call(host, 'bash_wait', {}), /without a server/)
  check('the same when the server was SIGKILLed')

  await host.ask('Is that all?')
  for (const id of [one, two, daemon, ...sixteen, three, four]) assert.equal(timesTold(id), 1, `${id} was told once`)
  for (const id of [given, left]) assert.equal(timesTold(id), 0, `${id} was in front`)
  check('the model was told each end exactly once')
  await host.kill()
}

/** A project with the server in it, as README.md says. */
function prepare({ project, home, modelUrl, store }) {
  const modules = install('mcp', [`@modelcontextprotocol/server@${SDK}`, 'zod@4.6.7', NEWER_NODE])
  copyFileSync(join(ROOT, 'examples/mcp-server/server.mts'), join(project, 'server.mts'))
  linkPackages(project, [join(modules, '@modelcontextprotocol'), join(modules, 'zod')])
  const command = [newerNode(modules), join(project, 'server.mts')]
  const server = { type: 'local', command, environment: { OUTLIVE_DIR: store } }
  const configuration = { ...opencode.configuration(modelUrl), mcp: { outlive: server } }
  writeFileSync(join(project, 'opencode.json'), JSON.stringify(configuration))
  return {
    example: join(project, 'server.mts'),
    start: opencode.starter({ project, home, store }),
    store,
  }
}

module.exports = { name: 'MCP in OpenCode', version: opencode.version, prepare, scenario }
