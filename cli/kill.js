'use strict'
// `kill`: ends a task and everything that it started.

const { find } = require('./find.js')
const { complain, paintStatus, say, sayJson } = require('./terminal.js')

async function run(tasks, { sessions, signal, graceMs, json }, typed) {
  const before = find(tasks, sessions, typed)
  const task = await tasks.kill(before.taskId, { signal, graceMs })
  if (before.finishedAt !== null) complain(`the task had ended before${leftBehind(before)}`)
  if (json) return sayJson(task)
  const outcome = task.signal ?? (task.exitCode === null ? '' : `exit code ${task.exitCode}`)
  return say(`${task.taskId} ${paintStatus(task.status)}${outcome && ` (${outcome})`}`)
}

function leftBehind({ descendants }) {
  if (descendants === 0) return ''
  return `; ${descendants} ${descendants === 1 ? 'process that it left behind was' : 'processes that it left behind were'} ended`
}

module.exports = { run }
