/**
 * Hosts and supervisors killed at random moments, for a few seconds, or as long as `just torture [minutes] [seed]` says.
 * A failure names its seed: the same seed kills in the same order after the same pauses.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { expectNothingLost, letTimePass, newStory, runStory, supervisorsOf } from './support/crash'
import { randomFrom } from './support/random'

const MINUTES = Number(process.env.TORTURE_MINUTES ?? 0.1)
const SEED = Number(process.env.TORTURE_SEED ?? Date.now() % 1_000_000)
const AT_ONCE = 3

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone between the look and the signal.
  }
}

async function run(seed: number): Promise<void> {
  const random = randomFrom(seed)
  const story = newStory()
  const brief = random() < 0.5
  const victims = Math.floor(random() * 3)
  await runStory(story, {
    brief,
    meanwhile: async () => {
      for (let victim = 0; victim < victims; victim++) {
        await pause(random() * 150)
        const living = supervisorsOf(story)
        const pid = living[Math.floor(random() * living.length)]
        if (pid !== undefined) killIfThere(pid)
      }
      await pause(random() * 400)
    },
  })
  if (brief) await letTimePass(story)
  await expectNothingLost(story, { mayBeLost: victims > 0, allEnded: brief })
  await story.store.remove()
}

test(
  `whatever is killed at whatever moment, nothing is lost or told twice (seed ${SEED}, ${MINUTES} minutes)`,
  async () => {
    // P23 P31 P11 D1 D16 D22
    const end = Date.now() + MINUTES * 60_000
    let next = SEED
    let runs = 0
    const failed: string[] = []
    const worker = async () => {
      while (Date.now() < end && failed.length === 0) {
        const seed = next++
        await run(seed).catch((error) => failed.push(`TORTURE_SEED=${seed}: ${error.stack}`))
        runs++
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    process.stdout.write(`torture: ${runs} runs, seeds ${SEED} to ${next - 1}\n`)
    expect(failed.join('\n\n')).toBe('')
  },
  MINUTES * 60_000 + 60_000,
)
