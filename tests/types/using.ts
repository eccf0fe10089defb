// What TypeScript 5.2 and later allow besides.
import { TaskRegistry } from 'outlive'

export function use(): void {
  using tasks = new TaskRegistry()
  using told = tasks.onCompletion(() => {})
  told.ref()
}
