'use strict'
// `kill`: ends a task and everything that it started.

const { find } = require('./find.js')
const { paintStatus, say, sayJson } = require('./terminal.js')

async function run(tasks, { sessions, signal, graceMs, json }, typed) {
  const task = await tasks.kill(find(tasks, sessions, typed), { signal, graceMs })
  if (json) return sayJson(task)
  const outcome = task.signal ?? (task.exitCode === null ? '' : `exit code ${task.exitCode}`)
  say(`${task.taskId} ${paintStatus(task.status)}${outcome && ` (${outcome})`}`)
}

module.exports = { run }
