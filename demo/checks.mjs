// What must hold at the end of the demo, looked up where it can be seen: in the store and in /proc.
import { readdirSync, readFileSync } from 'node:fs'
import { LIMIT, WORK } from './work.mjs'

const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`

/** Processes that carry the mark of one of these tasks. */
export function survivors(ids) {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false
    try {
      const mark = /(?:^|\0)OUTLIVE_TASK_ID=(bash-[0-9a-f]{16})/.exec(readFileSync(`/proc/${name}/environ`, 'latin1'))
      return mark !== null && ids.has(mark[1])
    } catch {
      return false // It ended while we looked, or is another user's.
    }
  })
}

/** A task whose news the first host held when it was killed is told again by the second, which says so: attempt 2. */
function isToldOnce(times) {
  const byFirst = times.filter((one) => one.host === 1)
  const bySecond = times.filter((one) => one.host === 2)
  if (byFirst.some((one) => one.attempt !== 1) || byFirst.length > 1 || bySecond.length > 1) return false
  const [again] = bySecond
  if (again === undefined) return byFirst.length === 1
  return byFirst.length === 1 ? again.attempt === 2 : again.attempt <= 2
}

function mismatches(ended, told) {
  return WORK.flatMap((wanted) => {
    const task = ended.find((one) => one.description === wanted.name)
    const got = [task?.status, task?.exitCode]
    const want = [wanted.status, wanted.exitCode]
    // Only where the work is to leave something behind: elsewhere /proc has the last word, at the end.
    if (wanted.descendants !== undefined) {
      got.push(`${told.get(task?.taskId)?.at(-1)?.descendants} left behind`)
      want.push(`${wanted.descendants} left behind`)
    }
    return `${got}` === `${want}` ? [] : [`${wanted.name}: ${got.join(', ')} instead of ${want.join(', ')}`]
  })
}

/** Pairs of what should hold and whether it does. */
export function verdicts({ store, started, told, ended, removed, disk, most, unheard }) {
  const ids = new Set([...started.keys(), ...ended.map((task) => task.taskId)])
  const tellings = [...told.values()]
  const again = tellings.filter((times) => times.some((one) => one.attempt > 1)).length
  const heldBack = again === 0 ? '' : ` (${again} was in the hands of the host that was killed, and was told again)`
  const wrong = mismatches(ended, told)
  const written = ended.find((task) => task.taskId === disk.id)?.stdoutBytes ?? 0
  const left = readdirSync(store, { recursive: true }).filter((path) => /(^|\/)bash-[0-9a-f]{16}$/.test(path))
  const alive = survivors(ids)
  return [
    [
      `each of the ${WORK.length} ends was told exactly once${heldBack}`,
      ids.size === WORK.length && told.size === ids.size && tellings.every(isToldOnce),
    ],
    ['both hosts were told something', new Set(tellings.flat().map((one) => one.host)).size === 2],
    [`${unheard.size} ended while no host was there`, unheard.size > 0],
    [`everything ended as it should${wrong.map((line) => `\n    ${line}`).join('')}`, wrong.length === 0],
    [
      `\`yes\` wrote ${mib(written)} and has ${mib(disk.bytes)} on the disk, under 2 x ${mib(LIMIT)} (at most ${mib(most)} while it ran)`,
      disk.bytes > 0 && disk.bytes < 2 * LIMIT && written > LIMIT,
    ],
    [
      `cleanup took away ${removed} tasks and left ${left.length} task directories`,
      removed === WORK.length && left.length === 0,
    ],
    [`${alive.length === 0 ? 'no' : alive.join(', ')} process of a task is left`, alive.length === 0],
  ]
}
