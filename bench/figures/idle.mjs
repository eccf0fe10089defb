// Running tasks that say nothing: how often anything of ours wakes, and what it weighs.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export async function idle({ ours, dir, quick }) {
  const [count, seconds] = quick ? [100, 5] : [1000, 20]
  const memory = fileURLToPath(new URL('../memory.mjs', import.meta.url))
  const hostBytes = Number(
    execFileSync(process.execPath, [memory, join(dir, 'memory'), `${count}`], { encoding: 'utf8' }),
  )
  const start = () => ours.tasks.spawn('exec sleep 600', { shell: '/bin/sh', notify: false })
  const ids = await Promise.all(Array.from({ length: count }, start))
  const supervisors = ids.map((id) => parentOf(ours.tasks.status(id, { previewBytes: 0 }).pid))
  // Each wakes once in its second second, to send what was asked to the disk.
  await pause(3000)
  const before = switches(supervisors)
  await pause(seconds * 1000)
  const after = switches(supervisors)
  const pss = supervisors.reduce((sum, pid) => sum + pssOf(pid), 0) / count
  await Promise.all(ids.map((id) => ours.tasks.kill(id, { graceMs: 0 })))
  const row = { at: 'all', peer: '–', n: count }
  return [
    {
      ...row,
      title: `switches of our threads and supervisors in ${seconds} s, ${count} idle tasks`,
      unit: '',
      ours: after - before,
      absolute: 0,
    },
    { ...row, title: 'memory of a supervisor (PSS)', unit: 'KB', ours: pss, absolute: 20 },
    {
      ...row,
      title: `memory of a task in the host, beyond ${count / 2} others`,
      unit: 'KB',
      ours: hostBytes / 1024,
      absolute: 4,
    },
  ]
}

const stat = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
const parentOf = (pid) => Number(stat(pid)[1])

function pssOf(pid) {
  return Number(/^Pss: *(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1])
}

/** Voluntary switches of the supervisors and of this process's own outlive threads. */
function switches(supervisors) {
  const count = (path) => Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(readFileSync(`${path}/status`, 'utf8'))[1])
  const threads = readdirSync('/proc/self/task').map((thread) => `/proc/self/task/${thread}`)
  const mine = threads.filter((path) => readFileSync(`${path}/comm`, 'utf8').trim() === 'outlive')
  return [...mine, ...supervisors.map((pid) => `/proc/${pid}`)].reduce((sum, path) => sum + count(path), 0)
}
