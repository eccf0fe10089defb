import { readFileSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { addonWithFailpoints } from './support/failpoints'
import { gate, readyFifo, treeOf } from './support/guests'
import { host } from './support/host'
import { temporaryStore } from './support/store'

const store = temporaryStore()

let another: string

beforeAll(async () => {
  another = await addonWithFailpoints()
}, 300_000)

/** The name of the executable that supervises a task. */
function supervisorOf(id: string): string {
  const { supervisorPid } = JSON.parse(readFileSync(join(store.taskDir(id)!, 'started.json'), 'utf8'))
  return basename(readlinkSync(`/proc/${supervisorPid}/exe`))
}

test('an addon of another build manages the tasks that the one before it has started', async () => {
  // R19
  const sessionId = 'upgraded'
  const [ready, wait] = [readyFifo(store), gate(store)]
  const before = await host(store, { env: { OUTLIVE_NATIVE: another } })
  const ids = await before.call(
    ({ tasks }, commands, sessionId) =>
      Promise.all(commands.map((command) => tasks.spawn(command, { sessionId, timeoutMs: 3_600_000 }))),
    [
      `echo > ${ready.path}; read _ < ${wait.path}; exit 3`,
      `trap '' TERM; setsid sleep 600 & echo > ${ready.path}; while :; do sleep 600 & wait; done`,
      `echo > ${ready.path}; kill -KILL $PPID; exec sleep 600`,
    ],
    sessionId,
  )
  for (const _ of ids) await ready.line()
  await before.kill()

  const tasks = store.registry()
  const told: unknown[] = []
  tasks.onCompletion(({ taskId, status, exitCode, attempt }) => void told.push([taskId, status, exitCode, attempt]), {
    sessionId,
  })
  const [ending, killed, lost] = ids as [string, string, string]
  const own = await tasks.spawn(`echo > ${ready.path}; read _ < ${wait.path}`, { sessionId })
  await ready.line()
  expect(supervisorOf(ending)).not.toBe(supervisorOf(own))
  expect(tasks.status(ending)).toMatchObject({ status: 'running', timeoutMs: 3_600_000 })
  expect(await tasks.wait(lost)).toMatchObject({ status: 'lost', cause: 'supervisor_lost' })
  expect(await tasks.kill(killed, { graceMs: 10 })).toMatchObject({ status: 'killed' })
  wait.open(2)
  expect(await tasks.wait(ending)).toMatchObject({ status: 'failed', exitCode: 3 })
  await tasks.wait(own)
  while (told.length < 4) await new Promise(setImmediate)
  expect(told).toEqual(
    expect.arrayContaining([
      [ending, 'failed', 3, 1],
      [killed, 'killed', null, 1],
      [lost, 'lost', null, 1],
      [own, 'completed', 0, 1],
    ]),
  )
  expect(ids.flatMap(treeOf)).toEqual([])
})
