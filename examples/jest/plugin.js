'use strict'
// A plugin in small: its agent starts commands in the background, and is told how each one ended.

const { TaskRegistry } = require('outlive')

/** `prompt` puts a text into the agent's session. `storageDir` is for tests; without it tasks live where they always do. */
function backgroundTool({ sessionId, prompt, storageDir }) {
  const tasks = new TaskRegistry({ storageDir })
  const subscription = tasks.onCompletion(
    ({ taskId, status, exitCode, outputPreview }) =>
      prompt(`${taskId}: ${status}, exit code ${exitCode}\n${outputPreview}`),
    { sessionId },
  )
  return {
    run: (command) => tasks.spawn(command, { sessionId, timeoutMs: 600_000 }),
    close() {
      subscription.close()
      tasks.detach()
    },
  }
}

module.exports = { backgroundTool }
