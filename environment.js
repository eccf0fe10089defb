'use strict'
// What test runners need that run many files in one thread, each in an environment (a realm) of its own: Jest, and Vitest's
// vm pools. They tell nobody when a file is over, and no hook of Node fires; but a registry that lived on would hold its
// sessions against the next file, and give their completions to a file that is over.

const VITEST = Symbol.for('outlive.vitest')

/** Calls `end` when the test environment that loaded this module is over; elsewhere never. */
function atEndOfTestEnvironment(end) {
  if (globalThis.__vitest_worker__ !== undefined) atEndOfVitestContext(end)
  else if (process.env.JEST_WORKER_ID !== undefined) atEndOfJestEnvironment(end)
}

/**
 * Jest's `Runtime.teardown` reads every enumerable property of the file's global object, to reset mocks that are left there.
 * So does `jest.resetModules`, after which the file goes on: only the stack tells one from the other.
 */
function atEndOfJestEnvironment(end) {
  let key = '__outlive__'
  while (key in globalThis) key += '_' // from before a `jest.resetModules`
  const get = () => {
    if (!/ Runtime\.teardown /.test(shortStack())) return
    delete globalThis[key]
    end()
  }
  Object.defineProperty(globalThis, key, { get, enumerable: true, configurable: true })
}

/** The stack as V8 writes it, whatever a test has made of stacks. */
function shortStack() {
  const { prepareStackTrace, stackTraceLimit } = Error
  Object.assign(Error, { prepareStackTrace: undefined, stackTraceLimit: 10 })
  try {
    return new Error().stack
  } finally {
    Object.assign(Error, { prepareStackTrace, stackTraceLimit })
  }
}

/**
 * A worker of Vitest runs in one context at a time, so whoever loads this package in another one is a later file. The process
 * object is what their contexts share. After the last file the worker ends, which is noticed everywhere.
 */
function atEndOfVitestContext(end) {
  const before = process[VITEST]
  const mine = before?.realm === globalThis ? before : { realm: globalThis, ends: [] }
  mine.ends.push(end)
  Object.defineProperty(process, VITEST, { value: mine, configurable: true })
  if (before !== mine) for (const endOther of before?.ends ?? []) endOther()
}

/**
 * Jest's --detectOpenHandles takes every native handle that is made under a test for a leak, and cannot see that ours
 * keeps nothing alive. Whether a test made it, it reads from the topmost 100 frames of the stack.
 */
function outOfSight(make, frames = 100) {
  return frames === 0 ? make() : outOfSight(make, frames - 1)
}

module.exports = { outOfSight, atEndOfTestEnvironment }
