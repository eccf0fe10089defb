/**
 * A process that waits for a file system that does not answer, such as a dead NFS mount: in an `mmap`, or in an exec that closes a file.
 * Until that answers no signal ends it, and whoever reads its arguments or its environment waits as well, or its `stat`. Needs root, for
 * a file system of its own.
 */
import { execFileSync, spawn as spawnChild } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gate, isAlive, readyFifo, statOf, stubborn } from './support/guests'
import { host } from './support/host'
import { atTheEnd, eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry()
const program = join(store.dir, 'stuck')
execFileSync('cc', ['-O1', '-Wall', '-Werror', '-o', program, join(__dirname, 'support/stuck.c')])

interface Unanswering {
  /** The command that is stuck in an `mmap`. */
  readonly waiter: string
  /** The command that is stuck in an exec. */
  readonly executor: string
  /** Whoever waits for it fails from now on. */
  end(): Promise<void>
}

let mounts = 0

/** Undefined where none can be mounted. */
async function unanswering(): Promise<Unanswering | undefined> {
  const dir = join(store.dir, `unanswering-${++mounts}`)
  mkdirSync(dir)
  const server = spawnChild(program, ['serve', dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  const gone = once(server, 'exit')
  if ((await Promise.race([once(server.stdout, 'data'), gone]))[0] === 1) {
    console.warn('skipped, because it needs root or a privileged container: to mount a file system of its own')
    return undefined
  }
  const end = async () => {
    server.kill('SIGKILL')
    await gone
  }
  atTheEnd(async () => {
    await end()
    execFileSync('umount', ['-l', dir])
  })
  return { waiter: `${program} wait ${dir}/file`, executor: `${program} exec ${dir}/file`, end }
}

/** Its new memory has no code yet. */
function isInExec(pid: number): boolean {
  const [size, , , code] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')
  return size !== '0' && code === '0'
}

const waits = (pid: number) => eventually(() => statOf(pid)?.state === 'D', 'it waits')

test('a process that nobody can look into keeps no other one of its task from being killed', async () => {
  // P1
  const mounted = await unanswering()
  if (!mounted) return
  const [ready, started] = [readyFifo(store), gate(store)]
  const second = join(store.dir, 'second')
  writeFileSync(second, stubborn(ready))
  const task = await tasks.spawn(
    `setsid ${mounted.waiter} & echo $! > ${ready.path}; read _ < ${started.path}; setsid bash ${second} & wait`,
  )
  const stuck = Number(await ready.line())
  await waits(stuck)
  started.open()
  const other = Number(await ready.line())
  const killed = tasks.kill(task, { graceMs: 0 })
  await eventually(() => !isAlive(other), 'the other one is dead')
  await mounted.end()
  expect(await killed).toMatchObject({ status: 'killed', descendants: 0 })
})

test('a process that nobody can look into, whosever it is, holds up no host that ends what a killed supervisor has left behind', async () => {
  // P12 P31
  const [node, ready] = [await host(store), readyFifo(store)]
  const command = `setsid sh -c 'echo $$ > ${ready.path}; exec sleep 600' & wait`
  const task = await node.call(({ tasks }, command) => tasks.spawn(command), command)
  const left = Number(await ready.line())
  const supervisor = statOf(await node.call(({ tasks }, id) => tasks.status(id)!.pid!, task))!.ppid
  const mounted = await unanswering()
  if (!mounted) return
  const [waiter, ...what] = mounted.waiter.split(' ')
  const stranger = spawnChild(waiter!, what)
  const over = once(stranger, 'exit')
  await waits(stranger.pid!)
  process.kill(supervisor, 'SIGKILL')
  const outcome = await node.call(({ tasks }, id) => tasks.wait(id), task)
  expect(outcome).toMatchObject({ status: 'lost' })
  await eventually(() => !isAlive(left), 'what was left behind is dead')
  expect(await node.call(({ tasks }, id) => tasks.status(id)!.descendants, task)).toBe(0)
  expect(await node.call(async ({ tasks }) => tasks.wait(await tasks.spawn('exit 3')))).toMatchObject({ exitCode: 3 })
  await mounted.end()
  await over
})

test('a process that is stuck in its exec keeps no end from being told, and holds up no host that counts it', async () => {
  // P2 P12
  const mounted = await unanswering()
  if (!mounted) return
  const [node, ready, over] = [await host(store), readyFifo(store), gate(store)]
  const command = `setsid ${mounted.executor} & echo $! > ${ready.path}; read _ < ${over.path}; exit 3`
  const task = await node.call(({ tasks }, command) => tasks.spawn(command), command)
  const stuck = Number(await ready.line())
  await eventually(() => isInExec(stuck), 'it is in its exec')
  expect(await node.call(({ tasks }, id) => tasks.status(id), task)).toMatchObject({
    status: 'running',
    descendants: 1,
  })
  over.open()
  const ended = await node.call(({ tasks }, id) => tasks.wait(id), task)
  expect(ended).toMatchObject({ status: 'failed', exitCode: 3, descendants: 1 })
  await mounted.end()
  expect(await node.call(({ tasks }, id) => tasks.kill(id, { graceMs: 0 }), task)).toMatchObject({ descendants: 0 })
})

test.each(['kill', 'timeout'] as const)(
  'a shell that is stuck in its exec keeps no other process of its task from a %s',
  async (cause) => {
    // P1
    const mounted = await unanswering()
    if (!mounted) return
    const ready = readyFifo(store)
    const second = join(store.dir, `second-${cause}`)
    writeFileSync(second, stubborn(ready))
    const command = `setsid bash ${second} & exec ${mounted.executor}`
    const task = await tasks.spawn(command, { graceMs: 100, timeoutMs: cause === 'timeout' ? 2000 : 0 })
    const other = Number(await ready.line())
    const leader = tasks.status(task, { previewBytes: 0 })!.pid!
    await eventually(() => isInExec(leader), 'it is in its exec')
    const ended = cause === 'kill' ? tasks.kill(task) : tasks.wait(task)
    await eventually(() => !isAlive(other), 'the other one is dead')
    await mounted.end()
    expect(await ended).toMatchObject({ status: cause === 'kill' ? 'killed' : 'timed_out', descendants: 0 })
  },
)
