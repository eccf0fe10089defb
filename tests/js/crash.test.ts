/** Every failpoint of host and supervisor, with a real SIGKILL: whatever is killed wherever, nothing is lost or told twice. */
import { expectNothingLost, letTimePass, newStory, runStory } from './support/crash'
import { addonWithFailpoints, failpoints } from './support/failpoints'

/** Most of a run is waiting for processes. */
const AT_ONCE = 4
const MINUTES = 60_000

let addon: string

beforeAll(async () => {
  addon = await addonWithFailpoints()
}, 5 * MINUTES)

/** Runs `check` for each point, a few at a time, and fails with all points for which it failed. */
async function forEachPoint(points: string[], check: (point: string) => Promise<void>): Promise<void> {
  const chosen = points.filter((point) => point.includes(process.env.FAILPOINT ?? ''))
  const failed: string[] = []
  const next = chosen.values()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const point of next) {
        await check(point).catch((error) => failed.push(`${point}: ${error.stack}`))
      }
    }),
  )
  expect(failed.join('\n\n')).toBe('')
}

describe('a host killed before or after any step of its own', () => {
  test(
    'and started again at once: each task never ran or is adopted, each end is told, none after its ack',
    async () => {
      // P23 P11 D1 D16 D22 R11
      await forEachPoint(failpoints('host'), async (point) => {
        const story = newStory(addon)
        const node = await runStory(story, { plan: `${point}=kill` })
        expect(`${(await node.exited).signal}, story done: ${story.done}`).toBe('SIGKILL, story done: false')
        await expectNothingLost(story, {})
      })
    },
    MINUTES,
  )

  test(
    'and started again when all has ended: deadlines held, codes are kept, each end is told',
    async () => {
      // P3 P14 P23 D3
      await forEachPoint(failpoints('host'), async (point) => {
        const story = newStory(addon)
        await runStory(story, { brief: true, plan: `${point}=kill` })
        expect(story.done).toBe(false)
        await letTimePass(story)
        await expectNothingLost(story, { allEnded: true })
      })
    },
    MINUTES,
  )
})

describe('a supervisor killed before or after any step of its own', () => {
  test(
    'under a host that lives on: its task never ran, ended, or is lost; its tree is gone',
    async () => {
      // P31 P2 D22
      await forEachPoint(failpoints('supervisor'), async (point) => {
        const story = newStory(addon)
        await runStory(story, { plan: `${point}=kill` })
        expect(story.done).toBe(true)
        await expectNothingLost(story, { mayBeLost: true })
      })
    },
    MINUTES,
  )

  test(
    'and the host killed as it finds out: the next host finds out too',
    async () => {
      // P31 P3 P11
      await forEachPoint(failpoints('supervisor'), async (point) => {
        const story = newStory(addon)
        const plan = `${point}=kill;host.before_sweep=kill;host.before_remove=kill`
        await runStory(story, { plan })
        expect(story.done).toBe(false)
        await expectNothingLost(story, { mayBeLost: true })
      })
    },
    MINUTES,
  )
})
