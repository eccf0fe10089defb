import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { OutliveError } from 'outlive'
import { isAlive, readyFifo, treeOf } from './support/guests'
import { type Host, host } from './support/host'
import { atTheEnd, eventually, temporaryStore } from './support/store'

const store = temporaryStore()

/** Whether a host can be started under these programs, such as `unshare`. */
function runs(...under: string[]): boolean {
  try {
    execFileSync(under[0]!, [...under.slice(1), 'true'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn(`skipped, because it needs root or a privileged container: ${under.join(' ')}`)
    return false
  }
}

const ownPids = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child']
const withPids = runs(...ownPids) ? test : test.skip

/** A task from its start to the news of its end, and one that is killed. */
function life(node: Host, sessionId: string): Promise<unknown> {
  return node.call(async ({ tasks }, sessionId) => {
    const told: unknown[] = []
    tasks.onCompletion(({ status, exitCode }) => void told.push([status, exitCode]), { sessionId })
    await tasks.wait(await tasks.spawn('exit 3', { sessionId }))
    await tasks.kill(await tasks.spawn('sleep 600', { sessionId }), { sessionId })
    while (told.length < 2) await new Promise(setImmediate)
    return told
  }, sessionId)
}

const lived = [
  ['failed', 3],
  ['killed', null],
]

withPids('a host that is process 1 runs, tells and reaps its tasks', async () => {
  // P11
  const node = await host(store, { under: ownPids })
  expect(node.pid).toBe(1)
  expect(await life(node, 'process 1')).toEqual(lived)
  const zombies = () => node.call(() => require('node:child_process').execSync('ps -eo stat').toString().includes('Z'))
  await eventually(async () => !(await zombies()), 'an end of all zombies')
})

withPids('without /proc a registry says what it misses, and makes nothing', async () => {
  const bare = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$0" "$@"']
  const dir = `${store.dir}-bare`
  atTheEnd(() => execFileSync('rm', ['-rf', dir]))
  const node = await host({ ...store, dir }, { under: bare })
  const error = await node.call((scope) => {
    try {
      return scope.tasks.list()
    } catch (error) {
      const { code, message } = error as OutliveError
      return { code, message }
    }
  })
  expect(error).toEqual({ code: 'STORAGE_FAILED', message: expect.stringContaining('/proc/sys/kernel/random/boot_id') })
  expect(readdirSync(dir)).toEqual([])
})

for (const level of [1, 2]) {
  const limited = [...ownPids, 'sh', '-c', `echo ${level} > /proc/sys/vm/memfd_noexec && exec "$0" "$@"`]
  const withLimit = runs(...limited) ? test : test.skip
  withLimit(
    `where memory may not be executed (vm.memfd_noexec=${level}) tasks run from an ordinary store`,
    async () => {
      const node = await host(store, { under: limited })
      expect(await life(node, `memfd_noexec ${level}`)).toEqual(lived)
    },
  )
}

const shifted = ['unshare', '--time', '--boottime=100000', '--monotonic=100000', '--fork']
const withClocks = runs(...shifted) ? test : test.skip

withClocks('in a time namespace of its own, hours away, durations and deadlines are right', async () => {
  // R12
  const node = await host(store, { under: shifted })
  const seen = await node.call(async ({ tasks }) => {
    const ended = await tasks.wait(await tasks.spawn('sleep 0.2', { sessionId: 'shifted' }))
    const late = await tasks.wait(await tasks.spawn('sleep 600', { sessionId: 'shifted', timeoutMs: 100, graceMs: 0 }))
    return { durationMs: ended.durationMs, late: late.status }
  })
  expect(seen.late).toBe('timed_out')
  expect(seen.durationMs).toBeGreaterThanOrEqual(200)
  expect(seen.durationMs).toBeLessThan(30_000)
})

describe('limits of the host', () => {
  test('on open files: a spawn says so, what runs is not hurt, and room that comes back is used', async () => {
    const node = await host(store, { under: ['prlimit', '--nofile=70'], registry: { maxRunning: 1000 } })
    const seen = await node.call(async ({ tasks }) => {
      const sessionId = 'few files'
      const ids: string[] = []
      let refused: NodeJS.ErrnoException | undefined
      while (refused === undefined && ids.length < 1000) {
        await tasks.spawn('sleep 600', { sessionId }).then(
          (id) => ids.push(id),
          (error) => {
            refused = error
          },
        )
      }
      const { code, cause } = refused!
      const running = tasks.list({ sessionId, status: 'running', previewBytes: 0 }).length
      await Promise.all(ids.map((id) => tasks.kill(id, { sessionId, graceMs: 0 })))
      // The room of a task comes back with the end of its supervisor, a moment after that of the task.
      const spawned = (): Promise<string> =>
        tasks.spawn('exit 3', { sessionId }).catch((error) => {
          if (error.cause.code !== 'EMFILE') throw error
          return spawned()
        })
      const again = await tasks.wait(await spawned())
      return { code, cause: (cause as NodeJS.ErrnoException).code, ids, running, again: again.exitCode }
    })
    expect(['SPAWN_FAILED', 'STORAGE_FAILED']).toContain(seen.code)
    expect(seen.cause).toBe('EMFILE')
    expect(seen.running).toBe(seen.ids.length)
    expect(seen.again).toBe(3)
    expect(store.taskIds().filter((id) => readFileSync(join(store.taskDir(id)!, 'task.json')).length === 0)).toEqual([])
  })

  test('on the size of files: the command feels it, and how it ended is recorded', async () => {
    const node = await host(store, { under: ['prlimit', '--fsize=8192'] })
    const seen = await node.call(async ({ tasks }) => {
      const { signal, exitCode, stdoutBytes } = await tasks.wait(
        await tasks.spawn('exec yes', { sessionId: 'small files' }),
      )
      return { signal, exitCode, stdoutBytes }
    })
    expect(seen).toEqual({ signal: 'SIGXFSZ', exitCode: null, stdoutBytes: 8192 })
  })

  const limited = ['setpriv', '--reuid=12345', '--clear-groups', 'prlimit', '--nproc=20', '--']
  const withLimit = runs(...limited) ? test : test.skip

  withLimit('on processes: the spawn or the task says that, and nothing stays', async () => {
    const dir = `${store.dir}-nproc`
    execFileSync('install', ['-d', '-o', '12345', '-m', '700', dir])
    atTheEnd(() => execFileSync('rm', ['-rf', dir]))
    const node = await host({ ...store, dir }, { under: limited, registry: { maxRunning: 1000 } })
    const seen = await node.call(async ({ tasks }) => {
      const ids: string[] = []
      const refusals: (string | undefined)[] = []
      while (refusals.length === 0 && ids.length < 100) {
        try {
          const id = await tasks.spawn('sleep 600')
          const { status, error } = tasks.status(id)!
          if (status === 'running') ids.push(id)
          else refusals.push(error ?? undefined)
        } catch (error) {
          refusals.push(((error as Error).cause as NodeJS.ErrnoException).code)
        }
      }
      await Promise.all(ids.map((id) => tasks.kill(id, { graceMs: 0 })))
      return { refusals, again: (await tasks.wait(await tasks.spawn('exit 3'))).exitCode, ids }
    })
    expect(seen.refusals[0]).toMatch(/EAGAIN/)
    expect(seen.again).toBe(3)
    expect(seen.ids.flatMap(treeOf)).toEqual([])
  })
})

describe('a task that', () => {
  test('closes all of its files, renices itself and raises its oom score is told and killed', async () => {
    const tasks = store.registry()
    const sessionId = 'rude'
    const ready = readyFifo(store)
    const rude = 'renice -n 19 $$; echo 1000 > /proc/self/oom_score_adj; exec 0<&- 1>&- 2>&- 3>&-'
    const id = await tasks.spawn(`${rude}; echo $$ > ${ready.path}; while :; do sleep 600; done`, { sessionId })
    await ready.line()
    expect(await tasks.kill(id, { sessionId })).toMatchObject({ status: 'killed' })
    expect(treeOf(id)).toEqual([])
  })

  withPids('kills everything that it can reach takes its own supervisor along, and is told as lost', async () => {
    const sessionId = 'killer'
    const node = await host(store, { under: ownPids })
    const seen = await node.call(async ({ tasks }, sessionId) => {
      const other = await tasks.spawn('sleep 600', { sessionId })
      const killer = await tasks.spawn('kill -KILL -1', { sessionId })
      return Promise.all([killer, other].map(async (id) => (await tasks.wait(id, { sessionId })).status))
    }, sessionId)
    expect(seen).toEqual(['lost', 'lost'])
  })
})

test('a command dies with its supervisor, also when no host lives to see it', async () => {
  // P31
  const node = await host(store)
  const ready = readyFifo(store)
  const id = await node.call(
    ({ tasks }, command) => tasks.spawn(command, { sessionId: 'alone' }),
    `echo $$ > ${ready.path}; while :; do sleep 600; done`,
  )
  const leader = Number(await ready.line())
  await node.kill()
  expect(isAlive(leader)).toBe(true)
  const { supervisorPid } = JSON.parse(readFileSync(join(store.taskDir(id)!, 'started.json'), 'utf8'))
  process.kill(supervisorPid, 'SIGKILL')
  await eventually(() => !isAlive(leader), 'an end of the command')
})

test.each(['owner', 'session', 'the directory itself'])(
  'a link in the place of a session’s %s is refused, and what it leads to stays as it is',
  async (place) => {
    // R14
    const sessionId = `plant ${place}`
    const first = store.registry()
    const id = await first.spawn('true', { sessionId })
    await first.wait(id, { sessionId })
    first.detach()
    const dir = dirname(store.taskDir(id)!)
    const outside = `${store.dir}-outside`
    mkdirSync(outside, { recursive: true })
    atTheEnd(() => execFileSync('rm', ['-rf', outside]))
    writeFileSync(join(outside, 'mine'), 'precious')
    const path = place === 'the directory itself' ? dir : join(dir, place)
    execFileSync('rm', ['-r', path])
    symlinkSync(place === 'the directory itself' ? outside : join(outside, 'mine'), path)
    const tasks = store.registry()
    const refused = { code: 'STORAGE_FAILED' }
    // A task needs no owner to run; its news stays on disk until somebody can be one.
    if (place === 'owner') expect(() => tasks.drain({ sessionId })).toThrow(expect.objectContaining(refused))
    else await expect(tasks.spawn('true', { sessionId })).rejects.toMatchObject(refused)
    tasks.detach()
    expect(execFileSync('ls', ['-A', outside], { encoding: 'utf8' })).toBe('mine\n')
    expect(readFileSync(join(outside, 'mine'), 'utf8')).toBe('precious')
  },
)
