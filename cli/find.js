'use strict'
// Which task somebody means: an id, or the beginning of one, with or without its `bash-`.

/** The task's id. An error with exit code 3 when no task, or more than one, begins like that. */
function find(tasks, typed) {
  if (tasks.status(typed, { previewBytes: 0 }) !== null) return typed
  const start = typed.startsWith('bash-') ? typed : `bash-${typed}`
  const ids = tasks.list({ previewBytes: 0 }).map(({ taskId }) => taskId)
  const found = ids.filter((taskId) => taskId.startsWith(start))
  if (found.length === 1) return found[0]
  const reason =
    found.length === 0
      ? `no task has the id "${typed}"; tasks of other sessions need --session or --all`
      : `"${typed}" is the beginning of ${found.length} ids: ${found.slice(0, 5).join(', ')}`
  throw Object.assign(new Error(reason), { exit: 'noSuchTask' })
}

module.exports = { find }
