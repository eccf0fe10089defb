'use strict'
const { mkdtempSync, rmSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { TaskRegistry } = require('outlive')
const { backgroundTool } = require('./plugin.js')

// A store of its own: tests and the plugin that you use every day must not hear of each other.
const storageDir = mkdtempSync(join(tmpdir(), 'plugin-test-'))
const tools = []

function tool(sessionId) {
  const heard = []
  const waiting = []
  const prompt = (text) => (waiting.shift() ?? ((late) => heard.push(late)))(text)
  const made = backgroundTool({ sessionId, prompt, storageDir })
  tools.push(made)
  /** The next text that the agent gets. No sleeping, no polling. */
  const next = async () => heard.shift() ?? new Promise((resolve) => waiting.push(resolve))
  return { ...made, next }
}

afterAll(async () => {
  for (const made of tools) made.close()
  // What a failed test has left running goes too, and then its files.
  const tasks = new TaskRegistry({ storageDir })
  for (const sessionId of tasks.sessions()) await tasks.replay(sessionId)
  await tasks.shutdown()
  rmSync(storageDir, { recursive: true })
})

test('the agent hears how its command ended', async () => {
  const { run, next } = tool('chat-1')
  const taskId = await run('echo "2 tests failed"; exit 1')
  expect(await next()).toBe(`${taskId}: failed, exit code 1\n2 tests failed\n`)
})

test('a plugin that is started again hears what ended in between', async () => {
  const before = tool('chat-2')
  const taskId = await before.run('echo done')
  before.close() // as if the host had died
  const { next } = tool('chat-2')
  expect(await next()).toBe(`${taskId}: completed, exit code 0\ndone\n`)
})

test('a command that cannot start is an error with a code', async () => {
  const { run } = tool('chat-3')
  await expect(run('')).rejects.toMatchObject({ name: 'TypeError', code: 'INVALID_ARGUMENT' })
})
