'use strict'
// `ls`: the tasks, oldest first: in the order of `list`, which goes by the clock that nobody sets.

const { bytes, duration, moment, onOneLine, paint, paintStatus, say, sayJson } = require('./terminal.js')
const { table } = require('./table.js')

/** What a narrow terminal does without, the first of them first. */
const SPARE = ['STARTED', 'OUTPUT', 'SESSION', 'TOOK', 'PROCS', 'EXIT']

function run(tasks, { sessions, status, json }) {
  const isAsked = (task) => sessions.includes(task.sessionId) && (status?.includes(task.status) ?? true)
  // One look for all statuses: a task that ends between two would be in both.
  const listed = tasks.list({ previewBytes: json ? undefined : 0 })
  const found = listed.filter(isAsked)
  if (json) return sayJson(found)
  if (found.length === 0) return say(paint('dim', `no tasks${status === undefined ? '' : ' of that status'}`))
  // An agent names its sessions, and most people who look do not know that.
  const withSession = new Set(found.map(({ sessionId }) => sessionId)).size > 1
  const head = [
    'ID',
    'STATUS',
    'EXIT',
    'STARTED',
    'TOOK',
    'OUTPUT',
    'PROCS',
    ...(withSession ? ['SESSION'] : []),
    'COMMAND',
  ]
  return say(
    table(
      head,
      found.map((task) => row(task, withSession)),
      SPARE,
    ),
  )
}

function row(task, withSession) {
  const { status, descendants } = task
  const isAlive = task.finishedAt === null
  const procs = descendants + (isAlive && task.pid !== null ? 1 : 0)
  return [
    task.taskId,
    { text: status, paint: (text) => paintStatus(status, text) },
    // What `timed_out` has of both is its exit code.
    String(task.exitCode ?? task.signal ?? '-'),
    moment(task.startedAt),
    { text: duration(task.durationMs), right: true },
    { text: bytes(task.stdoutBytes + task.stderrBytes), right: true },
    // Processes that outlived their task are what people look for.
    { text: String(procs), right: true, paint: (text) => (!isAlive && procs > 0 ? paint('yellow', text) : text) },
    ...(withSession ? [onOneLine(task.sessionId)] : []),
    onOneLine(task.description ?? '').trim() || onOneLine(task.command),
  ]
}

module.exports = { run }
