'use strict'
// A host process of the suite. It plays one scene and says what it saw, one line of JSON each.

const outlive = require('outlive')

const [scene, text] = process.argv.slice(2)
const order = JSON.parse(text)
const { storageDir, sessionId, command } = order
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)
const stay = () => setInterval(() => {}, 1_000_000)

const scenes = {
  /** Starts a task and stays until it is killed. */
  async start(tasks) {
    stay()
    say({ taskId: await tasks.spawn(command, { sessionId }) })
  },

  async drain(tasks) {
    say({ drained: tasks.drain({ sessionId }) })
  },

  /** Takes a completion and never says that it is done with it. */
  async hold(tasks) {
    stay()
    tasks.onCompletion(
      ({ taskId, attempt }) => {
        say({ taskId, attempt })
        return new Promise(() => {})
      },
      { sessionId },
    )
  },

  /** Has everything open that could keep a process alive, and does not close it. */
  async idle(tasks) {
    tasks.onCompletion(() => {}, { sessionId })
    tasks
      .onCompletion(() => {}, { sessionId: 'other' })
      .ref()
      .unref()
    say({ taskId: await tasks.spawn('sleep 1000', { sessionId }) })
  },

  /** Asks for the end of its task as the last thing that it does. */
  async leave(tasks) {
    const id = await tasks.spawn('sleep 1000', { sessionId })
    const end = () => void (order.verb === 'kill' ? tasks.kill(id) : tasks.shutdown()).catch(() => {})
    if (order.way === 'before process.exit') end()
    else process.on('exit', end)
    if (order.way === 'after an uncaught error') throw new Error('thrown on purpose')
    if (order.way !== 'at the natural end') process.exit(3)
  },

  /** Lives on promises and a subscription alone. */
  async await(tasks) {
    const id = await tasks.spawn(command, { sessionId })
    say({ taskId: id })
    const { exitCode } = await tasks.wait(id)
    const told = await new Promise((resolve) => {
      const subscription = tasks.onCompletion(
        ({ taskId }) => {
          subscription.unref()
          resolve(taskId === id)
        },
        { sessionId },
      )
      subscription.ref()
    })
    say({ exitCode, told })
  },

  /** OUTLIVE_DIR is the store. */
  async default() {
    const id = await outlive.spawn('echo hi')
    const { status } = await outlive.wait(id)
    const told = outlive.drain().length
    const { text } = outlive.output(id)
    outlive.detach()
    const closed = await outlive.spawn('true').catch(({ code }) => code)
    say({ status, text, told, closed })
  },
}

const registry = scene === 'default' ? undefined : new outlive.TaskRegistry({ storageDir })
scenes[scene](registry)
