'use strict'
// A subscription: its handle, what a registry keeps of it, and what makes handles work with `using`.

const { AsyncResource } = require('node:async_hooks')
const { outOfSight } = require('./environment.js')

/** What `onCompletion` returns. */
class Subscription {
  #close
  #setRef
  constructor(close, setRef) {
    this.#close = close
    this.#setRef = setRef
  }

  close() {
    this.#close()
  }

  ref() {
    this.#setRef(true)
    return this
  }

  unref() {
    this.#setRef(false)
    return this
  }
}

/** Calls it. Returns a promise where it is to be waited for: a query builder begins its work when it is asked for its `then`. */
function run(callback, completion) {
  const result = callback(completion)
  return typeof result?.then === 'function' ? Promise.resolve(result) : undefined
}

/** What a registry keeps of one. Who subscribes for a project or a trace is called in its context, whoever opened the registry. */
function subscriber(callback, ack) {
  const call = (completion) => {
    // Each call has its own: before Node 24 what a callback enters (`enterWith`) is written onto the resource that it runs in.
    const resource = new AsyncResource('outlive.onCompletion', { requireManualDestroy: true })
    try {
      return resource.runInAsyncScope(run, undefined, callback, completion)
    } finally {
      resource.emitDestroy()
    }
  }
  const bound = outOfSight(() => AsyncResource.bind(call, 'outlive.onCompletion'))
  return { callback: bound, auto: ack === 'auto', refd: false, warned: new Set() }
}

// Node 18 before 18.18 has no such symbol, nor has a `vm` context before Node 24. esbuild, Babel and Vitest take the one of that name there.
const dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose')

/** Makes a method, also one that a subclass has laid over it, the one that `using` calls. */
function disposable(kind, method) {
  const value = function () {
    this[method]()
  }
  Object.defineProperty(kind.prototype, dispose, { value, writable: true, configurable: true })
}

disposable(Subscription, 'close')

module.exports = { Subscription, disposable, subscriber }
