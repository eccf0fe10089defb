// What a user would pick instead, used as its documentation says, for a background command whose output goes to files.
// Every peer is a function `start(command, file, ended)`: it starts `sh -c command`, and calls `ended` when the host hears of the end.
import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import pty from '@lydell/node-pty'
import { execa } from 'execa'
import { x } from 'tinyexec'
import { TaskRegistry } from '../index.js'

export function outlive(storageDir) {
  const tasks = new TaskRegistry({ storageDir, maxRunning: 2000 })
  const waiting = new Map()
  const early = new Map()
  const subscription = tasks.onCompletion((completion) => {
    const ended = waiting.get(completion.taskId)
    waiting.delete(completion.taskId)
    if (ended) ended()
    else early.set(completion.taskId, true)
  })
  subscription.ref()
  return {
    name: 'outlive',
    tasks,
    start(command, _file, ended) {
      const started = tasks.spawn(command, { shell: '/bin/sh' })
      started.then((id) => (early.delete(id) ? ended() : waiting.set(id, ended)))
      return started
    },
    close: () => tasks.detach(),
  }
}

export const childProcess = {
  name: 'child_process.spawn',
  start(command, file, ended) {
    const output = openSync(file, 'a')
    const child = spawn('sh', ['-c', command], { detached: true, stdio: ['ignore', output, output] })
    closeSync(output)
    child.on('exit', ended)
    return child
  },
}

export const withExeca = {
  name: 'execa',
  start(command, file, ended) {
    const child = execa('sh', ['-c', command], {
      detached: true,
      stdin: 'ignore',
      stdout: { file },
      stderr: { file: `${file}.err` },
    })
    child.then(ended, ended)
    return child
  },
}

export const withTinyexec = {
  name: 'tinyexec',
  start(command, _file, ended) {
    const child = x('sh', ['-c', command], { nodeOptions: { detached: true, stdio: 'ignore' } })
    child.then(ended, ended)
    return child
  },
}

export const nodePty = {
  name: 'node-pty',
  start(command, _file, ended) {
    const child = pty.spawn('sh', ['-c', command], {})
    child.onExit(ended)
    return child
  },
}

/** The registry that outlive replaces: a shell writes the exit code into a file, and the host looks for it twice a second. */
export const wrapper = {
  name: 'shell wrapper, polled',
  start(command, file, ended) {
    const marker = `${file}.exit`
    const script = `sh -c "$0"; code=$?; printf '%s' "$code" > "$1.tmp"; mv "$1.tmp" "$1"`
    const output = openSync(file, 'a')
    const child = spawn('sh', ['-c', script, command, marker], { detached: true, stdio: ['ignore', output, output] })
    closeSync(output)
    const poll = setInterval(() => {
      if (!existsSync(marker)) return
      clearInterval(poll)
      readFileSync(marker)
      ended()
    }, 500)
    return child
  },
}
