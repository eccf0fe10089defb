/** Finished tasks on disk, to be copied and spoilt. */
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  copyFileSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { TaskRegistry, TaskSnapshot } from 'outlive'
import { killProcessesOf } from './guests'
import { type TemporaryStore, within } from './store'

type Fields = Record<string, unknown>

export const { sealed }: { sealed(record: Fields): string } = require('../../sealed.js')

/** Writes another record in the place of a task's, as if it had always been that. */
export function rewrite(dir: string, name: string, change: (record: Fields) => Fields): void {
  const path = join(dir, name)
  writeFileSync(path, sealed(change(JSON.parse(readFileSync(path, 'utf8')))))
}

const records = ['command', 'stdout', 'stderr', 'task.json', 'started.json', 'ended.json']

let copies = 0

/** A finished task in a session of its own: the original of copies. */
export async function original(store: TemporaryStore, sessionId: string): Promise<string> {
  const tasks = store.registry()
  const id = await tasks.spawn('echo original; exit 3', { sessionId })
  await tasks.wait(id)
  tasks.detach()
  await killProcessesOf([id])
  return store.taskDir(id)!
}

/** Another task with the same records, complete with its FIFOs; `change` spoils it. */
export function copy(of: string, change: (dir: string) => void = () => {}): string {
  const id = `bash-${(++copies).toString(16).padStart(16, '0')}`
  const dir = join(dirname(of), id)
  mkdirSync(dir, { mode: 0o700 })
  for (const name of records) copyFileSync(join(of, name), join(dir, name))
  rewrite(dir, 'task.json', (task) => ({ ...task, taskId: id }))
  change(dir)
  return id
}

const DAY_MS = 86_400_000

/** A copy of an earlier boot that ended so long ago: what was recorded in this one cannot be older than it. */
export function aged(of: string, days: number, isTold = false): string {
  return copy(of, (dir) => {
    rewrite(dir, 'task.json', (task) => ({ ...task, bootId: randomUUID() }))
    rewrite(dir, 'ended.json', (ended) => ({ ...ended, finishedAt: Date.now() - days * DAY_MS }))
    if (isTold) linkSync(join(dir, 'task.json'), join(dir, 'delivered'))
  })
}

/** Gives a file, a directory or a link the time of so long ago. */
export function dateBack(path: string, days: number): void {
  const then = new Date(Date.now() - days * DAY_MS)
  lutimesSync(path, then, then)
}

/** The FIFOs of many tasks: no supervisor reads them any more. */
export function makeFifos(session: string, ids: string[]): void {
  const paths = ids.flatMap((id) => ['control', 'events'].map((name) => join(session, id, name)))
  for (let at = 0; at < paths.length; at += 500) execFileSync('mkfifo', ['-m', '600', ...paths.slice(at, at + 500)])
}

/** Everything about a directory's files that could change. */
export function stateOf(dir: string): unknown {
  return readdirSync(dir)
    .sort()
    .map((name) => {
      const path = join(dir, name)
      const about = lstatSync(path)
      const content = about.isFile() ? readFileSync(path, 'base64') : ''
      return { name, ino: about.ino, mode: about.mode, mtimeMs: about.mtimeMs, nlink: about.nlink, content }
    })
}

export interface Found {
  tasks: TaskRegistry
  unreadable: Set<string>
  of: Map<string, TaskSnapshot>
}

export async function replay(store: TemporaryStore, sessionId: string): Promise<Found> {
  const tasks = store.registry()
  const { unreadable } = await within(tasks.replay(sessionId), 'the replay ends', 30_000)
  const of = new Map(tasks.list({ sessionId, previewBytes: 0 }).map((task) => [task.taskId, task]))
  return { tasks, unreadable: new Set(unreadable.map((path) => basename(path))), of }
}
