// The smallest host: start a command, be told how it ended. Run it, kill it in the middle with `kill -9`, and run it again.
import { TaskRegistry } from 'outlive'

const tasks = new TaskRegistry()
const sessionId = 'minimal' // other programs use the same store
let id
const subscription = tasks.onCompletion(
  (done) => {
    console.log(
      `${done.taskId} ${done.status}, exit code ${done.exitCode}, after ${done.durationMs} ms:\n${done.outputPreview}`,
    )
    if (done.taskId === id) subscription.unref() // what a host before this one left behind may be told first
  },
  { sessionId },
)
subscription.ref()

id = await tasks.spawn('for i in 1 2 3; do echo line $i; sleep 1; done', { sessionId })
console.log(`${id} runs; its output goes to ${tasks.status(id).stdoutPath}`)
