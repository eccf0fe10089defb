/**
 * Several hosts on one session, killed, stopped, resumed, detached and started again while hundreds of tasks end, for a few seconds,
 * or as long as `just torture [minutes] [seed]` says. A failure names its seed.
 */
import { setTimeout as pause } from 'node:timers/promises'
import {
  closeAndListenAgain,
  detachAndPlayOn,
  expectToldOnce,
  killPlayer,
  lastTeller,
  newPlayer,
  type Player,
  pour,
} from './support/rain'
import { randomFrom } from './support/random'
import { type TemporaryStore, temporaryStore } from './support/store'

const MINUTES = Number(process.env.TORTURE_MINUTES ?? 0.1)
const SEED = Number(process.env.TORTURE_SEED ?? Date.now() % 1_000_000)
const HOSTS = 3
const BLOWS = 25

/** What befalls a host that may be the owner. One that is gone is replaced. */
async function strike(store: TemporaryStore, players: Player[], random: () => number): Promise<void> {
  const living = players.filter(({ isKilled }) => !isKilled)
  const anyone = living[Math.floor(random() * living.length)]!
  const victim = random() < 0.7 ? (lastTeller(living) ?? anyone) : anyone
  const blow = random()
  if (blow < 0.4) {
    // Stopped first, sometimes: then it dies in the middle of whatever it was at, and another takes over at once.
    if (random() < 0.3) process.kill(victim.node.pid, 'SIGSTOP')
    await killPlayer(victim)
    players.push(await newPlayer(store))
  } else if (blow < 0.7) {
    const signal = victim.isStopped ? 'SIGCONT' : 'SIGSTOP'
    process.kill(victim.node.pid, signal)
    victim.isStopped = !victim.isStopped
  } else if (blow < 0.85) detachAndPlayOn(victim)
  else closeAndListenAgain(victim)
}

async function run(seed: number): Promise<{ tasks: number; again: number; kills: number }> {
  const random = randomFrom(seed)
  const store = temporaryStore()
  const players = await Promise.all(Array.from({ length: HOSTS }, () => newPlayer(store)))
  for (let blow = 0; blow < BLOWS; blow++) {
    const living = players.filter(({ isKilled }) => !isKilled)
    pour(living[Math.floor(random() * living.length)]!, Math.floor(random() * 24))
    await pause(random() * 60)
    await strike(store, players, random)
  }
  for (const player of players) {
    if (player.isStopped && !player.isKilled) process.kill(player.node.pid, 'SIGCONT')
  }
  const outcome = await expectToldOnce(players)
  const kills = players.length - HOSTS
  await Promise.all(players.map(killPlayer))
  await store.remove()
  return { ...outcome, kills }
}

test(
  `hosts come and go while tasks end: each end is told once in total (seed ${SEED}, ${MINUTES} minutes)`,
  async () => {
    // D15 D16
    const end = Date.now() + MINUTES * 60_000
    const sum = { runs: 0, tasks: 0, again: 0, kills: 0 }
    for (let seed = SEED; sum.runs === 0 || Date.now() < end; seed++) {
      const { tasks, again, kills } = await run(seed).catch((error) => {
        throw new Error(`TORTURE_SEED=${seed}: ${error.stack}`)
      })
      sum.runs++
      sum.tasks += tasks
      sum.again += again
      sum.kills += kills
    }
    const { runs, tasks, again, kills } = sum
    process.stdout.write(`torture: ${runs} runs, ${tasks} tasks, ${kills} hosts killed, ${again} told again\n`)
    expect(tasks).toBeGreaterThan(runs * 50)
  },
  MINUTES * 60_000 + 180_000,
)
