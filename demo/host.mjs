// A small agent plugin, as a process of its own: starts work when it is told to, and says what it hears, one JSON line each.
// The second one knows nothing of the first but the store and the session.
import { createInterface } from 'node:readline'
import { TaskRegistry } from 'outlive'
import { WORK } from './work.mjs'

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const [storageDir, cwd] = process.argv.slice(2)
const tasks = new TaskRegistry({ storageDir })

tasks.onCompletion((completion) => say({ told: completion }), { sessionId: 'demo' }).ref()

const orders = {
  async start() {
    for (const { name, command, options } of WORK) {
      const id = await tasks.spawn(command, { sessionId: 'demo', cwd, description: name, ...options })
      say({ started: { id, name } })
    }
  },
  async status() {
    say({ status: tasks.list({ sessionId: 'demo', previewBytes: 400 }) })
  },
  async finish() {
    const left = tasks.list({ sessionId: 'demo' }).filter((task) => task.status === 'running' || task.descendants > 0)
    await Promise.all(left.map((task) => tasks.kill(task.taskId, { graceMs: 500 })))
    // The last of the news is in the queue when a kill resolves, and is told in the next turns of the event loop.
    while (tasks.list({ sessionId: 'demo' }).some((task) => !task.completionDelivered)) await new Promise(setImmediate)
    const ended = tasks.list({ sessionId: 'demo', previewBytes: 0 })
    say({ finished: { ended, removed: await tasks.cleanup({ olderThanMs: 0 }) } })
    tasks.detach()
    process.exit(0)
  },
}

say({ ready: process.pid })
for await (const order of createInterface({ input: process.stdin })) await orders[order]()
