// N5: misuse that TypeScript can see is an error before anything runs. `tsc` is the judge: it fails on each
// `@ts-expect-error` under which there is none.

import * as outlive from 'outlive'
import { type Completion, type OutputChunk, type SpawnOptions, spawn, TaskRegistry, type TaskSnapshot } from 'outlive'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <T extends true>(): T | undefined => undefined

/** Never called: for `tsc` only. */
async function uses(tasks: TaskRegistry): Promise<void> {
  holds<Same<ReturnType<typeof tasks.spawn>, Promise<string>>>()
  holds<Same<ReturnType<typeof tasks.status>, TaskSnapshot | null>>()
  holds<Same<ReturnType<typeof tasks.output>, OutputChunk>>()
  holds<Same<ReturnType<typeof tasks.drain>, Completion[]>>()
  holds<Same<typeof spawn, TaskRegistry['spawn']>>()

  const options: SpawnOptions = { env: { ...process.env, REMOVED: undefined }, metadata: { any: ['thing'] } }
  await tasks.spawn('true', options)
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
  // @ts-expect-error an array of ids
  tasks.ack('id')
  // @ts-expect-error null until it has ended
  const finished: number = tasks.status('id')!.finishedAt
  // @ts-expect-error metadata is unknown until it is looked at
  tasks.status('id')?.metadata.field
  void finished
}

test('what the types declare is there', () => {
  expect(uses).toBeInstanceOf(Function)
  expect(outlive).toMatchObject({ TaskRegistry, spawn })
})
