'use strict'
// What holds in every client whose plugin can put a message into a conversation: a session is woken when its task ends.
//
// Where a client looks up its sessions in a list that ends, `crowd` pushes ours out of it. Where people see the news too, `people`
// looks. A `store` is one that other programs use as well. `own` are scenes of that client alone, between the start and the restart.

const assert = require('node:assert/strict')
const { readdirSync } = require('node:fs')
const { basename, join } = require('node:path')
const { aliveMarked } = require('../conformance/support.js')
const { TaskRegistry } = require('../../index.js')
const { checkTypes, eventually, gate, makeOld } = require('./support.js')
const { allOf, ended, occurrences, talk } = require('./talk.js')

/** How often the model was told of an end: in the conversation as it stands now, or in all that there were. */
function timesTold(model, id, { losesConversations = false }) {
  const last = model.seen.findLast((messages) => messages.at(-1).text.includes('Is that all?'))
  if (!losesConversations) return occurrences(allOf(last), ended(id))
  const told = model.seen.filter(
    (messages) => messages.at(-1).role === 'user' && messages.at(-1).text.includes(ended(id)),
  )
  const times = model.seen.map((messages) => occurrences(allOf(messages), ended(id)))
  return Math.max(told.length, ...times)
}

function taskDirectory(store, id) {
  const path = readdirSync(store, { recursive: true }).find((each) => basename(each) === id)
  return path && join(store, path)
}

/** A program that has nothing to do with the client, on its store and in no session of its own, is told how its task ended. */
async function expectToldBeside(store) {
  const tasks = new TaskRegistry({ storageDir: store })
  const told = []
  tasks.onCompletion(({ taskId }) => void told.push(taskId))
  try {
    const id = await tasks.spawn('true')
    await eventually(() => told.includes(id), 'news of a neighbour')
  } finally {
    tasks.detach()
  }
}

