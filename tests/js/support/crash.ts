/**
 * A host lives through everything that can happen to tasks, and something kills it or their supervisors on the way. What
 * must hold whatever was killed is in `expectNothingLost`.
 */
import { chmodSync, existsSync, lutimesSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TaskSnapshot } from 'outlive'
import { processesOf, statOf, treeOf } from './guests'
import { type Host, type HostScope, host } from './host'
import { atTheEnd, eventually, type TemporaryStore, temporaryStore, within } from './store'

/** What the first host said about itself before it went. */
export interface Story {
  store: TemporaryStore
  /** The addon that the hosts load; undefined: the usual one. */
  addon?: string | undefined
  /** Each command that ran has left a file with its task's id here. */
  marks: string
  /** Ids that `spawn` resolved with. */
  spawned: Set<string>
  /** Ids whose completion reached the callback, once for each time. */
  told: string[]
  /** Ids of which the host knew that their completion was accepted for good. */
  accepted: Set<string>
  /** How tasks had ended when the host removed them. */
  ended: TaskSnapshot[]
  /** The story came to its end. */
  done: boolean
}

interface Said {
  spawned?: string
  told?: string
  accepted?: string
  ended?: TaskSnapshot[]
  done?: boolean
}

/** A store for one story. */
export function newStory(addon?: string): Story {
  const store = temporaryStore()
  const marks = mkdtempSync(join(tmpdir(), 'outlive-marks-'))
  atTheEnd(() => rmSync(marks, { recursive: true }))
  writeFileSync(join(marks, 'broken-shell'), 'no program')
  chmodSync(join(marks, 'broken-shell'), 0o755)
  return { store, addon, marks, spawned: new Set(), told: [], accepted: new Set(), ended: [], done: false }
}

/** Runs in the host: each task's description says how it has to end. `brief`: all ends by itself in a moment. */
async function live({ tasks, say }: HostScope, marks: string, brief: boolean) {
  const { existsSync } = require('node:fs')
  const { setTimeout: pause } = require('node:timers/promises')
  const accepted = new Set<string>()
  tasks.onCompletion((news) => {
    say({ told: news.taskId })
    void seeAccepted(news.taskId)
  })
  async function seeAccepted(id: string) {
    while (!tasks.status(id)?.completionDelivered) await pause(2)
    say({ accepted: id })
    accepted.add(id)
  }
  const started: string[] = []
  async function start(description: string, command: string, options = {}) {
    try {
      const id = await tasks.spawn(command, { description, env: { MARKS: marks }, ...options })
      say({ spawned: id })
      started.push(id)
      return id
    } catch {
      return undefined // its supervisor was killed before the command ran
    }
  }
  const mark = ': > "$MARKS/$OUTLIVE_TASK_ID"'
  const forever = `trap '' TERM; ${mark}; while :; do sleep 0.05; done`
  const lingerer = await start('lingerer', `${mark}; sleep ${brief ? 0.3 : 1000} & exit 3`)
  await start('orphan', `${mark}; setsid sleep 1000 & kill -9 $PPID; sleep 1000`)
  await start('unrunnable', mark, { shell: `${marks}/broken-shell` })
  await start('flood', `${mark}; head -c 400000 /dev/zero; exit 4`, { maxOutputBytes: 65536 })
  await start('short', `${mark}; exit 7`)
  const stubborn = await start('stubborn', forever, { graceMs: 20, timeoutMs: brief ? 700 : 0 })
  if (stubborn) {
    const runs = () => existsSync(`${marks}/${stubborn}`) || tasks.status(stubborn)?.finishedAt
    while (!runs()) await pause(2)
    await tasks.kill(stubborn)
  }
  for (const id of started) await tasks.wait(id)
  if (lingerer) await tasks.kill(lingerer)
  while (!started.every((id) => accepted.has(id))) await pause(2)
  say({ ended: tasks.list() })
  await tasks.cleanup({ olderThanMs: 0, undeliveredOlderThanMs: 0 })
  say({ done: true })
}

/** Runs the story in a host until something kills the host, or to its end; `meanwhile` may do the killing. */
export async function runStory(
  story: Story,
  { brief = false, plan, meanwhile }: { brief?: boolean; plan?: string; meanwhile?: (node: Host) => Promise<unknown> },
): Promise<Host> {
  const node = await host(story.store, { env: { OUTLIVE_NATIVE: story.addon, OUTLIVE_FAILPOINTS: plan } })
  const over = node.call(live, story.marks, brief).catch(() => {}) // a host that is killed does not answer
  await Promise.race([within(Promise.race([over, node.exited]), 'the story ends', 40_000), meanwhile?.(node) ?? over])
  await node.kill()
  await within(node.silent, 'all that the host said has arrived')
  for (const said of node.untaken() as Said[]) {
    if (said.spawned) story.spawned.add(said.spawned)
    if (said.told) story.told.push(said.told)
    if (said.accepted) story.accepted.add(said.accepted)
    if (said.ended) story.ended = said.ended
    story.done ||= said.done ?? false
  }
  return node
}

/** Supervisors of the story's tasks that live now. */
export function supervisorsOf(story: Story): number[] {
  return story.store.taskIds().flatMap((id) => {
    const tree = new Set(treeOf(id))
    const others = processesOf(id).filter((pid) => !tree.has(pid))
    // Until its exec the leader looks like its supervisor.
    return others.filter((pid) => !others.includes(statOf(pid)?.ppid ?? 0))
  })
}

