/** A command that has become another user's: no signal of its task's supervisor reaches it. Needs root, to make one. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { TaskSnapshot } from 'outlive'
import { host } from './support/host'
import { temporaryStore } from './support/store'

const NOBODY = 65534
const store = temporaryStore()
const root = process.getuid?.() === 0 ? test : test.skip
if (root === test.skip) console.warn('SKIPPED: what becomes another user’s takes root to be made')

/** Compiled, owned by root, and run by nobody: the task as it has ended. */
async function endOf(way: 'kill' | 'deadline', argument = ''): Promise<TaskSnapshot> {
  const [program, dir] = [join(store.dir, 'became-root'), join(store.dir, `${way}${argument}`)]
  execFileSync('cc', ['-O1', '-Wall', '-Werror', '-o', program, join(__dirname, 'support/setuid.c')])
  chmodSync(program, 0o4755)
  chmodSync(store.dir, 0o711)
  mkdirSync(dir, { mode: 0o700 })
  execFileSync('chown', [`${NOBODY}:${NOBODY}`, dir])
  const as = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']
  const node = await host(store, { under: as, cwd: '/' })
  const ended = await node.call(
    async ({ outlive }, storageDir, command, timeoutMs) => {
      const tasks = new outlive.TaskRegistry({ storageDir })
      const id = await tasks.spawn(command, { cwd: '/', graceMs: 100, timeoutMs })
      const { readFileSync } = require('node:fs') as typeof import('node:fs')
      const sleeps = () => readFileSync(`/proc/${tasks.status(id)!.pid}/stat`, 'latin1').includes(') S ')
      while (tasks.output(id).text === '' || !sleeps()) await new Promise((resolve) => setTimeout(resolve, 10))
      const task = await (timeoutMs === 0 ? tasks.kill(id) : tasks.wait(id))
      tasks.detach()
      return task
    },
    dir,
    `exec ${program} ${argument}`,
    way === 'kill' ? 0 : 2000,
  )
  await node.kill()
  return ended
}

root.each(['kill', 'deadline'] as const)('what no %s reaches is not said to have been ended by it', async (way) => {
  // P9
  expect(await endOf(way)).toMatchObject({ status: 'completed', cause: 'exit', exitCode: 0, signal: null })
})

root('what comes back into reach was killed by what then reaches it', async () => {
  // P9
  expect(await endOf('kill', 'back')).toMatchObject({
    status: 'killed',
    cause: 'kill',
    exitCode: null,
    signal: 'SIGKILL',
  })
})

root('what may not be looked into, and waits for the signal without a handler, was ended by it', async () => {
  // P9
  expect(await endOf('kill', 'wait')).toMatchObject({ status: 'killed', cause: 'kill', exitCode: 78, signal: null })
})

root.each([
  ['obeyed', 'SIGTERM', constants.signals.SIGTERM],
  ['deaf', 'SIGKILL', constants.signals.SIGKILL],
] as const)('what is the user’s below a command that is out of reach is ended: %s, by %s', async (how, _, exitCode) => {
  // P1
  for (const way of ['kill', 'deadline'] as const) {
    expect(await endOf(way, how)).toMatchObject({ status: 'failed', cause: 'exit', exitCode, signal: null })
  }
})

root('what is out of reach and lives on keeps nobody from being reaped that has ended', async () => {
  // P5
  const ended = await endOf('kill', 'many')
  expect(ended).toMatchObject({ status: 'completed', exitCode: 0 })
  const [, children] = ended.outputPreview.trim().split('\n')
  expect(children!.trim().split(' ').length).toBeLessThan(10)
})
