'use strict'
// The command line: `outlive ls | show | logs | kill | gc` over a store, on the public API,
// and on the face's own checks of what is typed.
//
// It looks on from outside: it never subscribes and never drains, so a plugin's completions stay the plugin's. Results go
// to stdout, everything said about them to stderr. One table below says what each exit code means.

const { statSync } = require('node:fs')
const { defaultStorageDir } = require('../storage.js')
const { parse, usage } = require('./arguments.js')
const { complain, say } = require('./terminal.js')

const verbs = {
  ls: () => require('./ls.js'),
  show: () => require('./show.js'),
  logs: () => require('./logs.js'),
  kill: () => require('./kill.js'),
  gc: () => require('./gc.js'),
}

/** What the exit codes mean; `--help` and docs/cli.md say the same. */
const EXIT = { done: 0, failed: 1, misuse: 2, noSuchTask: 3, notCompleted: 4 }

/** Runs one command line and resolves with its exit code. */
async function main(argv) {
  // Who writes a result hears himself of its failure, and a remark that nobody reads must not keep a verb from its work.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  try {
    const order = parse(argv)
    return EXIT[(await act(order)) ?? 'done']
  } catch (error) {
    // `outlive logs … | head` closes the pipe early: that is an end like any other.
    if (error.code === 'EPIPE') return EXIT.done
    // Where the package does not load, its error names it itself.
    complain(error.message.replace(/^outlive: /, ''))
    return EXIT[error.exit ?? exitOf(error.code)]
  }
}

/** The registry checks values too, such as the name of a signal. */
function exitOf(code) {
  if (code === 'INVALID_ARGUMENT') return 'misuse'
  return code === 'TASK_NOT_FOUND' ? 'noSuchTask' : 'failed'
}

/** A store that nothing was started in yet. */
const NOTHING = {
  sessions: () => [],
  replay: async () => ({ unreadable: [] }),
  list: () => [],
  cleanup: async () => 0,
  detach: () => {},
}

/** Not what may not be looked at: the registry says of that what keeps us from it. */
function isMissing(path) {
  try {
    statSync(path)
    return false
  } catch ({ code }) {
    return code === 'ENOENT' || code === 'ENOTDIR'
  }
}

/** A registry would make the directory, and a mistyped path would be an empty store for ever. */
function open(store) {
  if (!isMissing(store ?? defaultStorageDir())) {
    const { TaskRegistry } = require('../index.js')
    return new TaskRegistry({ storageDir: store })
  }
  if (store !== undefined) throw new Error(`there is no store at ${store}`)
  return NOTHING
}

/** Does what was asked; where that is not `done`, the name of an exit code comes back. */
function act(order) {
  if (order.verb === 'help') return say(usage(order.about))
  if (order.verb === 'version') return say(require('../package.json').version)
  return run(order)
}

/** Opens the store, attaches the sessions and runs the verb. */
async function run({ verb, id, options }) {
  const tasks = open(options.store)
  try {
    const sessions = []
    for (const session of options.sessions ?? tasks.sessions()) {
      try {
        warn(await tasks.replay(session))
        sessions.push(session)
      } catch (error) {
        // One that cannot be used keeps nobody from the others, unless it was named.
        if (options.sessions !== undefined) throw error
        complain(error.message)
      }
    }
    return await verbs[verb]().run(tasks, { ...options, sessions }, id)
  } finally {
    tasks.detach()
  }
}

function warn({ unreadable }) {
  const why =
    'written by a newer version, damaged, open to others, or the task of another machine or store; left as it is'
  for (const path of unreadable) complain(`left out ${path}: ${why}`)
}

module.exports = { main }
