'use strict'
// The handle on a subscription, and what makes handles work with `using`.

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

/** Makes a method the one that `using` calls. Node 18 before 18.18 has no such symbol. */
function disposable(kind, method) {
  if (Symbol.dispose === undefined) return
  const value = kind.prototype[method]
  Object.defineProperty(kind.prototype, Symbol.dispose, { value, writable: true, configurable: true })
}

disposable(Subscription, 'close')

module.exports = { Subscription, disposable }
