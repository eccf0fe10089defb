/** Subscriptions that remember what they were told. */
import type { Completion, CompletionOptions, Subscription, TaskRegistry } from 'outlive'
import { eventually } from './waiting'

export interface Listener {
  readonly subscription: Subscription
  /** Every completion that the callback got, in that order. */
  readonly heard: Completion[]
  /** Resolves when the callback has run `count` times since it was subscribed. */
  times(count: number): Promise<unknown>
}

/** Subscribes to one session; `react` is the rest of the callback, and its answer the callback's. */
export function listen(
  tasks: TaskRegistry,
  sessionId: string,
  react: (completion: Completion) => unknown = () => {},
  options: CompletionOptions = {},
): Listener {
  const heard: Completion[] = []
  const onCompletion = (completion: Completion): unknown => {
    heard.push(completion)
    return react(completion)
  }
  const subscription = tasks.onCompletion(onCompletion, { sessionId, ...options })
  const times = (count: number) => eventually(() => heard.length >= count, `${count} completions in ${sessionId}`)
  return { subscription, heard, times }
}
