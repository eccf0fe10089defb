'use strict'
// Makes every error of this package: real `Error`s of the caller's realm, with a stable `code`. Native code only
// sends text, because an error that it makes belongs to another realm under Jest and in vm contexts.

const { inspect } = require('node:util')

// As it is now: tests put another in its place.
const { parse } = JSON

/** An error with a code; a `TypeError` for misuse. */
function failure(code, message, cause) {
  const Kind = code === 'INVALID_ARGUMENT' ? TypeError : Error
  const error = cause === undefined ? new Kind(message) : new Kind(message, { cause })
  error.code = code
  return error
}

function closedError() {
  return failure('REGISTRY_CLOSED', 'the registry is closed: detach or shutdown was called')
}

/** The error that a native answer `{ code, message, cause? }` describes. */
function fromAnswer({ code, message, cause }) {
  if (cause === undefined || cause === null) return failure(code, message)
  const { message: reason, ...facts } = cause
  return failure(code, message, Object.assign(new Error(reason), facts))
}

/** The error that a native method threw: its message is an answer as JSON, or, after a panic, plain words. */
function fromThrown(thrown) {
  const text = String(thrown?.message ?? thrown)
  try {
    const answer = parse(text)
    if (typeof answer?.code === 'string' && typeof answer.message === 'string') return fromAnswer(answer)
  } catch {
    // No JSON: a panic that was caught at the native edge.
  }
  return failure('INTERNAL', text)
}

/** Why a signal was aborted; a signal that need not be Node's own may throw instead. */
function reasonOf(signal) {
  try {
    return signal.reason
  } catch (error) {
    return error
  }
}

/** A reason may be anything, also what throws when it is looked at: that must not keep a promise from being rejected. */
function isAbortError(reason) {
  try {
    return reason?.name === 'AbortError'
  } catch {
    return false
  }
}

/** What an aborted signal makes of a promise: its reason where that is an `AbortError`, else one as Node makes it. */
function aborted(signal) {
  const reason = reasonOf(signal)
  if (isAbortError(reason)) return reason
  const error = new Error('The operation was aborted', { cause: reason })
  // Not assigned: that throws where `Error.prototype` is frozen.
  Object.defineProperty(error, 'name', { value: 'AbortError', writable: true, configurable: true })
  error.code = 'ABORT_ERR'
  return error
}

/** What a callback threw, in words. To show it can run code of its owner, and that may throw in its turn. */
function inWords(thrown) {
  try {
    return inspect(thrown)
  } catch {
    return 'It threw something that cannot be shown.'
  }
}

/** Tells a developer about a callback that fails: of each `kind` of failure the first in a subscription. */
function warn({ warned }, kind, message, error) {
  if (warned.has(kind)) return
  warned.add(kind)
  try {
    process.emitWarning(message, { type: 'OutliveWarning', detail: inWords(error) })
  } catch {
    // A test that makes errors of warnings: what is told next must not be lost for it.
  }
}

const AFTER_FAILURE = {
  givenBack: ', which is pending again',
  givenUp: ' five times: it is left to drain',
  notHeld: ', which it had accepted or given back itself',
}

/** The same of one that failed on a completion; `outcome`: what becomes of that, in native code's word. */
function warnOfFailure(subscriber, taskId, outcome, error) {
  warn(subscriber, outcome, `the callback of onCompletion failed on ${taskId}${AFTER_FAILURE[outcome]}`, error)
}

module.exports = { failure, fromAnswer, fromThrown, closedError, aborted, warn, warnOfFailure }
