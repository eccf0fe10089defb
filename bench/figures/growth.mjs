// What a call costs beside tasks that run already: flat, if nothing goes through all of them.
import { nowMs, percentile } from '../measure.mjs'

const CALLS = 100

export async function growth({ ours, quick }) {
  const counts = quick ? [1, 10, 100] : [1, 10, 100, 1000]
  const running = []
  const measured = []
  for (const count of counts) {
    const more = Array.from({ length: count - running.length }, () =>
      ours.tasks.spawn('exec sleep 600', { shell: '/bin/sh', notify: false }),
    )
    running.push(...(await Promise.all(more)))
    measured.push(await costs(ours.tasks, running[0]))
  }
  await Promise.all(running.map((id) => ours.tasks.kill(id, { graceMs: 0 })))
  return measured.slice(1).flatMap((cost, index) =>
    Object.entries(cost).map(([what, { unit, value }]) => ({
      title: `${what} beside ${counts[index + 1]} running tasks`,
      at: 'p50',
      peer: 'beside 1',
      n: CALLS,
      unit,
      ours: value,
      theirs: measured[0][what].value,
      drawn: false,
    })),
  )
}

async function costs(tasks, running) {
  const [blocked, whole, status] = [[], [], []]
  for (let call = 0; call < CALLS; call++) {
    const began = nowMs()
    const spawned = tasks.spawn('true', { shell: '/bin/sh', notify: false })
    blocked.push(nowMs() - began)
    await tasks.wait(await spawned)
    whole.push(nowMs() - began)
    const asked = nowMs()
    tasks.status(running, { previewBytes: 0 })
    status.push((nowMs() - asked) * 1000)
  }
  const median = (values, unit) => ({ unit, value: percentile(values, 0.5) })
  return {
    'JavaScript blocked per spawn': median(blocked, 'ms'),
    '`true`, from the call to its end': median(whole, 'ms'),
    status: median(status, 'µs'),
  }
}
