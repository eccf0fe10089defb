'use strict'
// Which task somebody means: an id, or the beginning of one, with or without its `bash-`.

/**
 * The snapshot of a task of these sessions, without its output. An error with exit code 3 when no task, or more than one,
 * begins like that.
 */
function find(tasks, sessions, typed) {
  const start = typed.startsWith('bash-') ? typed : `bash-${typed}`
  const begins = ({ taskId, sessionId }) => taskId.startsWith(start) && sessions.includes(sessionId)
  const found = tasks.list({ previewBytes: 0 }).filter(begins)
  if (found.length === 1) return found[0]
  const reason =
    found.length === 0
      ? `no task has the id "${typed}"`
      : `"${typed}" is the beginning of ${found.length} ids: ${found
          .slice(0, 5)
          .map(({ taskId }) => taskId)
          .join(', ')}`
  throw Object.assign(new Error(reason), { exit: 'noSuchTask' })
}

module.exports = { find }
