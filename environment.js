'use strict'
// What Jest needs. It runs many files in one process, each in an environment of its own.

/**
 * Calls `end` when the Jest environment that loaded this module is torn down (Jest 30); elsewhere never.
 *
 * Jest tells nobody, and no hook of Node fires; but a registry that lived on would hold its sessions against the next file,
 * and give their completions to a file that is over.
 */
function atEndOfJestEnvironment(end) {
  if (process.env.JEST_WORKER_ID === undefined) return
  // At that time Jest changes or deletes the properties of everything that the file has left on its global object.
  const changed = () => {
    end()
    return true
  }
  const value = new Proxy({ isOurs: true }, { defineProperty: changed, deleteProperty: changed })
  Object.defineProperty(globalThis, Symbol('outlive'), { value, configurable: true })
}

/**
 * Jest's --detectOpenHandles takes every native handle that is made under a test for a leak, and cannot see that ours
 * keeps nothing alive. Whether a test made it, it reads from the topmost 100 frames of the stack.
 */
function outOfSight(make, frames = 100) {
  return frames === 0 ? make() : outOfSight(make, frames - 1)
}

module.exports = { outOfSight, atEndOfJestEnvironment }
