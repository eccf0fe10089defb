'use strict'
// A registry as JavaScript sees it: checks arguments, turns native answers into promises and real `Error`s, and contains
// callbacks that throw. It decides nothing about tasks. What it keeps is what JavaScript alone can hold: promises,
// callbacks, and the count of reasons for which the event loop must not end.
//
// Native code says only "something changed" (`wake`), and the face pulls (`take`): however many tasks end at once, the
// event loop is entered once.

// Not the global: Jest's fake timers replace that one, and completions must come all the same.
const { setImmediate, setTimeout } = require('node:timers')
const { isHeld, openAddon, unsupportedError } = require('./addon.js')
const checked = require('./arguments.js')
const { atEndOfTestEnvironment } = require('./environment.js')
const { closedError, fromThrown, warn, warnOfFailure } = require('./errors.js')
const { Requests } = require('./requests.js')
const { Subscription, disposable, subscriber } = require('./subscription.js')

const { schemas } = checked

// As they are now: tests put others in their place. `performance` would cost a module.
const { bigint: monotonicNs } = process.hrtime
const { parse } = JSON

/** A batch without messages, as native code writes it. */
const NOTHING = '[]'

/** How long callbacks run in a row before the event loop gets its turn. */
const SLICE_NS = 2_000_000n

/** How long after `detach` a callback that is still at work keeps other hosts from telling its session anything. */
const HOLD_MS = 10_000

// Registries with a promise pending or a subscription open. Others may be collected when their owner drops them: `wake`
// itself holds its registry weakly.
const inUse = new Set()

