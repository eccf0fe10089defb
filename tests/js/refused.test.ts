/**
 * A supervisor that dies before its command starts, while another host owns the session: the caller of `spawn` is told, or the
 * owner is, and never both, nor neither.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { addonWithFailpoints } from './support/failpoints'
import { type Host, host } from './support/host'
import { eventually, type TemporaryStore, temporaryStore } from './support/store'

const BEFORE_THE_COMMAND = ['supervisor.at_start', 'supervisor.before_leader', 'supervisor.before_started_json']

let addon: string

beforeAll(async () => {
  addon = await addonWithFailpoints()
}, 300_000)

/** A host that owns the default session, and one that spawns under a plan. */
async function ownerAndSpawner(store: TemporaryStore, plan: string): Promise<{ owner: Host; spawner: Host }> {
  const owner = await host(store, { env: { OUTLIVE_NATIVE: addon } })
  await owner.call(({ tasks, say }) => void tasks.onCompletion(say, { sessionId: 'default' }))
  await toldOnly(owner)
  const spawner = await host(store, { env: { OUTLIVE_NATIVE: addon, OUTLIVE_FAILPOINTS: plan } })
  return { owner, spawner }
}

/** The owner starts a task of its own, and that is the next and only one that it hears of. */
async function toldOnly(owner: Host): Promise<void> {
  const id = await owner.call(({ tasks }) => tasks.spawn('exit 7'))
  expect(await owner.heard()).toMatchObject({ taskId: id, exitCode: 7, attempt: 1 })
  expect(owner.untaken()).toEqual([])
}

const spawnOnce = (spawner: Host, mark: string): Promise<string> =>
  spawner.call(
    ({ tasks }, mark) =>
      tasks.spawn(`: > ${mark}`).then(
        () => 'resolved',
        ({ code }) => code,
      ),
    mark,
  )

const finishOf = async (...nodes: Host[]) => void (await Promise.all(nodes.map((node) => node.kill())))

test.each(BEFORE_THE_COMMAND)(
  'killed at %s: the spawn rejects, leaves nothing, and no host tells of it',
  async (point) => {
    // D22
    const store = temporaryStore()
    // The owner has all the time it wants to find a task that ended without ever having started.
    const { owner, spawner } = await ownerAndSpawner(store, `${point}=kill;host.before_remove=delay(300ms)`)
    const mark = `${store.dir}/mark`
    for (let turn = 0; turn < 3; turn++) {
      const spawning = spawnOnce(spawner, mark)
      await eventually(() => store.taskIds().length > turn + 1, 'there is a task')
      // It is not told by looking either.
      while (store.taskIds().length > turn + 1) {
        await owner.call(async ({ tasks }) => void (await tasks.replay()))
        expect(await owner.call(({ tasks }) => tasks.pending())).toEqual([])
      }
      expect(await spawning).toBe('SPAWN_FAILED')
      await toldOnly(owner)
    }
    expect(existsSync(mark)).toBe(false)
    expect(await owner.call(({ tasks }) => tasks.list().filter(({ finishedAt }) => finishedAt === null))).toEqual([])
    await finishOf(owner, spawner)
  },
)

test('killed, and then its host too before it could say so: the owner tells that the command never ran', async () => {
  // P23 D22
  const store = temporaryStore()
  const { owner, spawner } = await ownerAndSpawner(
    store,
    'supervisor.before_leader=kill;host.before_remove=delay(60000ms)',
  )
  const mark = `${store.dir}/mark`
  const known = new Set(store.taskIds())
  void spawnOnce(spawner, mark)
  const id = await eventually(() => store.taskIds().find((id) => !known.has(id)), 'there is a task')
  // A torn one would be none, and who is killed then has started nothing.
  const record = `${store.taskDir(id)}/task.json`
  const isWhole = () => existsSync(record) && readFileSync(record, 'utf8').endsWith('\n')
  await eventually(isWhole, 'others can see it')
  const seen = () => owner.call(({ tasks }, id) => tasks.status(id)?.status ?? 'nothing', id)
  await eventually(async () => (await seen()) === 'nothing', 'the owner has looked, and left it to its host')
  await spawner.kill()
  expect(await owner.heard()).toMatchObject({ taskId: id, status: 'failed', cause: 'spawn_error', attempt: 1 })
  await toldOnly(owner)
  expect(existsSync(mark)).toBe(false)
  await finishOf(owner)
})

test('killed, and its registry detached in the same moment: rejected or told, as the caller was answered', async () => {
  // D22
  const store = temporaryStore()
  const { owner, spawner } = await ownerAndSpawner(store, 'supervisor.before_leader=kill')
  const before = new Set(store.taskIds())
  const resolved = await spawner.call(async ({ outlive }, storageDir) => {
    const ids: string[] = []
    for (let turn = 0; turn < 40; turn++) {
      const own = new outlive.TaskRegistry({ storageDir })
      const spawning = own.spawn('true')
      const pause = performance.now() + (turn % 10) / 4
      while (performance.now() < pause); // the loop is held, as a busy plugin holds it
      own.detach()
      await spawning.then((id) => ids.push(id)).catch(() => {})
    }
    return ids
  }, store.dir)
  const told = () => (owner.untaken() as { taskId: string }[]).map(({ taskId }) => taskId)
  await eventually(() => told().length >= resolved.length, 'what was not rejected is told')
  await eventually(() => readdirSync(store.dir).length > 0 && told().length === resolved.length, 'nothing else is told')
  expect(told().sort()).toEqual(resolved.sort())
  expect(
    store
      .taskIds()
      .filter((id) => !before.has(id))
      .sort(),
  ).toEqual(resolved.sort())
  await finishOf(owner, spawner)
})
