// R18: what a power cut leaves of a store. The disk is a real one that from one moment on writes nothing more; what it had
// written by then is mounted anew, in another boot of a machine with another name: a workspace in a cloud that goes on elsewhere.
import { randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Completion } from 'outlive'
import { cutPower, type DiskKind, disk, powerOn, testOn } from './support/disk'
import { patient, processesOf, readyFifo, statOf, treeOf } from './support/guests'
import { type Host, host } from './support/host'
import { eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const withPower = testOn(store, ['ext4', 'btrfs'], 'power cuts')
const sessionId = 'before and after'

/** A store on a disk of its own. */
function storeOn(kind: DiskKind, name: string) {
  const dir = disk(store, `${name}-${kind}`, kind, { megabytes: 128, inodes: 8000 })
  return { dir, store: { ...store, dir: join(dir, 'store') } }
}

/** A machine of its own, in that all of it ends with the host. */
const machine = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child']

async function cut(on: ReturnType<typeof storeOn>, node: Host): Promise<Host> {
  cutPower(store, on.dir)
  await node.kill()
  await powerOn(on.dir)
  const id = join(store.dir, `id-${randomUUID()}`)
  writeFileSync(id, `${randomUUID()}\n`)
  const script = `hostname new
for file in /proc/sys/kernel/random/boot_id /etc/machine-id; do [ ! -e $file ] || mount --bind "$0" $file; done
exec "$@"`
  return host(on.store, { under: ['unshare', '--mount', '--uts', 'sh', '-e', '-c', script, id] })
}

const isSynced = (id: string): boolean => processesOf(id).length === 0

withPower('on %s: what had ended is told as it ended, and what ran is lost', async (kind) => {
  const on = storeOn(kind, 'some')
  const node = await host(on.store, { under: machine })
  const ready = readyFifo(store)
  const start = (command: string) =>
    node.call(
      ({ tasks }, command, sessionId) =>
        tasks.spawn(command, { sessionId, description: 'before the cut', metadata: { kept: command } }),
      command,
      sessionId,
    )
  const commands = [patient(ready), 'echo out; exit 3', 'kill -SEGV $$', 'exit 0']
  const running = await start(commands[0]!)
  await ready.line()
  // It wakes once, a second after the start, to send off what was asked.
  const [supervisor] = processesOf(running).filter((pid) => !treeOf(running).includes(pid))
  const sleeps = () => statOf(supervisor!)?.state === 'S'
  const wakes = () => /^voluntary_ctxt_switches:\t(\d+)/m.exec(readFileSync(`/proc/${supervisor}/status`, 'utf8'))![1]
  await eventually(sleeps, 'the supervisor sleeps')
  const asleep = wakes()
  await eventually(() => wakes() !== asleep && sleeps(), 'the supervisor has been awake')
  const ended: string[] = []
  for (const command of commands.slice(1)) ended.push(await start(command))
  await node.call(
    ({ tasks }, ids, sessionId) => Promise.all(ids.map((id) => tasks.wait(id, { sessionId }))),
    ended,
    sessionId,
  )
  await eventually(() => ended.every(isSynced), 'their supervisors have ended')

  const ids = [running, ...ended]
  const next = await cut(on, node)
  const found = await next.call(({ tasks }, sessionId) => tasks.replay(sessionId), sessionId)
  // Of a task that runs a btrfs has nothing before its next commit, each half a minute.
  const lost = kind === 'btrfs' ? 0 : 1
  expect(found).toEqual({ running: 0, finished: 3, lost, pending: 3 + lost, unreadable: [] })
  const told: Completion[] = await next.call(({ tasks }, sessionId) => tasks.drain({ sessionId }), sessionId)
  const ends = [
    { status: 'lost', cause: 'reboot', exitCode: null },
    { status: 'failed', cause: 'exit', exitCode: 3 },
    { status: 'failed', cause: 'signal', signal: 'SIGSEGV' },
    { status: 'completed', cause: 'exit', exitCode: 0 },
  ]
  for (const [at, taskId] of ids.entries()) {
    if (taskId === running && lost === 0) continue
    const asked = { taskId, command: commands[at], description: 'before the cut', metadata: { kept: commands[at] } }
    expect(told.filter((completion) => completion.taskId === taskId)).toMatchObject([{ ...asked, ...ends[at] }])
  }
  await next.kill()
})

withPower('on %s: in the middle of everything no end is made up, and the session goes on', async (kind) => {
  const on = storeOn(kind, 'many')
  const node = await host(on.store, { under: machine })
  // Always four at once, each with its number for an exit code.
  await node.call(({ tasks, say }, sessionId) => {
    let number = 0
    const start = async () => {
      const code = number++ % 250
      say({ id: await tasks.spawn(`exit ${code}`, { sessionId, notify: false }), code })
    }
    const goOn = async (): Promise<never> => {
      for (;;) {
        await start()
        await tasks.wait(tasks.list({ sessionId }).at(-1)!.taskId, { sessionId })
      }
    }
    for (let lane = 0; lane < 4; lane++) void goOn()
  }, sessionId)
  const codes = new Map<string, number>()
  while (codes.size < 100) {
    const { id, code } = await node.heard<{ id: string; code: number }>()
    codes.set(id, code)
  }
  const synced = [...codes.keys()].filter(isSynced)
  const next = await cut(on, node)
  expect(synced.length).toBeGreaterThan(50)
  await next.call(({ tasks }, sessionId) => tasks.replay(sessionId), sessionId)
  const after = await next.call(({ tasks }, sessionId) => tasks.list({ sessionId }), sessionId)
  const found = new Map(after.map((task) => [task.taskId, task]))
  for (const id of synced) expect(found.get(id)).toMatchObject({ cause: 'exit', exitCode: codes.get(id) })
  for (const [id, code] of codes) {
    const task = found.get(id)
    if (task?.exitCode != null) expect(task).toMatchObject({ cause: 'exit', exitCode: code })
    else if (task) expect(task).toMatchObject({ status: 'lost' })
  }
  const id = await next.call(({ tasks }, sessionId) => tasks.spawn('exit 9', { sessionId }), sessionId)
  expect(await next.call(({ tasks }, id) => tasks.wait(id), id)).toMatchObject({ exitCode: 9 })
  await next.kill()
})
