/**
 * A store of its own for each test file.
 *
 * Everything made through this folder is ended and removed after the file's last test, newest first: registries are
 * detached, hosts killed, left-over processes of left-over tasks killed, then the directory goes.
 */
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RegistryOptions, TaskRegistry } from 'outlive'
import { killProcessesOf } from './guests'
import { atTheEnd } from './waiting'

export { atTheEnd, blockUntil, eventually, rejectionOf, within } from './waiting'

export interface TemporaryStore {
  /** The storage directory: empty, 0700, without symlinks in its path. */
  readonly dir: string
  /** A registry on this store, detached at the end. */
  registry(options?: Omit<RegistryOptions, 'storageDir'>): TaskRegistry
  /** The directory of a task, or undefined when nothing of it is on disk. */
  taskDir(taskId: string): string | undefined
  /** The ids of all tasks on disk, of all sessions. */
  taskIds(): string[]
  /** Takes it away already now. */
  remove(): Promise<void>
}

/** An empty storage directory that is gone, with every process of its tasks, after the file's last test. */
export function temporaryStore(): TemporaryStore {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'outlive-test-')))
  const remove = async (): Promise<void> => {
    await killProcessesOf(taskDirs(dir).map((task) => task.id))
    rmSync(dir, { recursive: true, force: true })
  }
  atTheEnd(remove)
  return {
    dir,
    registry(options) {
      const registry = new TaskRegistry({ storageDir: dir, ...options })
      atTheEnd(() => registry.detach())
      return registry
    },
    taskDir: (taskId) => taskDirs(dir).find((task) => task.id === taskId)?.path,
    taskIds: () => taskDirs(dir).map((task) => task.id),
    remove,
  }
}

/** A registry on a directory of its own, which need not be there yet. */
export function registryAt(storageDir: string): TaskRegistry {
  const tasks = new TaskRegistry({ storageDir })
  atTheEnd(() => tasks.detach())
  return tasks
}

/** Every path below a directory, itself included. */
export function everythingIn(dir: string): string[] {
  const below = readdirSync(dir, { withFileTypes: true, recursive: true })
  return [dir, ...below.map((entry) => join(entry.parentPath, entry.name))].sort()
}

function taskDirs(dir: string): { id: string; path: string }[] {
  if (!existsSync(dir)) return []
  const sessions = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return sessions.flatMap((session) =>
    readdirSync(join(dir, session.name))
      .filter((name) => name.startsWith('bash-'))
      .map((id) => ({ id, path: join(dir, session.name, id) })),
  )
}
