'use strict'
// Which task somebody means: an id, or the beginning of one, with or without its `bash-`.

/** How many ids an error shows. */
const SHOWN = 5

/**
 * The snapshot of a task of these sessions, without its output. An error with exit code 3 when no task, or more than one,
 * begins like that.
 */
function find(tasks, sessions, typed) {
  const start = typed.startsWith('bash-') ? typed : `bash-${typed}`
  const begins = ({ taskId, sessionId }) => taskId.startsWith(start) && sessions.includes(sessionId)
  const found = tasks.list({ previewBytes: 0 }).filter(begins)
  // Who has not named a digit, as with a variable that is empty, has named no task, also where there is only one.
  const isNamed = start !== 'bash-'
  if (isNamed && found.length === 1) return found[0]
  throw Object.assign(new Error(reason(typed, isNamed ? found : [])), { exit: 'noSuchTask' })
}

function reason(typed, found) {
  if (found.length === 0) return `no task has the id "${typed}"`
  const ids = found.slice(0, SHOWN).map(({ taskId }) => taskId)
  return `"${typed}" is the beginning of ${found.length} ids: ${ids.join(', ')}`
}

module.exports = { find }
