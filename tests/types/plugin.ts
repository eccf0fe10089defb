// What a plugin's author writes that the types have to allow, whatever TypeScript it is.
import { type Completion, type OutliveError, type Subscription, spawn, type TaskRegistry } from 'outlive'

const asError = (error: OutliveError): Error => error

interface PluginError extends OutliveError {
  plugin: string
}

export async function use(tasks: TaskRegistry, signal: AbortSignal): Promise<string> {
  const told: Subscription = tasks.onCompletion(({ taskId, attempt }: Completion) => `${taskId} ${attempt.toFixed()}`)
  try {
    await tasks.wait(await spawn('true', { timeoutMs: 5000 }), { signal })
    return 'done'
  } catch (error) {
    const { code, cause } = error as PluginError
    if (code === 'TASK_LIMIT_EXCEEDED') return asError(error as OutliveError).message
    return cause instanceof Error ? cause.message : code
  } finally {
    told[Symbol.dispose]()
    tasks[Symbol.dispose]()
  }
}
