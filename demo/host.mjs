// A small agent plugin, as a process of its own: it does what it is told on stdin, and says what it hears on stdout, one
// JSON line each. The second one knows nothing of the first but the store and the session.
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { TaskRegistry } from 'outlive'
import { SESSION, WORK } from './work.mjs'

const [storageDir, cwd] = process.argv.slice(2)
const tasks = new TaskRegistry({ storageDir })
const say = (kind, value) => process.stdout.write(`${JSON.stringify({ kind, value })}\n`)
process.stdout.on('error', () => {}) // The demo is gone; the end of stdin says so too, and that is where it is handled.

tasks.onCompletion((completion) => void say('told', completion), { sessionId: SESSION }).ref()

async function killTheRest() {
  const left = tasks.list({ sessionId: SESSION }).filter((task) => task.finishedAt === null || task.descendants > 0)
  await Promise.all(left.map((task) => tasks.kill(task.taskId, { sessionId: SESSION, graceMs: 500 })))
}

const orders = {
  async start() {
    for (const { name, command, options } of WORK) {
      const id = await tasks.spawn(command, { sessionId: SESSION, cwd, description: name, ...options })
      say('started', { id, name })
    }
  },
  kill: killTheRest,
  cleanup: () => tasks.cleanup({ olderThanMs: 0 }),
}

for await (const order of createInterface({ input: process.stdin })) {
  try {
    say(order, (await orders[order]()) ?? null)
  } catch (error) {
    say('error', `${order}: ${error.stack}`)
  }
}
// The demo lets go of stdin only when it is over. If it died, nobody else is left to end its tasks.
await killTheRest()
tasks.detach()
rmSync(storageDir, { recursive: true, force: true, maxRetries: 5 })
