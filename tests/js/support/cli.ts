/** The command line as people run it: a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { TemporaryStore } from './store'
import { atTheEnd, within } from './waiting'

export const CLI = join(__dirname, '../../../bin/outlive.js')

export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

export interface CommandLine {
  /** Runs it, under another program if one is named, and says what has been seen of it so far. */
  start(args: string[], under?: string[]): { child: ChildProcess; seen: Ran; ended: Promise<Ran> }
  /** Runs it to its end. */
  outlive(...args: string[]): Promise<Ran>
}

/** Command lines over a store, in an environment that is changed by `more`. */
export function commandLine(store: Pick<TemporaryStore, 'dir'>, more: NodeJS.ProcessEnv = {}): CommandLine {
  const start: CommandLine['start'] = (args, under = []) => {
    const [program, ...rest] = [...under, process.execPath, CLI, ...args]
    const env = { ...process.env, OUTLIVE_DIR: store.dir, ...more }
    const child = spawn(program!, rest, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    atTheEnd(() => child.kill('SIGKILL'))
    const seen: Ran = { code: null, stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text) => (seen.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text) => (seen.stderr += text))
    const ended = new Promise<Ran>((resolve, reject) => {
      child.once('error', reject).once('close', (code) => resolve(Object.assign(seen, { code })))
    })
    return { child, seen, ended: within(ended, `outlive ${args.join(' ')} ends`, 30_000) }
  }
  return { start, outlive: (...args) => start(args).ended }
}
