// What a running task takes in its host: a process of its own, for what the other figures leave free would be used first.
//
//     node bench/memory.mjs <store> <tasks>        prints bytes per task of the second half
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { TaskRegistry } from '../index.js'

const [storageDir, count] = process.argv.slice(2)
const half = Number(count) / 2
const tasks = new TaskRegistry({ storageDir, maxRunning: Number(count) })
setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')

function settledRss() {
  gc()
  return process.memoryUsage.rss()
}

const start = () =>
  Promise.all(Array.from({ length: half }, () => tasks.spawn('exec sleep 600', { shell: '/bin/sh', notify: false })))

// The first half pays for what JavaScript's heap and the allocators keep for good.
const ids = await start()
const before = settledRss()
ids.push(...(await start()))
console.log((settledRss() - before) / half)
await tasks.shutdown({ graceMs: 0 })
