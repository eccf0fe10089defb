import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { TaskRegistry } from 'outlive'
import { type HostScope, host } from './support/host'
import { type TemporaryStore, temporaryStore } from './support/store'

/** What a command prints that says which executable watches over it. */
const executable = 'readlink /proc/$PPID/exe'

/** Runs in a host: what a command prints. */
async function printed({ tasks }: HostScope, command: string): Promise<string> {
  const { taskId } = await tasks.wait(await tasks.spawn(command))
  return tasks.output(taskId).text.trim()
}

async function printedHere(tasks: TaskRegistry, command: string): Promise<string> {
  return printed({ tasks } as HostScope, command)
}

function privateCopies(store: TemporaryStore): string[] {
  return readdirSync(store.dir).filter((name) => name.startsWith('supervisor-'))
}

function privateCopy(store: TemporaryStore): string {
  const copies = privateCopies(store)
  expect(copies).toEqual([expect.stringMatching(/^supervisor-[0-9a-f]{16}$/)])
  return join(store.dir, copies[0]!)
}

/** A supervisor of its own outside of the store. */
async function copyElsewhere(): Promise<string> {
  const store = temporaryStore()
  await printedHere(store.registry(), 'true')
  const path = join(store.dir, 'elsewhere')
  copyFileSync(privateCopy(store), path)
  return path
}

describe('the supervisor is executed from', () => {
  test('a private copy in the store, for its owner only, that nobody writes twice', async () => {
    const store = temporaryStore()
    const tasks = store.registry({ maxRunning: 50 })
    const names = await Promise.all(Array.from({ length: 20 }, () => printedHere(tasks, executable)))
    const copy = privateCopy(store)
    expect(new Set(names)).toEqual(new Set([copy]))
    const { mode, ino } = statSync(copy)
    expect(mode & 0o777).toBe(0o500)
    await printedHere(store.registry(), 'true')
    expect(statSync(copy).ino).toBe(ino)
  })

  test('the file that OUTLIVE_SUPERVISOR names', async () => {
    const store = temporaryStore()
    const elsewhere = await copyElsewhere()
    const node = await host(store, { env: { OUTLIVE_SUPERVISOR: elsewhere } })
    expect(await node.call(printed, executable)).toBe(elsewhere)
    expect(privateCopies(store)).toEqual([])
  })

  test('the private copy, where OUTLIVE_SUPERVISOR is empty', async () => {
    const store = temporaryStore()
    const node = await host(store, { env: { OUTLIVE_SUPERVISOR: '' } })
    expect(await node.call(printed, executable)).toBe(privateCopy(store))
  })

  test('memory, when nothing in the store can be executed', async () => {
    const store = temporaryStore()
    const node = await host(store, { under: onNoExec(store) })
    expect(await node.call(printed, executable)).toMatch(/^\/memfd:outlive-supervisor/)
    expect(await node.call(printed, 'echo once more')).toBe('once more')
    await node.call(({ tasks }) => tasks.shutdown())
  })
})

describe('the private copy is written anew', () => {
  const damages: Record<string, (copy: string) => void> = {
    removed: unlinkSync,
    'replaced by an empty file': (copy) => replace(copy, Buffer.alloc(0)),
    'cut in half': (copy) => replace(copy, readFileSync(copy).subarray(0, 4096)),
    'replaced by another program': (copy) => replace(copy, readFileSync('/bin/true')),
    'replaced by one that crashes': (copy) => replace(copy, readFileSync(copy).fill(0xcc, 4096)),
    'no longer executable': (copy) => chmodSync(copy, 0o400),
  }

  test.each(Object.entries(damages))('by a later host when it was %s', async (_, damage) => {
    const store = temporaryStore()
    await printedHere(store.registry(), 'true')
    const copy = privateCopy(store)
    const content = readFileSync(copy)
    damage(copy)
    expect(await printedHere(store.registry(), executable)).toBe(copy)
    expect(readFileSync(copy).equals(content)).toBe(true)
    expect(statSync(copy).mode & 0o777).toBe(0o500)
  })

  test.each(Object.entries(damages))('between two spawns of one host when it was %s', async (_, damage) => {
    const store = temporaryStore()
    const tasks = store.registry()
    await printedHere(tasks, 'true')
    const copy = privateCopy(store)
    const content = readFileSync(copy)
    damage(copy)
    expect(await printedHere(tasks, executable)).toBe(copy)
    expect(readFileSync(copy).equals(content)).toBe(true)
  })
})

describe('SUPERVISOR_UNAVAILABLE', () => {
  const rejection = ({ tasks }: HostScope) =>
    tasks.spawn('true').then(
      (id) => ({ code: `none: ${id} was started`, message: '', left: tasks.list() }),
      ({ code, message }) => ({ code, message: message as string, left: tasks.list() }),
    )

  test('names the file that OUTLIVE_SUPERVISOR names and why it cannot be executed; nothing is tried in its place', async () => {
    const store = temporaryStore()
    const missing = join(store.dir, 'not-there')
    const node = await host(store, { env: { OUTLIVE_SUPERVISOR: missing } })
    const { code, message, left } = await node.call(rejection)
    expect({ code, left }).toEqual({ code: 'SUPERVISOR_UNAVAILABLE', left: [] })
    expect(message).toContain(`OUTLIVE_SUPERVISOR=${missing}: No such file or directory`)
    expect([privateCopies(store), store.taskIds()]).toEqual([[], []])
  })

  test('is not what a file is that can be executed and starts nothing: SPAWN_FAILED names it as well', async () => {
    const store = temporaryStore()
    const node = await host(store, { env: { OUTLIVE_SUPERVISOR: '/bin/true' } })
    const { code, message, left } = await node.call(rejection)
    expect({ code, left }).toEqual({ code: 'SPAWN_FAILED', left: [] })
    expect(message).toMatch(/ended before .*: it is OUTLIVE_SUPERVISOR=\/bin\/true, which may be of another release$/)
  })

  test('names the private copy, memory, and why neither can be executed', async () => {
    const store = temporaryStore()
    // A process id namespace of its own: the setting holds for that only.
    const own = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child']
    const noMemory = ['sh', '-c', 'echo 2 > /proc/sys/vm/memfd_noexec; exec "$@"', 'sh']
    const node = await host(store, { under: [...own, ...noMemory, ...onNoExec(store)] })
    const { code, message, left } = await node.call(rejection)
    expect({ code, left }).toEqual({ code: 'SUPERVISOR_UNAVAILABLE', left: [] })
    expect(message).toMatch(new RegExp(`${store.dir}/supervisor-[0-9a-f]{16}: Permission denied`))
    expect(message).toMatch(/memory: Permission denied/)
  })
})

function replace(copy: string, content: Buffer): void {
  const draft = `${copy}.damaged`
  writeFileSync(draft, content, { mode: 0o500 })
  renameSync(draft, copy)
}

/** What runs a host that finds a file system without executables where its store is. */
function onNoExec(store: TemporaryStore): string[] {
  const user = process.getuid!() === 0 ? [] : ['--user', '--map-root-user']
  execFileSync('unshare', [...user, '--mount', 'true'])
  const mount = `mount -t tmpfs -o noexec,mode=700 none '${store.dir}' && exec "$@"`
  return ['unshare', ...user, '--mount', 'sh', '-c', mount, 'sh']
}
