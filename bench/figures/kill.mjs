// From the decision to kill a plain `sleep` to the callback.
import { spawn } from 'node:child_process'
import { nowMs, spread } from '../measure.mjs'

export async function kill({ ours, quick }) {
  const n = quick ? 50 : 300
  const [mine, theirs] = [[], []]
  for (let round = 0; round < n; round++) {
    mine.push(await killOurs(ours.tasks))
    theirs.push(await killTheirs())
  }
  const [a, b] = [spread(mine), spread(theirs)]
  const row = { title: 'kill → callback of `sleep`', peer: 'process.kill(-pid)', n, unit: 'ms' }
  return [
    { ...row, at: 'p50', ours: a.p50, theirs: b.p50, goal: 1.3 },
    { ...row, at: 'p99', ours: a.p99, theirs: b.p99 },
  ]
}

async function killOurs(tasks) {
  const id = await tasks.spawn('exec sleep 600', { shell: '/bin/sh', notify: false })
  const began = nowMs()
  await tasks.kill(id)
  return nowMs() - began
}

function killTheirs() {
  return new Promise((resolve) => {
    const child = spawn('sh', ['-c', 'exec sleep 600'], { detached: true, stdio: 'ignore' })
    child.on('spawn', () => {
      const began = nowMs()
      child.on('exit', () => resolve(nowMs() - began))
      process.kill(-child.pid, 'SIGTERM')
    })
  })
}
