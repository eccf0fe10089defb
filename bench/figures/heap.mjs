// The same with a heap of 1 GB: fork copies the page tables of the host, posix_spawn does not.
import { latency } from './latency.mjs'

export async function heap(context) {
  const bytes = 1 << 30
  // Objects, not one buffer: what counts is how many pages the process has touched.
  const ballast = Array.from({ length: bytes / (1 << 20) }, () => Buffer.alloc(1 << 20, 1))
  const rows = await latency({ ...context, quick: true })
  const goals = { 'JavaScript blocked per spawn': 0.002, 'call → running': 0.08, 'exit → callback': 0.15 }
  return rows
    .filter((row) => row.peer === 'child_process.spawn' && row.at === 'p50' && ballast.length > 0)
    .map((row) => ({ ...row, title: `${row.title}, 1 GB heap`, goal: goals[row.title] }))
}
