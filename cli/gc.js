'use strict'
// `gc`: finished tasks go, with their files. Never one that runs or has live processes.

const { say, sayJson } = require('./terminal.js')

async function run(tasks, { olderThanMs, undeliveredOlderThanMs, json }) {
  const removed = await tasks.cleanup({ olderThanMs, undeliveredOlderThanMs })
  if (json) return sayJson({ removed })
  return say(`removed ${removed} ${removed === 1 ? 'task' : 'tasks'}`)
}

module.exports = { run }
