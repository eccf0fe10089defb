'use strict'
// The face: `TaskRegistry`, and each of its methods as a plain function on the process's default registry, which opens
// on first use and stays closed once it was closed.

const { closedError } = require('./errors.js')
const { TaskRegistry } = require('./registry.js')

let defaultRegistry
let defaultClosed = false

function opened() {
  if (defaultClosed) throw closedError()
  defaultRegistry ??= new TaskRegistry()
  return defaultRegistry
}

const spawn = async (command, options) => await opened().spawn(command, options)
const status = (taskId, options) => opened().status(taskId, options)
const list = (options) => opened().list(options)
const sessions = () => opened().sessions()
const kill = async (taskId, options) => await opened().kill(taskId, options)
const wait = async (taskId, options) => await opened().wait(taskId, options)
const output = (taskId, options) => opened().output(taskId, options)
const onCompletion = (callback, options) => opened().onCompletion(callback, options)
const drain = (options) => opened().drain(options)
const pending = (options) => opened().pending(options)
const ack = (taskIds) => opened().ack(taskIds)
const release = (taskIds) => opened().release(taskIds)
const replay = async (sessionId) => await opened().replay(sessionId)
const cleanup = async (options) => await opened().cleanup(options)
const shutdown = async (options) => await opened().shutdown(options)

/** Closes it for good; one that nobody used is not opened for that. */
function detach() {
  defaultClosed = true
  defaultRegistry?.detach()
}

// A plain list of names: Node finds the named exports for `import` by reading it.
module.exports = {
  TaskRegistry,
  spawn,
  status,
  list,
  sessions,
  kill,
  wait,
  output,
  onCompletion,
  drain,
  pending,
  ack,
  release,
  replay,
  cleanup,
  detach,
  shutdown,
}
