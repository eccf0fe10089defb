// Reading: a status of a large log, a restart with many finished tasks, and the price of a bounded log.
import { spawnSync } from 'node:child_process'
import { statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { TaskRegistry } from '../../index.js'
import { nowMs, spread } from '../measure.mjs'

export async function store(context) {
  return [...(await status(context)), ...(await replay(context)), ...(await capture(context))]
}

async function status({ ours, quick }) {
  // The same text in both: what is shown of it has to be escaped.
  const small = await ours.tasks.spawn('yes | head -c 1000', { notify: false })
  const large = await ours.tasks.spawn(`yes | head -c ${quick ? 1 << 28 : 1 << 30}`, {
    notify: false,
    maxOutputBytes: 0,
  })
  await Promise.all([ours.tasks.wait(small), ours.tasks.wait(large)])
  const time = (id) => {
    const began = nowMs()
    ours.tasks.status(id, { previewBytes: 1000 })
    return (nowMs() - began) * 1000
  }
  const samples = Array.from({ length: 2000 }, () => [time(small), time(large)])
  const [a, b] = [0, 1].map((at) => spread(samples.map((sample) => sample[at])))
  truncateSync(ours.tasks.status(large).stdoutPath)
  const size = quick ? '256 MB' : '1 GB'
  const row = { title: `status of a log of ${size}, 1 KB shown`, peer: 'of a log of 1 KB', unit: 'µs', n: 2000 }
  return [
    { ...row, at: 'p50', ours: b.p50, theirs: a.p50, goal: 1.2, absolute: 35 },
    { ...row, at: 'p99', ours: b.p99, theirs: a.p99 },
  ]
}

async function replay({ dir, quick }) {
  const counts = quick ? [100, 1000] : [100, 1000, 10_000]
  const storageDir = join(dir, 'many')
  const rows = []
  let made = 0
  for (const count of counts) {
    await finish(count - made, storageDir)
    made = count
    const times = []
    for (let round = 0; round < 5; round++) {
      const again = new TaskRegistry({ storageDir })
      const began = nowMs()
      await again.replay()
      times.push(nowMs() - began)
      again.detach()
    }
    const row = { title: `replay of ${count} finished tasks, warm`, at: 'p50', peer: '–', n: 5, unit: 'ms' }
    const absolute = count === counts.at(-1) ? (150 * count) / 10_000 : undefined
    rows.push({ ...row, ours: spread(times).p50, absolute })
  }
  return rows
}

/** Leaves that many finished tasks in a store. */
async function finish(count, storageDir) {
  const tasks = new TaskRegistry({ storageDir, maxRunning: 64 })
  let left = count
  const lane = async () => {
    while (left-- > 0) await tasks.wait(await tasks.spawn('true', { shell: '/bin/sh', notify: false }))
  }
  await Promise.all(Array.from({ length: 32 }, lane))
  tasks.detach()
}

/** The time, and the most that the file had on the disk meanwhile. */
async function captured(tasks, command, limit) {
  const began = nowMs()
  const id = await tasks.spawn(command, { maxOutputBytes: limit, notify: false })
  const path = tasks.status(id).stdoutPath
  let highest = 0
  const watch = setInterval(() => {
    highest = Math.max(highest, statSync(path).blocks * 512)
  }, 2)
  await tasks.wait(id)
  clearInterval(watch)
  truncateSync(path)
  return [nowMs() - began, highest]
}

function written(command, file) {
  const began = nowMs()
  spawnSync('sh', ['-c', `${command} > ${file}`])
  const ms = nowMs() - began
  truncateSync(file)
  return ms
}

async function capture({ ours, dir, quick }) {
  const [bytes, limit, rounds] = quick ? [1 << 28, 25 << 20, 3] : [1 << 30, 100 << 20, 5]
  const command = `yes | head -c ${bytes}`
  const [mine, highest, theirs] = [[], [], []]
  for (let round = 0; round < rounds; round++) {
    const [ms, most] = await captured(ours.tasks, command, limit)
    mine.push(ms)
    highest.push(most)
    theirs.push(written(command, join(dir, 'plain')))
  }
  return [
    {
      at: 'p50',
      n: rounds,
      title: `capture of ${bytes >> 20} MB at a limit of ${limit >> 20} MB`,
      peer: 'a plain file',
      unit: 'ms',
      ours: spread(mine).p50,
      theirs: spread(theirs).p50,
      goal: 1.25,
    },
    {
      at: 'max',
      n: rounds,
      title: 'disk high-water of that',
      peer: 'the limit',
      unit: 'MB',
      ours: Math.max(...highest) / 2 ** 20,
      theirs: limit / 2 ** 20,
      goal: 1.4,
    },
  ]
}
