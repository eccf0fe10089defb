// N5: misuse that TypeScript can see is an error before anything runs. `tsc` is the judge: it fails on each
// `@ts-expect-error` under which there is none.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type * as outlive from 'outlive'
import type {
  Completion,
  ErrorCode,
  OutliveError,
  OutputChunk,
  ReplayReport,
  SpawnOptions,
  Subscription,
  sessions,
  spawn,
  TaskRegistry,
  TaskSnapshot,
  TaskStatus,
  TerminalStatus,
} from 'outlive'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <T extends true>(): T | undefined => undefined

/** Never called: for `tsc` only. */
async function uses(tasks: TaskRegistry): Promise<void> {
  holds<Same<ReturnType<typeof tasks.spawn>, Promise<string>>>()
  holds<Same<ReturnType<typeof tasks.status>, TaskSnapshot | null>>()
  holds<Same<ReturnType<typeof tasks.output>, OutputChunk>>()
  holds<Same<ReturnType<typeof tasks.drain>, Completion[]>>()
  holds<Same<typeof spawn, TaskRegistry['spawn']>>()
  holds<Same<typeof sessions, () => string[]>>()
  holds<Same<ReturnType<typeof tasks.replay>, Promise<ReplayReport>>>()
  holds<Same<ReturnType<typeof tasks.kill>, Promise<TaskSnapshot>>>()
  holds<Same<ReturnType<typeof tasks.wait>, Promise<TaskSnapshot>>>()
  holds<Same<ReturnType<typeof tasks.shutdown>, Promise<TaskSnapshot[]>>>()
  holds<Same<ReturnType<typeof tasks.onCompletion>, Subscription>>()
  holds<Same<Completion['status'], TerminalStatus>>()
  holds<Same<Exclude<TaskStatus, TerminalStatus>, 'starting' | 'running' | 'killing'>>()
  // Every function of the package is a method of the same type, and no method is missing.
  holds<Same<Omit<typeof outlive, 'TaskRegistry'>, Omit<TaskRegistry, typeof Symbol.dispose>>>()

  const options: SpawnOptions = { env: { ...process.env, REMOVED: undefined }, metadata: { any: ['thing'] } }
  await tasks.spawn('true', options)
  // Also for a project with `exactOptionalPropertyTypes`, as this one is: a plugin hands on what its agent may have left out.
  const asked: { cwd?: string | undefined; timeout?: number | undefined } = {}
  await tasks.spawn('true', { cwd: asked.cwd, timeoutMs: asked.timeout, stderr: undefined, env: { A: undefined } })
  await tasks.wait('a', { sessionId: asked.cwd, timeoutMs: asked.timeout, signal: undefined })
  await tasks.kill('a', { signal: undefined, graceMs: asked.timeout })
  tasks.output('a', { stream: undefined, from: asked.timeout, wholeLines: undefined })
  tasks.onCompletion(async (completion) => {
    // @ts-expect-error a told task has ended
    completion.status === 'running'
    if (completion.status === 'timed_out') completion.exitCode?.toFixed()
  })
  tasks.ack(['a'] as const)
  using subscription = tasks.onCompletion(() => {})
  subscription.ref().unref().close()

  // @ts-expect-error milliseconds are a number
  tasks.spawn('true', { timeoutMs: '5s' })
  // @ts-expect-error no such option
  tasks.spawn('true', { timeout: 5 })
  // @ts-expect-error a command is one string
  tasks.spawn(['true'])
  // @ts-expect-error no such status
  tasks.list({ status: 'done' })
  // @ts-expect-error signals have names
  tasks.kill('id', { signal: 9 })
  // @ts-expect-error one of two words
  tasks.spawn('true', { stderr: 'both' })
  // @ts-expect-error one of two words
  tasks.onCompletion(() => {}, { ack: 'later' })
  // @ts-expect-error a callback takes a completion
  tasks.onCompletion((text: string) => text)
  // @ts-expect-error the session is no option here
  tasks.replay({ sessionId: 'a' })
  // @ts-expect-error it is about no session
  tasks.sessions('a')
  // @ts-expect-error a snapshot is not to be waited for
  tasks.status('id')?.then
  // @ts-expect-error an array of ids
  tasks.ack('id')
  // @ts-expect-error null until it has ended
  const finished: number = tasks.status('id')!.finishedAt
  // @ts-expect-error metadata is unknown until it is looked at
  tasks.status('id')?.metadata.field
  void finished
}

/** Never called: what a caller may do with an error. */
function told(error: OutliveError): string {
  if (error.code === 'TASK_LIMIT_EXCEEDED') return error.message
  // @ts-expect-error no such code
  if (error.code === 'TASK_LIMIT') return error.message
  const advice: Record<ErrorCode, string> = {
    INVALID_ARGUMENT: '',
    CWD_NOT_FOUND: '',
    SHELL_NOT_FOUND: '',
    TASK_LIMIT_EXCEEDED: '',
    TASK_NOT_FOUND: '',
    SPAWN_FAILED: '',
    STORAGE_FAILED: '',
    SUPERVISOR_UNAVAILABLE: '',
    KILL_REFUSED: '',
    REGISTRY_CLOSED: '',
    UNSUPPORTED_PLATFORM: '',
    INTERNAL: '',
  }
  return advice[error.code]
}

test('what the types declare is there, and nothing else', () => {
  expect([uses, told]).toEqual([expect.any(Function), expect.any(Function)])
  const types = readFileSync(join(__dirname, '../../index.d.ts'), 'utf8')
  const declared = [...types.matchAll(/^export (?:class|function|const) (\w+)/gm)].map((match) => match[1])
  expect(declared).toEqual(Object.keys(require('outlive')))
})
