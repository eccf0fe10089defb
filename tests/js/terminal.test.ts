import { execFile } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { temporaryStore } from './support/store'

const store = temporaryStore()
const root = join(__dirname, '../..')

/** A host in a terminal of its own: what an interactive shell does in a task, and what becomes of the host's terminal. */
async function inTerminal(command: string) {
  const script = join(store.dir, 'terminal-host.cjs')
  writeFileSync(
    script,
    `const { TaskRegistry } = require(${JSON.stringify(root)})
     const { readFileSync } = require('node:fs')
     const stat = () => readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ')
     const own = () => ({ group: stat()[2], foreground: stat()[5], terminal: stat()[4] })
     const tasks = new TaskRegistry({ storageDir: ${JSON.stringify(store.dir)} })
     const before = own()
     tasks.spawn(${JSON.stringify(command)}, { timeoutMs: 20000 })
       .then((id) => tasks.wait(id))
       .then((task) => console.log('\\n@' + JSON.stringify({ task, before, after: own() }) + '@'))`,
  )
  const inside = `${process.execPath} ${script}`
  const { stdout } = await promisify(execFile)('script', ['-qec', inside, '/dev/null'], { timeout: 40_000 })
  return JSON.parse(/@(.*)@/.exec(stdout)?.[1] ?? 'null')
}

const shells = ['/bin/bash', '/usr/bin/zsh'].filter((shell) => existsSync(shell))

// zsh is tried where it is installed.
test.each(shells)('an interactive %s in a task neither stops its host nor takes its terminal', async (shell) => {
  // P17
  // One that could open the terminal would also take it for as long as it runs.
  const { task, before, after } = await inTerminal(`${shell} -ic '{ : < /dev/tty; } 2> /dev/null && exit 6; exit 5'`)
  expect(task).toMatchObject({ status: 'failed', exitCode: 5 })
  expect(before.terminal).not.toBe('0')
  expect(after).toEqual(before)
  expect(after.foreground).toBe(after.group)
})
