// A plugin as its author writes it: starts a task, takes the news of its end, and says what came.
import { type Completion, TaskRegistry } from 'outlive'

const tasks = new TaskRegistry({ storageDir: process.argv[2] })
const news = new Promise<Completion>((resolve) => {
  tasks.onCompletion(resolve).ref()
})
const id = await tasks.spawn('echo from the package; exit 3')
const { taskId, status, exitCode, outputPreview } = await news
console.log(JSON.stringify({ isOurs: taskId === id, status, exitCode, outputPreview }))
tasks.detach()
