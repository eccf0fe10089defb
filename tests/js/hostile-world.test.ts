import { spawnSync } from 'node:child_process'
import { gate, obedient, patient, readyFifo, stop } from './support/guests'
import { type Host, host } from './support/host'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()

const ownPids = ['unshare', '--fork', '--pid', '--kill-child']
const mayUnshare = spawnSync('unshare', [...ownPids.slice(1), 'true']).status === 0
if (!mayUnshare) console.warn('skipped: a pid namespace of its own needs root (or a privileged container)')
const withPids = mayUnshare ? test : test.skip

describe('a task that', () => {
  test('sends its supervisor every signal that can be caught ends as if it had not', async () => {
    const tasks = store.registry()
    const sessionId = 'signals'
    const all = 'for s in $(seq 1 64); do case $s in 9|19|32|33) ;; *) kill -$s $PPID || exit 9;; esac; done'
    const ready = readyFifo(store)
    const id = await tasks.spawn(`${all}; exit 3`, { sessionId })
    expect(await tasks.wait(id, { sessionId })).toMatchObject({ status: 'failed', exitCode: 3 })
    // It still takes orders, too.
    const stays = await tasks.spawn(`${all}; ${patient(ready)}`, { sessionId })
    await ready.line()
    expect(await tasks.kill(stays, { sessionId })).toMatchObject({ status: 'killed', signal: 'SIGTERM' })
  })

  withPids('kills all that it sees in a pid namespace of its own hurts nobody else', async () => {
    const tasks = store.registry()
    const sessionId = 'walled in'
    const ready = readyFifo(store)
    const other = await tasks.spawn(patient(ready), { sessionId })
    await ready.line()
    const inside = 'sleep 600 & setsid sleep 600 & kill -KILL -1; exit 5'
    const killer = await tasks.spawn(`unshare --fork --pid bash -c '${inside}'; exit $?`, { sessionId })
    expect(await tasks.wait(killer, { sessionId })).toMatchObject({ status: 'failed', exitCode: 5, descendants: 0 })
    expect(tasks.status(other, { sessionId })).toMatchObject({ status: 'running' })
    expect(await tasks.kill(other, { sessionId })).toMatchObject({ status: 'killed', signal: 'SIGTERM' })
  })
})

withPids('where /proc is another namespace’s, tasks are told and whole trees killed', async () => {
  const node = await host(store, { under: ownPids })
  const ready = readyFifo(store)
  const seen = await node.call(
    async ({ tasks }, command) => {
      const sessionId = 'foreign proc'
      const ended = await tasks.wait(await tasks.spawn('exit 3', { sessionId }))
      const id = await tasks.spawn(command, { sessionId })
      return { id, exitCode: ended.exitCode }
    },
    `sleep 600 & sh -c 'sleep 600 & wait' & ${patient(ready)}`,
  )
  expect(seen.exitCode).toBe(3)
  await ready.line()
  const killed = await node.call(({ tasks }, id) => tasks.kill(id, { sessionId: 'foreign proc' }), seen.id)
  expect(killed).toMatchObject({ status: 'killed', signal: 'SIGTERM' })
  await node.kill()
})

test('where no file may grow at all a spawn says so, and its host goes on', async () => {
  // P32
  const own = temporaryStore()
  const node = await host(own, { under: ['prlimit', '--fsize=0'] })
  const refused = await node.call(async ({ tasks }) => {
    const codes: unknown[] = []
    for (let turn = 0; turn < 3; turn++) {
      await tasks.spawn('true').catch(({ code, cause }) => codes.push([code, cause.code]))
    }
    return { codes, known: tasks.list().length }
  })
  expect(refused).toEqual({ codes: Array(3).fill(['STORAGE_FAILED', 'EFBIG']), known: 0 })
  expect(own.taskIds()).toEqual([])
  expect(await node.call(() => 'lives')).toBe('lives')
})

describe('a host that is stopped when its task ends', () => {
  const tell = ({ node }: { node: Host }, sessionId: string) =>
    node.call(({ tasks, say }, sessionId) => {
      tasks.onCompletion(({ taskId, exitCode }) => say([taskId, exitCode]), { sessionId })
    }, sessionId)

  test.each(['goes on', 'is killed'])('and then %s: its completion is told once, by one host', async (fate) => {
    // D15
    const sessionId = `stopped, ${fate}`
    const [owner, other] = [await host(store), await host(store)]
    await tell({ node: owner }, sessionId)
    const [ready, start] = [readyFifo(store), gate(store)]
    const spawn = (node: Host, command: string) =>
      node.call(({ tasks }, command, sessionId) => tasks.spawn(command, { sessionId }), command, sessionId)
    const id = await spawn(owner, obedient(ready, start, 'exit 3'))
    await ready.line()
    await tell({ node: other }, sessionId)
    await stop(owner.pid)
    start.open()
    const isEnded = () =>
      other.call(({ tasks }, id, sessionId) => tasks.status(id, { sessionId })?.exitCode, id, sessionId)
    await eventually(async () => (await isEnded()) === 3, 'the other host sees the end')
    expect([owner.untaken(), other.untaken()]).toEqual([[], []])

    if (fate === 'goes on') process.kill(owner.pid, 'SIGCONT')
    else await owner.kill()
    const teller = fate === 'goes on' ? owner : other
    expect(await teller.heard('the completion', 10_000)).toEqual([id, 3])
    // Whoever would tell it again would do so before what came later.
    const next = await spawn(teller, 'exit 4')
    expect(await teller.heard('the next completion', 10_000)).toEqual([next, 4])
    const isAccepted = () =>
      teller.call(({ tasks }, id, sessionId) => tasks.status(id, { sessionId })!.completionDelivered, next, sessionId)
    await eventually(isAccepted, 'the next completion is accepted')
    if (fate === 'goes on') await owner.kill()
    const last = await spawn(other, 'exit 5')
    expect(await other.heard('the last completion', 10_000)).toEqual([last, 5])
    expect([owner.untaken(), other.untaken()]).toEqual([[], []])
  })
})
