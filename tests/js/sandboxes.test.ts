import { spawnSync } from 'node:child_process'
import { patient, readyFifo, treeOf } from './support/guests'
import { host } from './support/host'
import { temporaryStore } from './support/store'

const store = temporaryStore()
const tasks = store.registry()

/** As a sandbox for agents starts it. */
const sandbox = 'bwrap --unshare-user --unshare-pid --ro-bind / / --dev /dev --proc /proc --new-session'
const mayUnshare = spawnSync('sh', ['-c', `${sandbox} true`]).status === 0
if (!mayUnshare) console.warn('skipped: bwrap is not installed, or may not make namespaces')
const withBwrap = mayUnshare ? describe : describe.skip

withBwrap('a command in a pid namespace of its own', () => {
  test.each(['', ' --die-with-parent'])('leaves nothing behind when it ends (bwrap%s)', async (more) => {
    const left: number[] = []
    for (let round = 0; round < 20; round++) {
      const ended = await tasks.wait(await tasks.spawn(`${sandbox}${more} sh -c 'exit 3'`))
      expect(ended.exitCode).toBe(3)
      left.push(ended.descendants)
    }
    // bwrap is gone before its namespace's first process every second time, and on a busy machine that one may take longer than it is waited for.
    expect(left.filter((count) => count > 0).length).toBeLessThan(4)
  })

  test('may leave something behind, which is counted and within reach of kill', async () => {
    const ready = readyFifo(store)
    const id = await tasks.spawn(
      `${sandbox} --bind ${store.dir} ${store.dir} sh -c 'setsid sleep 600 & echo > ${ready.path}'`,
    )
    await ready.line()
    expect((await tasks.wait(id)).descendants).toBe(2)
    await tasks.kill(id)
    expect(tasks.status(id)?.descendants).toBe(0)
    expect(treeOf(id)).toEqual([])
  })
})

const emulated = ['proot', '-r', '/', '-b', '/proc', '-b', '/dev']
const mayEmulate = spawnSync(emulated[0]!, [...emulated.slice(1), 'true']).status === 0
if (!mayEmulate) console.warn('skipped: proot is not installed, or may not trace')
const withProot = mayEmulate ? test : test.skip

withProot('under proot, which knows no /proc/thread-self, kill reaches what has left its group', async () => {
  const node = await host(store, { under: emulated })
  const ready = readyFifo(store)
  const sessionId = 'proot'
  const command = `setsid sh -c '${patient(ready)}' & ${patient(ready)}`
  const id = await node.call(
    ({ tasks }, ...given) => tasks.spawn(given[0], { sessionId: given[1] }),
    command,
    sessionId,
  )
  for (const _ of 'ab') await ready.line()
  const killed = await node.call(({ tasks }, id, sessionId) => tasks.kill(id, { sessionId, graceMs: 0 }), id, sessionId)
  expect(killed).toMatchObject({ status: 'killed', descendants: 0 })
  expect(treeOf(id)).toEqual([])
  await node.kill()
})
