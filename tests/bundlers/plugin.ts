// A plugin as small as they get: starts a task, takes the news of its end, and says what came. What a bundle must do.
import { type Completion, TaskRegistry } from 'outlive'

const tasks = new TaskRegistry({ storageDir: process.argv[2] })

async function round(): Promise<void> {
  const news = new Promise<Completion>((resolve) => {
    const subscription = tasks.onCompletion((completion) => {
      subscription.unref()
      resolve(completion)
    })
    subscription.ref()
  })
  const id = await tasks.spawn('echo from the bundle; exit 3')
  const { taskId, status, exitCode, outputPreview } = await news
  console.log(JSON.stringify({ isOurs: taskId === id, status, exitCode, outputPreview }))
}

round()
