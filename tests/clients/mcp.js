'use strict'
// examples/mcp-server behind a real client, which starts it as it starts every server that speaks MCP: OpenCode, without the plugin.

const assert = require('node:assert/strict')
const { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } = require('node:fs')
const { basename, join } = require('node:path')
const { ROOT } = require('../packed.js')
const { aliveMarked } = require('../conformance/support.js')
const opencode = require('./opencode.js')
const { checkTypes, eventually, gate, install, pause, running } = require('./support.js')

const SDK = '2.4.0'

const ended = (id) => `Background task ${id} ended`

/** The id of the process that runs a program in a project. */
function processOf(project, program) {
  const isIt = (pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(join(project, program))
    } catch {
      return false // It has ended meanwhile.
    }
  }
  return readdirSync('/proc').find((pid) => /^\d+$/.test(pid) && isIt(pid))
}

/** A command that a call waits for: its id, once it runs. */
function inFront(host, store, command) {
  host.begin(`CALL outlive_bash ${JSON.stringify({ command })}`)
  return eventually(() => running(store).find((task) => task.command === command)?.taskId, 'command in front')
}

async function scenario({ client, dir, project, model, check, onHost }) {
  const start = async () => onHost(await client.start())
  const call = async (host, tool, args) => {
    await host.ask(`CALL outlive_${tool} ${JSON.stringify(args)}`)
    return model.seen.flat().findLast(({ role }) => role === 'tool').text
  }
  const inBackground = async (host, command) => {
    const said = await call(host, 'bash', { command, run_in_background: true })
    return /bash-[0-9a-f]{16}/.exec(said)?.[0] ?? assert.fail(`no task id in: ${said}`)
  }
  const conversation = () =>
    model.seen
      .at(-1)
      .map(({ text }) => text)
      .join('\n')
  const timesTold = (id) => conversation().split(ended(id)).length - 1

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
  assert.equal(news.split('</output>').length - 1, 1, `what a command prints is escaped: ${news}`)
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
  // Each another one: OpenCode takes the same call again for a loop.
  const startServer = (name) => ({ command: `read _ < ${servers.path}; echo ${name}`, run_in_background: true })
  const calls = Array.from({ length: 16 }, (_, name) => `CALL outlive_bash ${JSON.stringify(startServer(name))}`)
  await host.ask(calls.join('\n'))
  const refusal = await call(host, 'bash', startServer('one more'))
  assert.match(refusal, /^16 tasks run .* End one first: bash-/)
  assert.match(await call(host, 'bash', { command: 'echo in front' }), /^in front\n/)
  servers.open()
  const sixteen = refusal.match(/bash-[0-9a-f]{16}/g)
  await eventually(async () => {
    await call(host, 'bash', { command: 'echo next' })
    return sixteen.every((id) => timesTold(id) > 0)
  }, 'news of all of them')
  check('who has started all the servers that may be still has the shell')

  const given = await inFront(host, client.store, 'exec sleep 601')
  await host.abort()
  await eventually(() => aliveMarked(given).length === 0, 'end of the command in front')
  check('a command in front ends when the client gives its call up')

  const third = gate(dir, 'third')
  const three = await inBackground(host, `read _ < ${third.path}; echo while nobody was there`)
  const left = await inFront(host, client.store, 'exec sleep 602')
  const server = Number(processOf(project, 'server.mts'))
  await host.kill()
  await eventually(() => aliveMarked(left).length === 0, 'end of the command in front')
  await eventually(() => processOf(project, 'server.mts') === undefined, `end of the server, process ${server}`)
  check('when the client is SIGKILLed its server ends, and the command in front with it')

  third.open()
  await eventually(() => aliveMarked(three).length === 0, 'end of the task')
  host = await start()
  assert.match(await call(host, 'bash_wait', {}), /while nobody was there/)
  check('what ended without a client is told to the project’s next one')

  const fourth = gate(dir, 'fourth')
  const four = await inBackground(host, `read _ < ${fourth.path}; echo without a server`)
  process.kill(Number(processOf(project, 'server.mts')), 'SIGKILL')
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
  // Node that runs TypeScript is newer than the one that tests run under.
  const packages = [`@modelcontextprotocol/server@${SDK}`, 'zod@4.6.7', `node-linux-${process.arch}@22.23.3`]
  const modules = install('mcp', packages)
  copyFileSync(join(ROOT, 'examples/mcp-server/server.mts'), join(project, 'server.mts'))
  mkdirSync(join(project, 'node_modules'))
  for (const path of [
    ROOT,
    join(ROOT, 'node_modules/@types'),
    join(modules, '@modelcontextprotocol'),
    join(modules, 'zod'),
  ])
    symlinkSync(path, join(project, 'node_modules', path === ROOT ? 'outlive' : basename(path)))
  const node = join(modules, `node-linux-${process.arch}/bin/node`)
  const server = { type: 'local', command: [node, join(project, 'server.mts')], environment: { OUTLIVE_DIR: store } }
  const configuration = { ...opencode.configuration(modelUrl), mcp: { outlive: server } }
  writeFileSync(join(project, 'opencode.json'), JSON.stringify(configuration))
  return {
    example: join(project, 'server.mts'),
    start: opencode.starter({ project, home, store }),
    store,
  }
}

module.exports = { name: 'MCP in OpenCode', version: opencode.version, prepare, scenario }