/** Waits until time has done its work with no host there: no supervisor is left. */
export async function letTimePass(story: Story): Promise<void> {
  await eventually(() => supervisorsOf(story).length === 0, 'all supervisors have gone')
}

const fileOf = (story: Story, id: string, name: string) => join(story.store.taskDir(id) ?? '/nowhere', name)

/** A fresh host finds every task in a state that can be true, tells what was not accepted, and can clear everything away. */
export async function expectNothingLost(story: Story, { mayBeLost = false, allEnded = false }): Promise<void> {
  const delivered = new Set(story.store.taskIds().filter((id) => existsSync(fileOf(story, id, 'delivered'))))
  const node = await host(story.store, { env: { OUTLIVE_NATIVE: story.addon } })
  const finished = within(node.call(finish), 'all ends under the next host', 40_000)
  const { ended, before } = await finished.catch(async ({ message }) => {
    throw new Error(`${message}; ${await standing(node)}`)
  })
  const known = new Set(ended.map((task) => task.taskId))

  if (allEnded) expect(before.filter((task) => task.finishedAt === null)).toEqual([])
  for (const task of [...story.ended, ...ended]) expectPossible(story, task, mayBeLost)
  // A task that was removed had been told; one that ran is known.
  expect([...story.spawned].filter((id) => !known.has(id) && !story.told.includes(id))).toEqual([])
  const ran = readdirSync(story.marks).filter((name) => name.startsWith('bash-'))
  expect(ran.filter((id) => !known.has(id) && !story.spawned.has(id))).toEqual([])

  const missing = ended.map((task) => task.taskId).filter((id) => !delivered.has(id))
  const toldNow = () => (node.untaken() as Said[]).flatMap((said) => said.told ?? [])
  await eventually(() => toldNow().length >= missing.length, `${missing.length} completions are told again`)
  expect(toldNow().sort()).toEqual(missing.sort())
  expect(story.told.filter((id, index) => story.told.indexOf(id) !== index)).toEqual([])
  expect([...delivered].filter((id) => !story.told.includes(id))).toEqual([])
  expect([...story.accepted].filter((id) => missing.includes(id))).toEqual([])

  const all = [...new Set([...known, ...story.spawned])]
  await eventually(() => all.flatMap(processesOf).length === 0, 'nothing of any task is alive')
  await expectCleared(story, node)
  await node.kill()
}

/** Runs in the fresh host: everything comes to its end. */
async function finish({ tasks, say }: HostScope): Promise<{ before: TaskSnapshot[]; ended: TaskSnapshot[] }> {
  tasks.onCompletion((news) => say({ told: news.taskId }))
  await tasks.replay()
  const before = tasks.list()
  const ends = before.map(async (task) => {
    if (task.description !== 'stubborn') await tasks.wait(task.taskId)
    return tasks.kill(task.taskId)
  })
  return { before, ended: await Promise.all(ends) }
}

/** How the tasks of a host stand that has not come to an end with them, and which processes of theirs do what. */
async function standing(node: Host): Promise<string> {
  const list = node.call(({ tasks }) => tasks.list({ previewBytes: 0 }))
  const states = (await within(list, 'the host says how its tasks stand')).map((task) => {
    const processes = processesOf(task.taskId).map((pid) => `${pid} ${statOf(pid)?.state}`)
    return `${task.description}: ${task.status}, ${processes.join(', ') || 'nobody'}`
  })
  return states.join('; ')
}

/** Never started, ended with the code that is its own, or lost where that is possible. */
function expectPossible(story: Story, task: TaskSnapshot, mayBeLost: boolean): void {
  const { description, status, cause, exitCode } = task
  const ran = existsSync(join(story.marks, task.taskId))
  const outcome = `${description}: ${status} ${cause} ${exitCode}`
  if (cause === 'spawn_error') {
    expect({ outcome, ran }).toEqual({ outcome: `${description}: failed spawn_error null`, ran: false })
    return
  }
  const own: Record<string, string[]> = {
    stubborn: ['killed kill null', 'timed_out timeout 124'],
    lingerer: ['failed exit 3'],
    orphan: ['lost supervisor_lost null'],
    unrunnable: [],
    flood: ['failed exit 4'],
    short: ['failed exit 7'],
  }
  const lost = mayBeLost ? ['lost supervisor_lost null'] : []
  expect([...own[description!]!, ...lost].map((end) => `${description}: ${end}`)).toContain(outcome)
}

/** What is no task goes by its age alone; then nothing is left but the sessions and the supervisor's executable. */
async function expectCleared(story: Story, node: Host): Promise<void> {
  const clear = () =>
    node.call(({ tasks }) =>
      tasks.cleanup({ olderThanMs: 0, undeliveredOlderThanMs: 0 }).then(() => tasks.list().length),
    )
  expect(await clear()).toBe(0)
  const longAgo = Date.now() / 1000 - 2 * 3600
  for (const path of readdirSync(story.store.dir, { recursive: true }) as string[]) {
    lutimesSync(join(story.store.dir, path), longAgo, longAgo)
  }
  await clear()
  const kept = /^(supervisor-[0-9a-f]{16}|[0-9a-f]{32}(\/(session|owner))?)$/
  const left = (readdirSync(story.store.dir, { recursive: true }) as string[]).filter((path) => !kept.test(path))
  expect(left).toEqual([])
}
