'use strict'
// `show`: one task, everything about it.

const { find } = require('./find.js')
const { bytes, duration, harmless, moment, onOneLine, paint, paintStatus, say, sayJson } = require('./terminal.js')

function run(tasks, { sessions, json }, typed) {
  const { taskId } = find(tasks, sessions, typed)
  // Removed since, it is not found a second time.
  const task = tasks.status(taskId) ?? find(tasks, sessions, typed)
  if (json) return sayJson(task)
  const facts = [...factsOf(task), ['told', toldOf(tasks, task)]].filter(
    ([, value]) => value !== null && value !== undefined,
  )
  const width = Math.max(...facts.map(([name]) => name.length))
  const lines = facts.map(([name, value]) => `${paint('bold', name.padEnd(width))}  ${value}`)
  if (task.outputPreview !== '') {
    lines.push(`\n${paint('bold', task.outputTruncated ? 'output (the end of it)' : 'output')}`)
    lines.push(harmless(task.outputPreview).replace(/\n$/, ''))
  }
  return say(lines.join('\n'))
}

function factsOf(task) {
  const { cause, error, signal, exitCode } = task
  const outcome = [cause, exitCode !== null && `exit code ${exitCode}`, signal, error].filter(Boolean).map(onOneLine)
  const resources = [
    task.cpuMs !== null && `${duration(task.cpuMs)} of processor time`,
    task.maxRssBytes !== null && `${bytes(task.maxRssBytes)} of memory`,
  ]
  return [
    ['task', task.taskId],
    ['session', onOneLine(task.sessionId)],
    ['status', paintStatus(task.status) + (outcome.length > 0 ? ` (${outcome.join(', ')})` : '')],
    ['command', harmless(task.command)],
    ['description', task.description && onOneLine(task.description)],
    ['metadata', task.metadata === null ? null : onOneLine(JSON.stringify(task.metadata))],
    ['directory', onOneLine(task.cwd)],
    ['started', moment(task.startedAt)],
    ['finished', task.finishedAt && moment(task.finishedAt)],
    ['took', duration(task.durationMs)],
    ['deadline', task.timeoutMs === null ? 'none' : `after ${duration(task.timeoutMs)}`],
    ['pid', task.pid],
    ['descendants', task.descendants === 0 ? null : String(task.descendants)],
    ['used', resources.filter(Boolean).join(', ') || null],
    ['stdout', `${bytes(task.stdoutBytes)}  ${task.stdoutPath}`],
    ['stderr', task.stderrPath && `${bytes(task.stderrBytes)}  ${task.stderrPath}`],
    ['dropped', task.droppedBytes === 0 ? null : `${bytes(task.droppedBytes)} by the output limit`],
  ]
}

/** Of a task with `notify: false` there is nothing to tell, now or later. */
function toldOf(tasks, { taskId, sessionId, completionDelivered }) {
  if (completionDelivered) return 'yes'
  const isPending = tasks.pending({ sessionId }).some((completion) => completion.taskId === taskId)
  return isPending ? 'not yet' : null
}

module.exports = { run }
