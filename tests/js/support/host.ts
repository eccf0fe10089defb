/**
 * Real host processes: a Node child that runs the built package and does what a test tells it, one function at a time.
 *
 *     const node = await host(store)
 *     const id = await node.call(({ tasks }, command) => tasks.spawn(command), 'sleep 60')
 *     await node.kill()                                      // SIGKILL, and it is gone when this resolves
 *     const next = await host(store)
 *
 * Functions travel as text: they see their arguments (JSON), the scope and `require`, and nothing of the test file.
 * Orders go in on stdin and answers come back on fd 3, so the host's stdout and stderr are its own.
 */
import { type ChildProcess, spawn as spawnChild } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type * as outlive from 'outlive'
import { atTheEnd, type TemporaryStore, within } from './store'

/** What a function that runs in a host gets as its first argument. */
export interface HostScope {
  outlive: typeof outlive
  /** The host's registry on the store, made on first use. */
  tasks: outlive.TaskRegistry
  /** Sends a JSON value to the test; it is on its way before this returns. */
  say(value: unknown): void
  /** Lives as long as the host: where calls leave things for later calls. */
  // biome-ignore lint/suspicious/noExplicitAny: each test keeps what it likes
  shared: Record<string, any>
}

export interface HostOptions {
  /** Options of the host's registry besides the store. */
  registry?: Omit<outlive.RegistryOptions, 'storageDir'>
  /** Over this process's environment; undefined removes a variable. */
  env?: Record<string, string | undefined>
  cwd?: string
  /** Flags of node, such as `--expose-gc`. */
  execArgv?: string[]
  /** Runs the host under another program, such as `['unshare', '--fork', '--pid', '--mount-proc', '--kill-child']`. */
  under?: string[]
  /** The program that runs the host, in place of this Node. */
  runtime?: string
}

export interface HostExit {
  code: number | null
  signal: NodeJS.Signals | null
}

type Order<A extends unknown[], R> = (scope: HostScope, ...args: A) => R

export interface Host {
  /** The pid that the host has for itself (in its own pid namespace, where it runs in one). */
  readonly pid: number
  /** Runs a function in the host and resolves or rejects as it does; rejects too when the host ends first. */
  call<A extends unknown[], R>(order: Order<A, R>, ...args: A): Promise<Awaited<R>>
  /** The next value that the host said and that nobody has taken yet. */
  heard<T = unknown>(what?: string, limitMs?: number): Promise<T>
  /** Values that the host said and that nobody has taken yet. */
  untaken(): unknown[]
  /** Stops keeping the host alive from our side: it ends by itself as soon as nothing of its own keeps it. */
  leave(): void
  /** Signals the host and resolves when it is gone. Already gone is fine. */
  kill(signal?: NodeJS.Signals): Promise<HostExit>
  /** Resolves when the host is gone, for whatever reason. */
  readonly exited: Promise<HostExit>
  /** Resolves when the host is gone and all that it said has arrived. */
  readonly silent: Promise<void>
  /** What the host wrote to its own stdout and stderr so far. */
  printed(): { stdout: string; stderr: string }
}

interface Answer {
  id?: number
  value?: unknown
  error?: { name: string; message: string; stack?: string; cause?: object }
  said?: unknown
  ready?: number
}

/** Starts a host on a store and resolves when it has loaded the package. It is killed at the end of the test file. */
export async function host(store: TemporaryStore, options: HostOptions = {}): Promise<Host> {
  const [program, ...args] = [
    ...(options.under ?? []),
    options.runtime ?? process.execPath,
    ...(options.execArgv ?? []),
    join(__dirname, 'host-main.cjs'),
  ]
  const child = spawnChild(program!, args, {
    cwd: options.cwd ?? __dirname,
    env: {
      ...process.env,
      ...options.env,
      HOST_REGISTRY: JSON.stringify({ ...options.registry, storageDir: store.dir }),
    },
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  })
  const line = new HostLine(child)
  atTheEnd(() => line.kill('SIGKILL'))
  await within(line.ready, 'the host has loaded the package')
  return line
}

class HostLine implements Host {
  pid = 0
  readonly ready: Promise<void>
  readonly exited: Promise<HostExit>
  readonly silent: Promise<void>
  #child: ChildProcess
  #calls = new Map<number, { resolve(value: never): void; reject(error: Error): void }>()
  #lastCall = 0
  #said: unknown[] = []
  #listeners: ((value: never) => void)[] = []
  #printed = { stdout: '', stderr: '' }
  #gone: HostExit | undefined

  constructor(child: ChildProcess) {
    this.#child = child
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]!.setEncoding('utf8').on('data', (text: string) => {
        this.#printed[name] += text
      })
    }
    child.stdin!.on('error', () => {}) // EPIPE: `exited` tells that the host is gone
    this.exited = new Promise((resolve, reject) => {
      child.once('error', reject)
      // Not 'close': that would wait for every process that inherited one of the pipes.
      child.once('exit', (code, signal) => resolve({ code, signal }))
    })
    const answers = createInterface({ input: child.stdio[3] as Readable })
    this.silent = new Promise((resolve) => void answers.once('close', resolve))
    this.ready = new Promise((resolve, reject) => {
      answers.on('line', (text) => this.#hear(JSON.parse(text), resolve))
      this.exited.then((exit) => {
        this.#gone = exit
        reject(this.#ended())
        for (const call of this.#calls.values()) call.reject(this.#ended())
        this.#calls.clear()
      }, reject)
    })
    this.ready.catch(() => {}) // host() awaits it; a later end of the host is told by `exited`
  }

  #ended(): Error {
    const { code, signal } = this.#gone!
    return new Error(`the host has ended (${signal ?? `exit code ${code}`}); its stderr: ${this.#printed.stderr}`)
  }

  #hear(answer: Answer, ready: () => void): void {
    if (answer.ready !== undefined) {
      this.pid = answer.ready
      ready()
    } else if (answer.id === undefined) {
      const listener = this.#listeners.shift()
      if (listener) listener(answer.said as never)
      else this.#said.push(answer.said)
    } else {
      const call = this.#calls.get(answer.id)
      this.#calls.delete(answer.id)
      if (answer.error) call?.reject(Object.assign(new Error(answer.error.message), answer.error))
      else call?.resolve(answer.value as never)
    }
  }

  call<A extends unknown[], R>(order: Order<A, R>, ...args: A): Promise<Awaited<R>> {
    if (this.#gone) return Promise.reject(this.#ended())
    const id = ++this.#lastCall
    const answer = new Promise<Awaited<R>>((resolve, reject) => {
      this.#calls.set(id, { resolve, reject })
    })
    answer.catch(() => {}) // a test may kill the host without looking at what was going on in it
    this.#child.stdin!.write(`${JSON.stringify({ id, source: order.toString(), args })}\n`)
    return answer
  }

  heard<T>(what = 'the host says something', limitMs?: number): Promise<T> {
    if (this.#said.length > 0) return Promise.resolve(this.#said.shift() as T)
    return within(new Promise<T>((resolve) => this.#listeners.push(resolve)), what, limitMs)
  }

  untaken(): unknown[] {
    return [...this.#said]
  }

  leave(): void {
    this.#child.stdin!.write('{"leave":true}\n')
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<HostExit> {
    if (!this.#gone) this.#child.kill(signal)
    return within(this.exited, `the host is gone after ${signal}`)
  }

  printed(): { stdout: string; stderr: string } {
    return { ...this.#printed }
  }
}
