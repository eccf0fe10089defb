/**
 * What tests know of the commands that they run: when one is ready, when it may go on, which processes it has.
 * Guests say so on FIFOs, so no test sleeps to be lucky. The FIFOs are held open for reading and writing on our side:
 * no guest ever blocks in open, and none sees an end of file.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TemporaryStore } from './store'
import { atTheEnd, eventually, within } from './waiting'

let fifos = 0

function makeFifo(store: TemporaryStore, name: string): { path: string; fd: number } {
  const path = join(store.dir, `${name}-${++fifos}.fifo`)
  execFileSync('mkfifo', ['-m', '600', path])
  return { path, fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK) }
}

export interface ReadyFifo {
  /** For the guest: `echo $$ > ${ready.path}`. */
  readonly path: string
  /** The next line that a guest wrote, in the order of writing. */
  line(what?: string, limitMs?: number): Promise<string>
  /** The lines that came and that nobody has taken yet. */
  untaken(): string[]
}

/** A FIFO on which guests say that they are ready, one line each. */
export function readyFifo(store: TemporaryStore): ReadyFifo {
  const { path, fd } = makeFifo(store, 'ready')
  const socket = new Socket({ fd, readable: true, writable: false })
  const lines: string[] = []
  const waiting: ((line: string) => void)[] = []
  createInterface({ input: socket }).on('line', (line) => {
    const taker = waiting.shift()
    if (taker) taker(line)
    else lines.push(line)
  })
  atTheEnd(() => socket.destroy())
  return {
    path,
    line(what = 'a guest says that it is ready', limitMs) {
      const line = lines.shift()
      if (line !== undefined) return Promise.resolve(line)
      return within(new Promise<string>((resolve) => waiting.push(resolve)), what, limitMs)
    },
    untaken: () => [...lines],
  }
}

export interface Gate {
  /** For the guest: `read _ < ${gate.path}` waits until the gate is opened for it. */
  readonly path: string
  /** Lets `guests` guests pass, those that wait and those that come later. */
  open(guests?: number): void
}

/** A FIFO at which guests wait. */
export function gate(store: TemporaryStore): Gate {
  const { path, fd } = makeFifo(store, 'gate')
  atTheEnd(() => closeSync(fd))
  return {
    path,
    // One byte per guest: shells read a line byte by byte, so guests cannot take each other's.
    open: (guests = 1) => void writeSync(fd, '\n'.repeat(guests)),
  }
}

/** A command that ignores SIGTERM, INT and HUP, says its pid on `ready`, and stays until it is killed. */
export function stubborn(ready: ReadyFifo): string {
  return `trap '' TERM INT HUP; echo $$ > ${ready.path}; while :; do sleep 1000 & wait; done`
}

/** A command that says its pid on `ready` and stays until a signal ends it. */
export function patient(ready: ReadyFifo): string {
  return `echo $$ > ${ready.path}; exec sleep 1000`
}

/** A command that says its pid on `ready`, waits at `wait`, then runs `then`. */
export function obedient(ready: ReadyFifo, wait: Gate, then = 'exit 0'): string {
  return `echo $$ > ${ready.path}; read _ < ${wait.path}; ${then}`
}

/** True while a process with this pid is there and is no zombie. */
export function isAlive(pid: number): boolean {
  const state = statOf(pid)?.state
  return state !== undefined && state !== 'Z' && state !== 'X'
}

/** The fields of /proc/<pid>/stat that tests ask about; undefined when there is no such process. */
export function statOf(pid: number): { state: string; ppid: number; pgid: number; sid: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name stands in parentheses and may contain anything, parentheses too.
    const [state, ppid, pgid, sid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state: state!, ppid: Number(ppid), pgid: Number(pgid), sid: Number(sid) }
  } catch {
    return undefined // gone between two looks
  }
}

/** Stops a process until it gets SIGCONT. The signal is one thread's to take, when that has a processor; the others run until then. */
export async function stop(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  const stands = (thread: string): boolean => statOf(Number(thread))?.state === 'T'
  await eventually(() => readdirSync(`/proc/${pid}/task`).every(stands), `all threads of ${pid} stand still`)
}

/** The pids of all live processes of a task, its supervisor among them: those whose environment carries its mark. */
export function processesOf(taskId: string): number[] {
  return carriersOf(new Set([taskId]))
}

/** The pids of a task's own live processes: its supervisor, which may have a record to sync, is not among them. */
export function treeOf(taskId: string): number[] {
  return processesOf(taskId).filter((pid) => {
    const [program] = stringsOf(pid, 'cmdline') // none: it has ended meanwhile
    return program && program !== 'outlive-supervisor'
  })
}

/** Kills what is left of these tasks, supervisors included, and comes back when nothing is. */
export async function killProcessesOf(taskIds: string[]): Promise<void> {
  const marks = new Set(taskIds)
  if (marks.size === 0) return
  await eventually(() => {
    const left = carriersOf(marks)
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone between the look and the signal.
      }
    }
    return left.length === 0
  }, `no process is left of ${taskIds.length} tasks`)
}

function carriersOf(taskIds: Set<string>): number[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger)
  return pids.filter((pid) => {
    const mark = stringsOf(pid, 'environ').find((entry) => entry.startsWith('OUTLIVE_TASK_ID='))
    return mark !== undefined && taskIds.has(mark.slice('OUTLIVE_TASK_ID='.length)) && isAlive(pid)
  })
}

function stringsOf(pid: number, file: 'cmdline' | 'environ'): string[] {
  try {
    return startOf(`/proc/${pid}/${file}`).toString('latin1').split('\0')
  } catch {
    return [] // gone, or somebody else's
  }
}

/** The first 8 MiB: the kernel takes no more from anybody, but a process can show gigabytes. */
function startOf(path: string): Buffer {
  const file = openSync(path, 'r')
  try {
    const pieces: Buffer[] = []
    for (let room = 8 * 1024 * 1024; room > 0; ) {
      const piece = Buffer.allocUnsafe(Math.min(room, 65_536))
      const length = readSync(file, piece)
      if (length === 0) break
      pieces.push(piece.subarray(0, length))
      room -= length
    }
    return Buffer.concat(pieces)
  } finally {
    closeSync(file)
  }
}
