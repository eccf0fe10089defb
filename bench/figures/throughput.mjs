// Many short commands, one after the other and 32 at a time, and the longest time that the event loop stood still meanwhile.
import { join } from 'node:path'
import { FLOOR, nowMs, runFloor } from '../measure.mjs'
import { childProcess } from '../peers.mjs'

export async function throughput({ ours, dir, floor, quick }) {
  const count = quick ? 500 : 2000
  const floorPerSecond = (parallel) => {
    const { called, heard } = runFloor(floor, 'true', count, parallel)
    return count / ((heard - called) / 1000)
  }
  const alone = await run(ours, count, dir, 1)
  const [mine, theirs] = [await run(ours, count, dir, 32), await run(childProcess, count, dir, 32)]
  return [
    {
      title: '`true`, from the call to the callback',
      at: 'mean',
      peer: FLOOR,
      n: count,
      unit: 'ms',
      ours: 1000 / alone.perSecond,
      theirs: 1000 / floorPerSecond(1),
      goal: 2,
    },
    {
      title: `${count} short tasks, 32 at a time`,
      at: 'all',
      peer: FLOOR,
      n: count,
      unit: '/s',
      ours: mine.perSecond,
      theirs: floorPerSecond(32),
      goal: 0.9,
      more: true,
    },
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

function run(peer, count, dir, parallel) {
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
    for (let i = 0; i < parallel; i++) next()
  })
}
