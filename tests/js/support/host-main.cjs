'use strict'
// The child's side of host.ts: functions come in as text on stdin, what they return and say goes out on fd 3.

const { writeSync } = require('node:fs')
const { createInterface } = require('node:readline')
const outlive = require('outlive')

// Synchronous: what a host said has arrived, also when it is killed in the next instruction.
function send(message) {
  let rest = Buffer.from(`${JSON.stringify(message)}\n`)
  while (rest.length > 0) rest = rest.subarray(writeSync(3, rest))
}

let registry
const scope = {
  outlive,
  say: (value) => send({ said: value }),
  shared: {},
  get tasks() {
    registry ??= new outlive.TaskRegistry(JSON.parse(process.env.HOST_REGISTRY))
    return registry
  },
}

function plain(error) {
  if (!(error instanceof Error)) return { name: 'NotAnError', message: String(error) }
  const { name, message, code, errno, syscall, path, stack, cause } = error
  return { name, message, code, errno, syscall, path, stack, cause: cause === undefined ? undefined : plain(cause) }
}

async function run({ id, source, args }) {
  try {
    // Made here and not in a bare `vm` script: so the test's functions may say `require` and `import()`.
    const order = new Function('require', `return (${source})`)(require)
    send({ id, value: await order(scope, ...args) })
  } catch (error) {
    send({ id, error: plain(error) })
  }
}

const orders = createInterface({ input: process.stdin })
orders.on('line', (line) => {
  const message = JSON.parse(line)
  if (message.leave) process.stdin.unref()
  else void run(message)
})
send({ ready: process.pid })
