'use strict'
// Runs the suite under whatever runtime this file is given to, and says one line of JSON per promise. `--worker`: in a worker
// thread. It ends by itself; that it does is part of the test.

const { isMainThread, parentPort, Worker } = require('node:worker_threads')

const only = process.env.CONFORMANCE_ONLY

async function runAll(tell) {
  const promises = [...require('./suite.js').promises, ...require('./callbacks.js').promises]
  const { finishAll } = require('./support.js')
  for (const { title, run } of promises) {
    if (only && !title.includes(only)) continue
    const start = Date.now()
    const error = await run().then(
      () => undefined,
      (thrown) => String(thrown?.stack ?? thrown),
    )
    tell({ title, ok: error === undefined, ms: Date.now() - start, error })
  }
  await finishAll()
  tell({ finished: true })
}

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

if (!isMainThread) runAll((line) => parentPort.postMessage(line))
else if (process.argv.includes('--worker')) new Worker(__filename).on('message', print)
else runAll(print)
