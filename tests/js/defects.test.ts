/** A defect of our own in one call, made here by an order that the face never sends: the addon's thread panics over it. */
import { join } from 'node:path'
import { gate, obedient, readyFifo } from './support/guests'
import { host } from './support/host'
import { temporaryStore } from './support/store'

const store = temporaryStore()

test('a panic of the addon rejects the one call that it is in, and every other goes on', async () => {
  // N5 D22
  const node = await host(store, { registry: { maxRunning: 2 } })
  const [ready, started] = [readyFifo(store), gate(store)]
  const running = await node.call(({ tasks }, command) => tasks.spawn(command), obedient(ready, started, 'exit 4'))
  await ready.line()
  const waited = node.call(({ tasks }, id) => tasks.wait(id), running)
  const rejected = await node.call(
    async ({ tasks }, path) => {
      const { NativeRegistry } = require(path)
      const { spawn } = NativeRegistry.prototype
      NativeRegistry.prototype.spawn = function (request: number) {
        spawn.call(this, request, 'no order', true)
      }
      const error = await tasks.spawn('true').catch((error) => error)
      NativeRegistry.prototype.spawn = spawn
      return { code: error.code, isError: error instanceof Error }
    },
    join(__dirname, '../../native.js'),
  )
  expect(rejected).toEqual({ code: 'INTERNAL', isError: true })
  // Its place under `maxRunning` is free again.
  expect(await node.call(async ({ tasks }) => tasks.wait(await tasks.spawn('exit 3')))).toMatchObject({ exitCode: 3 })
  started.open()
  expect(await waited).toMatchObject({ taskId: running, exitCode: 4 })
  expect(node.printed().stderr).toContain('the face sends what we read')
})
