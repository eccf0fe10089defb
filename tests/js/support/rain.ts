/**
 * Tasks that rain on a session with several hosts, each of which may be killed, stopped, detached or told to subscribe anew at any
 * moment. What each host said is all that is known of it; what must hold of that is in `expectToldOnce`.
 */
import type { Completion, TaskSnapshot } from 'outlive'
import { type Host, type HostScope, host } from './host'
import { eventually, type TemporaryStore } from './store'

export const SESSION = 'rain'

/** What a host says: a callback was called, and how it was over. `expected` is the outcome that the task was to have. */
interface Said {
  told?: string
  attempt: number
  outcome?: string
  expected?: string
  done?: string
  failed?: string
}

export interface Player {
  node: Host
  isKilled: boolean
  isStopped: boolean
  /** Tasks that are being started; it settles when the host dies, too. */
  pours: Promise<unknown>[]
}

interface Telling {
  task: string
  attempt: number
  by: Player
  /** The callback said that it was done, and returned. */
  isDone: boolean
  /** It said that it was not, and threw. */
  isFailed: boolean
}

/** Runs in a host: a registry of its own, in `shared`, that tells what it hears. */
function play({ outlive, say, shared }: HostScope, storageDir: string, sessionId: string): void {
  const { setTimeout: pause } = require('node:timers/promises')
  process.removeAllListeners('warning') // a callback that fails is told of; here it does so on purpose
  shared.play = () => {
    shared.tasks = new outlive.TaskRegistry({ storageDir, maxRunning: 1000 })
    shared.listen()
  }
  shared.listen = () => {
    const callback = ({ taskId, attempt, cause, exitCode, description, outputPreview }: Completion) => {
      say({ told: taskId, attempt, outcome: `${cause} ${exitCode}`, expected: `exit ${description}` })
      const done = () => say({ done: taskId, attempt })
      if (outputPreview.startsWith('slow')) return pause(20).then(done)
      if (outputPreview.startsWith('fails') && attempt === 1) {
        say({ failed: taskId, attempt })
        throw new Error('on purpose')
      }
      done()
    }
    shared.subscription = shared.tasks.onCompletion(callback, { sessionId })
  }
  shared.play()
}

export async function newPlayer(store: TemporaryStore): Promise<Player> {
  const node = await host(store)
  await node.call(play, store.dir, SESSION)
  return { node, isKilled: false, isStopped: false, pours: [] }
}

/** Starts tasks, without waiting for them: a host that is stopped starts them when it goes on, one that is killed never. */
export function pour({ node, pours }: Player, count: number): void {
  const started = node.call(
    async ({ shared }, count, sessionId) => {
      const words = ['', 'slow', '', 'fails', '']
      const start = (place: number) =>
        shared.tasks.spawn(`printf '%s' '${words[place % 5]}'; sleep 0.0${place % 10}; exit ${place}`, {
          sessionId,
          description: String(place),
        })
      // A registry that is detached meanwhile rejects.
      await Promise.allSettled(Array.from({ length: count }, (_, place) => start(place)))
    },
    count,
    SESSION,
  )
  pours.push(started.catch(() => {}))
}

export const detachAndPlayOn = ({ node }: Player) =>
  void node.call(({ shared }) => {
    shared.tasks.detach()
    shared.play()
  })

export const closeAndListenAgain = ({ node }: Player) =>
  void node.call(({ shared }) => {
    shared.subscription.close()
    shared.listen()
  })

export async function killPlayer(player: Player): Promise<void> {
  player.isKilled = true
  await player.node.kill()
  await player.node.silent
}

/** Whoever told something last is the owner, as far as anybody can know. */
export function lastTeller(players: Player[]): Player | undefined {
  const count = ({ node }: Player) => node.untaken().length
  return players.reduce<Player | undefined>(
    (best, next) => (best && count(best) >= count(next) ? best : next),
    undefined,
  )
}

function tellingsOf(players: Player[]): { tellings: Telling[]; wrong: string[] } {
  const tellings: Telling[] = []
  const wrong: string[] = []
  for (const by of players) {
    for (const said of by.node.untaken() as Said[]) {
      const { told, done, failed, attempt, outcome, expected } = said
      if (told) {
        tellings.push({ task: told, attempt, by, isDone: false, isFailed: false })
        // Its host was killed before it could start the supervisor.
        const isOutcome = outcome === expected || outcome === 'spawn_error null'
        if (!isOutcome) wrong.push(`${told} ended with ${outcome} in place of ${expected}`)
      } else {
        const task = done ?? failed
        const telling = tellings.find((one) => one.task === task && one.attempt === attempt && one.by === by)!
        telling.isDone ||= done !== undefined
        telling.isFailed ||= failed !== undefined
      }
    }
  }
  return { tellings, wrong }
}

/**
 * Each task was told, and once for all. It was told again where its callback failed, or where its host was killed: in the callback,
 * or in the moment between the callback's end and its acknowledgement, of which there is one for each kill.
 */
export async function expectToldOnce(players: Player[]): Promise<{ tasks: number; again: number }> {
  const living = players.find(({ isKilled }) => !isKilled)!
  const list = () =>
    living.node.call(({ shared }, sessionId) => {
      const all = shared.tasks.list({ sessionId, previewBytes: 0 })
      return all.map((task: TaskSnapshot) => ({ id: task.taskId, isDelivered: task.completionDelivered }))
    }, SESSION) as Promise<{ id: string; isDelivered: boolean }[]>
  // A host that was stopped goes on with what it was asked to start: until then there is no "all".
  await Promise.all(players.flatMap(({ pours }) => pours))
  const isAllDelivered = async () => (await list()).every(({ isDelivered }) => isDelivered)
  await eventually(isAllDelivered, 'all is delivered', 60_000)
  // What they said before has arrived when they answer.
  await Promise.all(players.filter(({ isKilled }) => !isKilled).map(({ node }) => node.call(() => {})))
  const ids = (await list()).map(({ id }) => id)
  const { tellings, wrong } = tellingsOf(players)
  const kills = players.filter(({ isKilled }) => isKilled).length
  let unheard = 0
  let toldAfterDone = 0
  let again = 0
  for (const id of ids) {
    const its = tellings.filter(({ task }) => task === id).sort((one, other) => one.attempt - other.attempt)
    const last = its.at(-1)
    if (!last?.isDone) {
      wrong.push(`${id} is delivered, and no callback has taken it`)
      continue
    }
    again += its.length - 1
    unheard += last.attempt - its.length
    toldAfterDone += its.slice(0, -1).filter(({ isDone }) => isDone).length
    its.forEach((telling, place) => {
      if (telling.attempt === its[place + 1]?.attempt) wrong.push(`${id} was told twice as attempt ${telling.attempt}`)
      const isExcused = telling === last || telling.isFailed || telling.by.isKilled
      if (!isExcused) wrong.push(`${id} was told again although the host of attempt ${telling.attempt} was fine`)
    })
  }
  const strangers = tellings.filter(({ task }) => !ids.includes(task)).map(({ task }) => task)
  expect({ wrong, strangers }).toEqual({ wrong: [], strangers: [] })
  // Killed between the byte that counts an attempt and the callback's first word, or behind its last.
  expect(unheard).toBeLessThanOrEqual(kills)
  expect(toldAfterDone).toBeLessThanOrEqual(kills)
  return { tasks: ids.length, again }
}