class TaskRegistry {
  #native
  #number
  #closed = false
  #shutdown // while it is under way
  #requests = new Requests(
    () => this.#hold(),
    () => this.#release(),
    (request) => this.#addon?.cancel(request),
  )
  #subscriptions = new Map()
  #deliveries = []
  #paused = false
  #refs = 0

  constructor(options) {
    this.#native = openAddon(options, TaskRegistry.#waker(new WeakRef(this)))
    this.#number = this.#native?.number()
  }

  /** Undefined also once `deno test` has freed it, which lets this file's timers and promises run on for a moment. */
  get #addon() {
    return this.#native !== undefined && isHeld(this.#number) ? this.#native : undefined
  }

  static #waker(registry) {
    return () => registry.deref()?.#pull()
  }

  static {
    atEndOfTestEnvironment(() => {
      for (const registry of inUse) {
        // Off the list first: a rejection that nobody is left to hear would end Jest.
        registry.#requests.forgetAll()
        registry.detach()
        registry.#letGo()
      }
    })
  }

  async spawn(command, options) {
    const { order, inherits } = checked.spawnOrder(command, options)
    return await this.#request((addon, request) => addon.spawn(request, order, inherits))
  }

  status(taskId, options) {
    const id = checked.taskId('status', taskId)
    const { sessionId = null, previewBytes = null } = schemas.status.read(options)
    return this.#answer((addon) => addon.status(id, sessionId, previewBytes))
  }

  list(options) {
    const { sessionId = null, status = null, previewBytes = null } = schemas.list.read(options)
    return this.#answers((addon) => addon.list(sessionId, status, previewBytes))
  }

  sessions() {
    return this.#answer((addon) => addon.sessions())
  }

  async kill(taskId, options) {
    const id = checked.taskId('kill', taskId)
    const found = schemas.kill.read(options)
    const { sessionId = null, signal = checked.SIGTERM, graceMs = null } = found
    return await this.#request((addon, request) => addon.kill(request, id, sessionId, signal, graceMs))
  }

  async wait(taskId, options) {
    const id = checked.taskId('wait', taskId)
    const { sessionId = null, timeoutMs = null, signal } = schemas.wait.read(options)
    return await this.#request((addon, request) => addon.wait(request, id, sessionId, timeoutMs), signal)
  }

  output(taskId, options) {
    const id = checked.taskId('output', taskId)
    const found = schemas.output.read(options)
    const { sessionId = null, stream = 'stdout', from = 0, maxBytes = 65536, wholeLines = false } = found
    return this.#answer((addon) => addon.output(id, sessionId, stream, from, maxBytes, wholeLines))
  }

  onCompletion(callback, options) {
    checked.callback(callback)
    const { sessionId = null, ack = 'auto' } = schemas.onCompletion.read(options)
    const entry = subscriber(callback, ack)
    const id = this.#call((addon) => addon.subscribe(sessionId))
    this.#subscriptions.set(id, entry)
    inUse.add(this)
    return new Subscription(
      () => this.#unsubscribe(id),
      (refd) => this.#refSubscription(id, refd),
    )
  }

  drain(options) {
    const { sessionId = null } = schemas.drain.read(options)
    return this.#answers((addon) => addon.drain(sessionId))
  }

  pending(options) {
    const { sessionId = null } = schemas.pending.read(options)
    return this.#answers((addon) => addon.pending(sessionId))
  }

  ack(taskIds) {
    const ids = checked.taskIds('ack', taskIds)
    return this.#call((addon) => addon.ack(ids))
  }

  release(taskIds) {
    const ids = checked.taskIds('release', taskIds)
    return this.#call((addon) => addon.release(ids))
  }

  async replay(sessionId = 'default') {
    const id = checked.kinds.sessionId('replay: the session id', sessionId)
    return await this.#request((addon, request) => addon.replay(request, id))
  }

  async cleanup(options) {
    const found = schemas.cleanup.read(options)
    const { olderThanMs = 86_400_000, undeliveredOlderThanMs = 604_800_000 } = found
    return await this.#request((addon, request) => addon.cleanup(request, olderThanMs, undeliveredOlderThanMs))
  }

  detach() {
    if (this.#closed) return
    this.#closed = true
    for (const id of [...this.#subscriptions.keys()]) this.#forget(id)
    try {
      if (this.#addon?.detach()) this.#holdForCallbacks()
      // What was answered by then stands: a task that was started is not rejected, for its completion will come.
      for (let batch = this.#take(); batch !== NOTHING; batch = this.#take()) this.#deliveries.push(...parse(batch))
    } catch (error) {
      throw fromThrown(error)
    } finally {
      for (const event of this.#deliveries.splice(0)) if (event.request !== undefined) this.#requests.answer(event)
      this.#requests.failAll(closedError)
    }
  }

  /** A callback's promise that nobody can settle any more is collected, this registry with it, and nothing is held. */
  #holdForCallbacks() {
    const registry = new WeakRef(this)
    setTimeout(() => registry.deref()?.#letGo(), HOLD_MS).unref()
  }

  #letGo() {
    this.#addon?.letGo()
  }

  async shutdown(options) {
    const { graceMs = null } = schemas.shutdown.read(options)
    const ended = this.#request((addon, request) => addon.shutdown(request, graceMs))
    // Asked again it can only become faster; both are told how it ended.
    if (this.#shutdown === undefined) this.#shutdown = this.#detachAfter(ended)
    else ended.catch(() => {})
    return await this.#shutdown
  }

  async #detachAfter(ended) {
    try {
      const snapshots = await ended
      this.detach()
      return snapshots
    } finally {
      this.#shutdown = undefined
    }
  }

  // ---- Asking native code

  /** Calls native code; what it throws becomes an error of this realm. */
  #call(call) {
    if (this.#native === undefined) throw unsupportedError()
    const addon = this.#addon
    if (this.#closed || addon === undefined) throw closedError()
    try {
      return call(addon)
    } catch (error) {
      throw fromThrown(error)
    }
  }

  #answer(call) {
    return parse(this.#call(call)) // null comes back as null
  }

  /** Any number of answers, which may be too long for one string. */
  #answers(call) {
    return this.#call(call).flatMap((page) => parse(page))
  }

  /** An answer that comes through `take`. */
  #request(call, signal) {
    return this.#requests.ask((request) => this.#call((addon) => call(addon, request)), signal)
  }

  #hold() {
    inUse.add(this)
    this.#ref()
  }

  #release() {
    this.#unref()
    this.#mayBeCollected()
  }

  #mayBeCollected() {
    if (this.#requests.size === 0 && this.#subscriptions.size === 0) inUse.delete(this)
  }

  #ref() {
    if (++this.#refs === 1) this.#addon?.ref()
  }

  #unref() {
    if (--this.#refs === 0) this.#addon?.unref()
  }

  // ---- Hearing from native code

  /** Takes one batch in a turn of the event loop. Native code wakes us for the first message only, and says when it has more. */
  #pull() {
    if (this.#closed) return
    let batch
    try {
      batch = this.#take()
      for (const event of parse(batch)) this.#hear(event)
    } catch (error) {
      // Answers may have been lost with it, and a promise that never settles is worse than one that rejects. So may the word
      // that there is more.
      this.#requests.failAll(() => fromThrown(error))
      if (batch !== NOTHING) setImmediate(() => this.#pull())
    }
    if (!this.#paused) this.#deliver()
  }

  #take() {
    return this.#addon?.take() ?? NOTHING
  }

  #hear(event) {
    if (event.type === 'more') setImmediate(() => this.#pull())
    // While shutdown is under way its answer closes the registry, so it keeps its place behind earlier completions.
    else if (event.type === 'completion' || (event.type === 'settled' && this.#shutdown !== undefined))
      this.#deliveries.push(event)
    else this.#answerRequest(event)
  }

  /**
   * Callbacks run after the code that waits for the promise, so whoever starts a task knows its id before the news of its end
   * comes.
   */
  #answerRequest(event) {
    this.#requests.answer(event)
    this.#pause()
  }

  /** Nothing is delivered before the next turn of the event loop. */
  #pause() {
    if (this.#paused) return
    this.#paused = true
    setImmediate(() => {
      this.#paused = false
      this.#deliver()
    })
  }

  /** In slices: a backlog of thousands must not stop the host's event loop. */
  #deliver() {
    const end = monotonicNs() + SLICE_NS
    while (this.#deliveries.length > 0 && !this.#paused) {
      const event = this.#deliveries.shift()
      if (event.type === 'settled') this.#answerRequest(event)
      else this.#tell(event)
      if (monotonicNs() >= end) this.#pause()
    }
  }

  // ---- Completions

  /** Runs a callback. Whatever it does, nothing is thrown from here: that would end the host. */
  #tell(event) {
    const { subscription, lease, completion } = event
    const entry = this.#subscriptions.get(subscription)
    const { taskId } = completion // the callback may change its completion
    if (entry === undefined) return this.#giveBack(event)
    // Accepted or given back by its id on its way here.
    if (!this.#addon?.begin(taskId, lease, entry.auto)) return
    const done = () => entry.auto && this.#settle(entry, taskId, (addon) => addon.takeDelivery(taskId, lease))
    const failed = (error) => {
      let outcome = 'givenBack'
      this.#settle(entry, taskId, (addon) => {
        outcome = addon.refuse(taskId, lease)
      })
      warnOfFailure(entry, taskId, outcome, error)
    }
    try {
      const { callback } = entry
      const promise = callback(completion)
      if (promise === undefined) done()
      else promise.then(done, failed)
    } catch (error) {
      failed(error)
    }
  }

  /** Also after the end of the subscription and of the registry: what a callback has taken shall not be told again. */
  #settle(entry, taskId, settle) {
    const addon = this.#addon
    try {
      if (addon !== undefined) settle(addon)
    } catch (thrown) {
      const error = fromThrown(thrown)
      if (error.code !== 'REGISTRY_CLOSED')
        warn(entry, 'unrecorded', `the delivery of ${taskId} could not be recorded`, error)
    }
  }

  #giveBack({ lease, completion }) {
    try {
      this.#addon?.giveBack(completion.taskId, lease)
    } catch {
      // Only a closed registry refuses, and that one has given back everything.
    }
  }

  #unsubscribe(id) {
    if (!this.#forget(id) || this.#addon === undefined) return
    // Native code takes back what was not told yet.
    this.#deliveries = this.#deliveries.filter(({ type, subscription }) => type !== 'completion' || subscription !== id)
    this.#call((addon) => addon.unsubscribe(id))
  }

  #forget(id) {
    this.#refSubscription(id, false)
    const known = this.#subscriptions.delete(id)
    this.#mayBeCollected()
    return known
  }

  #refSubscription(id, refd) {
    const entry = this.#subscriptions.get(id)
    if (entry === undefined || entry.refd === refd) return
    entry.refd = refd
    if (refd) this.#ref()
    else this.#unref()
  }
}

disposable(TaskRegistry, 'detach')

module.exports = { TaskRegistry }
