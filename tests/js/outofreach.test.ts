/** A command that has become another user's: no signal of its task's supervisor reaches it. Needs root, to make one. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { host } from './support/host'
import { temporaryStore } from './support/store'

const NOBODY = 65534
const store = temporaryStore()
const root = process.getuid?.() === 0 ? test : test.skip
if (root === test.skip) console.warn('SKIPPED: what becomes another user’s takes root to be made')

root.each(['kill', 'deadline'])('what no %s reaches is not said to have been ended by it', async (way) => {
  // P9
  const [program, dir] = [join(store.dir, 'became-root'), join(store.dir, way)]
  execFileSync('cc', ['-O1', '-Wall', '-Werror', '-o', program, join(__dirname, 'support/setuid.c')])
  chmodSync(program, 0o4755)
  chmodSync(store.dir, 0o711)
  mkdirSync(dir, { mode: 0o700 })
  execFileSync('chown', [`${NOBODY}:${NOBODY}`, dir])
  const as = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']
  const node = await host(store, { under: as, cwd: '/' })
  const ended = await node.call(
    async ({ outlive }, storageDir, program, way) => {
      const tasks = new outlive.TaskRegistry({ storageDir })
      const timeoutMs = way === 'kill' ? 0 : 2000
      const id = await tasks.spawn(`exec ${program}`, { cwd: '/', graceMs: 100, timeoutMs })
      while (tasks.output(id).text === '') await new Promise((resolve) => setTimeout(resolve, 10))
      const task = await (way === 'kill' ? tasks.kill(id) : tasks.wait(id))
      tasks.detach()
      return task
    },
    dir,
    program,
    way,
  )
  expect(ended).toMatchObject({ status: 'completed', cause: 'exit', exitCode: 0, signal: null })
  await node.kill()
})
