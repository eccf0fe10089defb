'use strict'
// Promises that native code answers, by their numbers. Each settles once, and keeps the process alive until then.

const { onAbort } = require('./abort.js')
const { aborted, fromAnswer } = require('./errors.js')

class Requests {
  #open = new Map()
  #last = 0
  #hold
  #letGo
  #takeBack

  /** `hold` and `letGo` are called around each; `takeBack` with the number of one that nobody waits for any more. */
  constructor(hold, letGo, takeBack) {
    this.#hold = hold
    this.#letGo = letGo
    this.#takeBack = takeBack
  }

  get size() {
    return this.#open.size
  }

  /**
   * Sends a request by its number, and waits for its outcome: a function that returns or throws, called here, so that an error's
   * stack goes on to whoever awaits us. They do so with `return await`: other engines than V8 lose the way otherwise.
   */
  async ask(send, signal) {
    if (signal?.aborted) throw aborted(signal)
    const request = ++this.#last
    send(request)
    const outcome = await new Promise((settle) => this.#expect(request, settle, signal))
    return outcome()
  }

  #expect(request, settle, signal) {
    const entry = { settle, forget: () => {} }
    this.#open.set(request, entry)
    this.#hold()
    if (signal === undefined) return
    try {
      entry.forget = onAbort(signal, () => this.#cancel(request, aborted(signal)))
    } catch (error) {
      this.#cancel(request, error)
    }
  }

  /** Settles one by native code's answer; nobody hears that of one that was aborted, or whose registry was closed. */
  answer({ type, request, value, error }) {
    if (type === 'failed') this.#fail(request, () => fromAnswer(error))
    else this.#close(request)?.settle(() => value)
  }

  /** Rejects all, each with an error of its own. */
  failAll(makeError) {
    for (const request of [...this.#open.keys()]) this.#fail(request, makeError)
  }

  /** None of them settles any more. */
  forgetAll() {
    for (const request of [...this.#open.keys()]) this.#close(request)
  }

  #fail(request, makeError) {
    this.#close(request)?.settle(() => {
      throw makeError()
    })
  }

  #cancel(request, reason) {
    this.#fail(request, () => reason)
    try {
      this.#takeBack(request)
    } catch {
      // Its answer comes all the same, and finds nobody.
    }
  }

  #close(request) {
    const entry = this.#open.get(request)
    if (entry === undefined) return undefined
    this.#open.delete(request)
    entry.forget()
    this.#letGo()
    return entry
  }
}

module.exports = { Requests }
