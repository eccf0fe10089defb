/**
 * A process that waits in an `mmap` for a file system that does not answer, such as a dead NFS mount. Until that answers no signal ends
 * it, and whoever reads its arguments or its environment waits as well. Needs root, for a file system of its own.
 */
import { execFileSync, spawn as spawnChild } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gate, isAlive, readyFifo, statOf, stubborn } from './support/guests'
import { atTheEnd, eventually, temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry()
const program = join(store.dir, 'stuck')
execFileSync('cc', ['-O1', '-Wall', '-Werror', '-o', program, join(__dirname, 'support/stuck.c')])

interface Unanswering {
  /** The command that is stuck. */
  readonly waiter: string
  /** Whoever waits for it fails from now on. */
  end(): Promise<void>
}

/** Undefined where none can be mounted. */
async function unanswering(): Promise<Unanswering | undefined> {
  const dir = join(store.dir, 'unanswering')
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
  return { waiter: `${program} wait ${dir}/file`, end }
}

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
  await eventually(() => statOf(stuck)?.state === 'D', 'it waits')
  started.open()
  const other = Number(await ready.line())
  const killed = tasks.kill(task, { graceMs: 0 })
  await eventually(() => !isAlive(other), 'the other one is dead')
  await mounted.end()
  expect(await killed).toMatchObject({ status: 'killed', descendants: 0 })
})