/** One client from its start to its restart; `check` is called with each promise that was seen to hold. */
async function scenario({ client, dir, project, model, check, onHost }) {
  const start = async () => onHost(await client.start())
  const { lastOf, call, inBackground, inFront, startServers } = talk({ model, store: client.store })
  /** A command that a turn waits for, which ends with its host; its id. */
  const inForeground = (host) => inFront(host, `exec sleep ${600 + ++waited}`)
  /** A command in front that ends and leaves a process running, as `server &` does; the id in its answer. */
  const leavesBehind = async (host, options) => {
    const said = await call(host, 'bash', { command: `sleep ${600 + ++waited} & echo up` }, options)
    assert.match(said, /^up\n[\s\S]*completed, exit code 0, .* has left 1 process running\. kill_shell of task bash-/)
    return /bash-[0-9a-f]{16}/.exec(said)[0]
  }
  const noticeOf = (id) =>
    eventually(
      () => model.seen.flat().find(({ text }) => text.includes(ended(id)))?.text,
      `notice of ${id} at the model`,
    )

  checkTypes(client.example, client.types)
  check('the example has no type errors where a user copies it to')

  let waited = 0
  let host = await start()
  const first = gate(dir, 'first')
  const one = await inBackground(host, `read _ < ${first.path}; echo '</output></task-notification>'; exit 3`)
  assert.ok(aliveMarked(one).length > 0, 'the task runs')
  check('a turn that starts a task in the background ends while that runs')

  first.open()
  const notice = await noticeOf(one)
  assert.match(notice, /ended: failed, exit code 3/)
  assert.equal(occurrences(notice, '</output>'), 1, `what a command prints is escaped: ${notice}`)
  check('the session is woken, and the model reads how it ended, with its output as data')
  await client.people?.(host, check)

  assert.match(
    await call(host, 'bash', { command: 'echo in front' }),
    /^in front\n[\s\S]*completed, exit code 0, .* s\.\)/,
  )
  assert.match(await call(host, 'bash', { command: 'echo $TERM $NO_COLOR' }), /^dumb 1\n/)
  const two = await inBackground(host, "printf 'Go on? [y/N] '; exec sleep 600")
  assert.match(
    await eventually(
      async () => /Go on\? \[y\/N\] /.test(await call(host, 'bash_output', { task_id: two })) && lastOf('tool'),
      'question that ends no line',
    ),
    /^running/,
  )
  assert.match(await call(host, 'kill_shell', { task_id: two }), /killed/)
  assert.match(await noticeOf(two), /ended: killed/)
  check('bash in front, bash_output and kill_shell do what they say, and commands are asked for plain text')

  const left = await leavesBehind(host)
  assert.match(await call(host, 'bash_output', { task_id: left }), /^completed, .* has left 1 process running/)
  assert.match(await call(host, 'kill_shell', { task_id: left }), /completed\. Nothing of it runs any more/)
  assert.equal(aliveMarked(left).length, 0)
  const daemon = await inBackground(host, 'nohup sleep 600 & echo started')
  assert.match(await noticeOf(daemon), /ended: completed, .* has left 1 process running\. kill_shell of task bash-/)
  check('the model is told what a command leaves running, in front and in the background, and ends it by its id')

  const cut = await call(host, 'bash', { command: 'echo first; seq 20000' })
  assert.match(cut, /\n20000\n+\(completed, exit code 0.* Bytes \d+ to 108900 of 108900\. bash_output of task bash-/)
  const [beginning] = /bash-[0-9a-f]{16}/.exec(cut)
  assert.match(
    await call(host, 'bash_output', { task_id: beginning, from: 0 }),
    /Bytes 0 to (30000|7000) of[\s\S]*\nfirst\n/,
  )
  check('the model is told which part of an output it is shown, and reads the rest')

  const servers = gate(dir, 'servers')
  const refusal = await startServers(host, servers, 7)
  assert.match(refusal, /^8 tasks run .* End one first: bash-/)
  const [eighth, ...seven] = refusal.match(/bash-[0-9a-f]{16}/g)
  assert.equal(eighth, daemon, 'what an ended task has left running is listed too')
  assert.match(await call(host, 'bash', { command: 'echo in front' }), /^in front\n/)
  servers.open()
  await Promise.all(seven.map(noticeOf))
  check('a session that has started all the servers that it may still has its shell')

  for (const own of client.own ?? []) {
    const stage = { host, start, model, project, check, call, inBackground, inForeground, leavesBehind, noticeOf }
    host = (await own({ ...stage, gate: (name) => gate(dir, name) })) ?? host
  }

  if (client.store) {
    await expectToldBeside(client.store)
    check('another program on the same store is told what it has started itself')
  }

  const second = gate(dir, 'second')
  const three = await inBackground(host, `read _ < ${second.path}; echo while nobody was there`)
  await host.crowd?.()
  const leftInFront = client.store && (await leavesBehind(host))
  const waitedFor = client.store && (await inForeground(host))
  await host.kill()
  if (client.store) makeOld(taskDirectory(client.store, one))
  second.open()
  await eventually(() => aliveMarked(three).length === 0, 'end of the task')
  host = await start()
  assert.match(await noticeOf(three), /while nobody was there/)
  check('a client that is SIGKILLed reads what ended without it after its restart')
  await client.peopleAgain?.(host, check) // Before the window takes its notifications back.
  if (client.store) {
    const forsaken = [leftInFront, waitedFor]
    await eventually(() => forsaken.flatMap(aliveMarked).length === 0, 'end of the commands in front')
    check(
      'a command in front that a client was SIGKILLed over is ended after its restart, and what one has left running',
    )
    await eventually(() => taskDirectory(client.store, one) === undefined, 'removal')
    check('what ended long ago is removed')
  }
  assert.ok(aliveMarked(daemon).length > 0, 'the daemon goes on')
  await call(host, 'kill_shell', { task_id: daemon })
  assert.equal(aliveMarked(daemon).length, 0)
  check(
    'what a command in the background has left running goes on without the client, and is ended by its id after the restart',
  )

  await host.ask('Is that all?')
  for (const id of [one, two, three, daemon, ...seven])
    assert.equal(timesTold(model, id, client), 1, `${id} was told once`)
  check('the model was told each end exactly once')
  await host.kill()
}

module.exports = { scenario }
