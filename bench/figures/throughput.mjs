// Many short commands, 32 at a time, and the longest time that the event loop stood still meanwhile.
import { join } from 'node:path'
import { nowMs } from '../measure.mjs'
import { childProcess } from '../peers.mjs'

export async function throughput({ ours, dir, quick }) {
  const count = quick ? 500 : 2000
  const [mine, theirs] = [await run(ours, count, dir), await run(childProcess, count, dir)]
  return [
    {
      title: `${count} short tasks, 32 at a time`,
      at: 'all',
      peer: childProcess.name,
      n: count,
      unit: '/s',
      ours: mine.perSecond,
      theirs: theirs.perSecond,
      goal: 3.5,
      more: true,
    },
    {
      title: 'longest stall meanwhile',
      at: 'max',
      peer: childProcess.name,
      n: count,
      unit: 'ms',
      ours: mine.stall,
      theirs: theirs.stall,
      goal: undefined,
      absolute: 5,
    },
  ]
}

function run(peer, count, dir) {
  return new Promise((resolve) => {
    let [left, ended, stall, last] = [count, 0, 0, nowMs()]
    const probe = setInterval(() => {
      const now = nowMs()
      stall = Math.max(stall, now - last - 1)
      last = now
    }, 1)
    const began = nowMs()
    const next = () => {
      if (left-- > 0) peer.start('true', join(dir, 'throughput'), done)
    }
    const done = () => {
      next()
      if (++ended < count) return
      clearInterval(probe)
      resolve({ perSecond: count / ((nowMs() - began) / 1000), stall })
    }
    for (let i = 0; i < 32; i++) next()
  })
}
