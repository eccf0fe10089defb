'use strict'
// Checks what callers pass and puts it into the form in which it crosses to native code. Nothing unchecked goes on:
// napi alone would wrap -1 and NaN into a u32, ignore an option that is misspelt, and cut a string at its NUL.
//
// Each option is read once: a getter that throws throws its own error, one that changes its mind changes nothing.

const os = require('node:os')
const path = require('node:path')
const { isPromise, isProxy } = require('node:util').types
const { failure } = require('./errors.js')

const MIB = 1024 * 1024
const UNAWAITED = 'a promise, which was not awaited'
const STATUSES = ['starting', 'running', 'killing', 'completed', 'failed', 'killed', 'timed_out', 'lost']

function misuse(message, cause) {
  return failure('INVALID_ARGUMENT', message, cause)
}

/** What was passed, in words, without running any code of its owner. */
function shown(value) {
  if (isRevoked(value)) return 'a proxy that was revoked'
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : String(value)
  if (isPromise(value)) return UNAWAITED
  return isArray(value) ? 'an array' : 'an object'
}

/** The same of what may be a secret: not what it is, only what kind of thing. */
function kindOf(value) {
  return value === null || typeof value === 'object' || typeof value === 'function' ? shown(value) : `a ${typeof value}`
}

/** What an object is instead of one with options, in words: none would be found in a promise, a Map or an AbortSignal, and nobody told. */
function otherKind(value) {
  if (typeof value.then === 'function') return UNAWAITED
  const tag = Object.prototype.toString.call(value)
  return tag === '[object Object]' || tag === '[object Module]' ? undefined : tag
}

/** Whether a value is a proxy that throws at whatever it is asked, even whether it is an array. */
function isRevoked(value) {
  try {
    Array.isArray(value)
    return false
  } catch {
    return true
  }
}

const isArray = (value) => !isRevoked(value) && Array.isArray(value)

// ---- Kinds of values: each takes the name for messages and the value, and returns what crosses

// Node 18 has no such method. Under the `u` flag a surrogate matches alone only when it has no partner.
const isWellFormed =
  typeof String.prototype.isWellFormed === 'function'
    ? (text) => text.isWellFormed()
    : (text) => !/\p{Surrogate}/u.test(text)

/** What a unit of a string needs at most in UTF-8, so that short ones need not be counted. */
const MAX_UNIT_BYTES = 3

function bounded(name, size, takes, max) {
  if (size > max) throw misuse(`${name} takes ${takes}; got ${size} bytes`)
}

/** `min`: units, `max`: bytes, `show`: what messages say of the value. */
function text(name, value, takes, limits = {}) {
  const { min = 0, max = Infinity, nul = false, show = shown } = limits
  if (typeof value !== 'string' || value.length < min) throw misuse(`${name} takes ${takes}; got ${show(value)}`)
  if (value.length > max / MAX_UNIT_BYTES) bounded(name, Buffer.byteLength(value), takes, max)
  if (!nul && value.includes('\0')) throw misuse(`${name} takes ${takes}, without NUL; got ${show(value)}`)
  if (!isWellFormed(value)) throw misuse(`${name} takes ${takes}, in whole characters; got ${show(value)}`)
  return value
}

function whole(name, value, takes, min, max = Number.MAX_SAFE_INTEGER) {
  const fits = Number.isSafeInteger(value) && value >= min && value <= max
  if (!fits) throw misuse(`${name} takes ${takes}; got ${shown(value)}`)
  return value + 0 // -0 becomes 0
}

function flag(name, value) {
  if (typeof value !== 'boolean') throw misuse(`${name} takes true or false; got ${shown(value)}`)
  return value
}

function oneOf(name, value, known) {
  if (!known.includes(value)) {
    throw misuse(`${name} takes ${known.map((word) => `"${word}"`).join(' or ')}; got ${shown(value)}`)
  }
  return value
}

const kinds = {
  sessionId: (name, value) => text(name, value, 'a non-empty string up to 1024 bytes', { min: 1, max: 1024 }),
  milliseconds: (name, value) => whole(name, value, 'a whole number of milliseconds', 0),
  deadline: (name, value) => whole(name, value, 'a whole number of milliseconds, 0 for no deadline', 0),
  previewBytes: (name, value) => whole(name, value, 'a whole number of bytes up to 1048576', 0, MIB),
  status: (name, value) => oneOf(name, value, STATUSES),
}

/** Whether a path goes up again from a name in it. */
function goesUpAgain(given) {
  const parts = given.split('/')
  const name = parts.findIndex((part) => part !== '' && part !== '.' && part !== '..')
  return name !== -1 && parts.includes('..', name)
}

/** An absolute path. A relative one is taken from the host's own directory, and that may be gone. */
function absolute(code, name, given) {
  try {
    // Behind a name that may be a link's `..` is another directory than it seems: only the kernel knows which.
    if (!goesUpAgain(given)) return path.resolve(given)
    return path.isAbsolute(given) ? given : `${process.cwd()}/${given}`
  } catch (error) {
    throw failure(code, `${name} is relative, and the host's own working directory is gone: ${error.message}`, error)
  }
}

/** The longest path that the kernel takes. */
const PATH = { min: 1, max: 4095 }

/** A kind: the path of a directory; `code` is of the error when it cannot be made absolute. */
const directory = (code) => (name, value) =>
  absolute(code, name, text(name, value, 'the path of a directory, up to 4095 bytes', PATH))

// ---- Options objects

/** How many letters to add, remove or change. */
function distance(from, to) {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1].toLowerCase() === to[j - 1].toLowerCase() ? 0 : 1
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + same))
    }
    row = next
  }
  return row[to.length]
}

/** The option that was probably meant, if one is like it: a far-fetched hint misleads. */
function nearest(key, known) {
  const short = key.slice(0, 64)
  const best = known.reduce((best, name) => (distance(short, name) < distance(short, best) ? name : best))
  return distance(short, best) <= Math.max(key.length, best.length) / 2 ? best : undefined
}

/** The options of one call. */
class Schema {
  #call
  #kinds

  /** `kinds`: by name, what each option has to be. */
  constructor(call, kinds) {
    this.#call = call
    this.#kinds = Object.entries(kinds).map(([key, kind]) => ({ key, kind, name: `${call}: option "${key}"` }))
  }

  /** What was passed, each through its kind; an option that is undefined is not there. */
  read(options) {
    if (options === undefined) return {}
    if (typeof options !== 'object' || options === null || isRevoked(options) || isArray(options)) {
      throw misuse(`${this.#call} takes an object of options; got ${shown(options)}`)
    }
    for (const key of Object.keys(options)) this.#know(key)
    const found = {}
    for (const { key, kind, name } of this.#kinds) {
      const value = options[key]
      if (value !== undefined) found[key] = kind(name, value)
    }
    const other = Object.keys(found).length === 0 ? otherKind(options) : undefined
    if (other !== undefined) throw misuse(`${this.#call} takes an object of options; got ${other}`)
    return found
  }

  #know(key) {
    if (this.#kinds.some((option) => option.key === key)) return
    const known = this.#kinds.map((option) => option.key)
    const guess = nearest(key, known)
    const hint = guess === undefined ? 'it takes' : `the nearest is "${guess}" of`
    throw misuse(`${this.#call}: there is no option ${shown(key)}; ${hint} ${known.join(', ')}`)
  }
}

// ---- The environment

const isName = (key) => key !== '' && !key.includes('=') && !key.includes('\0') && isWellFormed(key)

/**
 * Whether an object is the process's own environment block, which native code reads in a tenth of the time. Only
 * `process.env` of Node's main thread is: Bun, Deno, workers and Jest have copies, and a copy takes symbols.
 */
function isProcessBlock(env) {
  if (!require('./native.js').isMainThread || process.versions.bun || process.versions.deno) return false
  if (isProxy(env) || !Object.isExtensible(env)) return false
  const probe = Symbol('outlive')
  try {
    env[probe] = ''
    return !delete env[probe]
  } catch {
    return true
  }
}

let block
/** That of this process, if it is one. Looked at by the first `spawn`: who has only arguments to check needs no addon. */
function processBlock() {
  block ??= { env: isProcessBlock(process.env) ? process.env : undefined }
  return block.env
}

/**
 * Whether this process has made workers since the first of us was loaded in it. One that shares the block (`SHARE_ENV`) may change
 * it while native code reads it; Node's own reading holds a lock.
 */
const workers = watchWorkers()

function watchWorkers() {
  const slot = Symbol.for('outlive.workers')
  if (process[slot] !== undefined) return process[slot]
  const seen = { any: false }
  Object.defineProperty(process, slot, { value: seen })
  process.once('worker', () => {
    seen.any = true
  })
  return seen
}

/** What a command inherits where native code cannot read it. What no environment can hold, such as a NUL, is not in it. */
function ownVariables() {
  const variables = Object.create(null) // `__proto__` is a name like any other
  for (const [key, value] of Object.entries(process.env)) {
    const written = String(value) // Jest's copy takes what is no string
    if (isName(key) && !written.includes('\0') && isWellFormed(written)) variables[key] = written
  }
  return variables
}

/** The longest command; and all of `env`, of which the kernel takes less. What goes on would be longer than any string otherwise. */
const LONGEST = 8 * MIB

/** What is laid over that; null takes a name away. */
function overrides(name, value) {
  const isObject = typeof value === 'object' && value !== null && !isRevoked(value)
  if (!isObject || typeof value[Symbol.iterator] === 'function') {
    throw misuse(`${name} takes an object of names and strings; got ${kindOf(value)}`)
  }
  const keys = Object.keys(value)
  const other = keys.length === 0 ? otherKind(value) : undefined
  if (other !== undefined) throw misuse(`${name} takes an object of names and strings; got ${other}`)
  const [takes, secret] = ['a string, or undefined to remove it', { show: kindOf }]
  const laid = Object.create(null)
  let size = 0
  for (const key of keys) {
    if (!isName(key)) {
      throw misuse(`${name} takes names that are not empty and have neither "=" nor NUL; got ${shown(key)}`)
    }
    const variable = value[key]
    laid[key] = variable === undefined ? null : text(`${name}, variable ${shown(key)},`, variable, takes, secret)
    size += Buffer.byteLength(key) + Buffer.byteLength(laid[key] ?? '')
    bounded(name, size, 'names and strings up to 8 MiB together', LONGEST)
  }
  return laid
}

// ---- Metadata

/** As JSON text: what it holds is read once, here. */
function metadata(name, value) {
  let json
  try {
    json = JSON.stringify(value)
  } catch (error) {
    // Cycles and bigints are TypeErrors of stringify, too deep a nesting its RangeError; others come from getters.
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error
    throw misuse(`${name} takes a value that JSON can hold; got one that it cannot: ${error.message}`, error)
  }
  if (json === undefined) throw misuse(`${name} takes a value that JSON can hold; got ${shown(value)}`)
  bounded(name, Buffer.byteLength(json), 'JSON up to 65536 bytes', 65536)
  // stringify escapes exactly the surrogates that have no partner.
  if (/(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(json))
    throw misuse(`${name} takes strings in whole characters; got half of one`)
  return json
}

// ---- The calls

function currentDirectory() {
  try {
    return process.cwd()
  } catch (error) {
    throw failure('CWD_NOT_FOUND', `spawn: the host's own working directory is gone: ${error.message}`, error)
  }
}

/** Everything that native `spawn` needs to know, as JSON without what has its default; and whether the host's environment is added. */
function spawnOrder(command, options) {
  text('spawn: the command', command, 'a non-empty string up to 8 MiB', { min: 1, max: LONGEST })
  const order = schemas.spawn.read(options)
  order.command = command
  order.cwd ??= currentDirectory()
  const inherits = process.env === processBlock() && !workers.any
  if (!inherits) order.inherited = ownVariables()
  return { inherits, order: JSON.stringify(order) }
}

function taskId(call, value) {
  return text(`${call}: the task id`, value, 'the string that spawn resolved with', { max: MIB })
}

function taskIds(call, value) {
  if (!isArray(value)) throw misuse(`${call} takes an array of task ids; got ${shown(value)}`)
  // Not `map`: it skips holes.
  return Array.from(value, (id) => taskId(call, id))
}

function callback(value) {
  if (typeof value !== 'function' || isRevoked(value))
    throw misuse(`onCompletion takes a function; got ${shown(value)}`)
  return value
}

function signalNumber(name, value) {
  const { signals } = os.constants
  if (typeof value === 'string' && Object.hasOwn(signals, value)) return signals[value]
  throw misuse(`${name} takes the name of a signal, such as "SIGTERM"; got ${shown(value)}`)
}

function abortSignal(name, value) {
  // By its shape: a signal may come from another realm, where `instanceof` knows it not.
  const fits = !isRevoked(value) && typeof value?.aborted === 'boolean' && typeof value.addEventListener === 'function'
  if (!fits) throw misuse(`${name} takes an AbortSignal; got ${shown(value)}`)
  return value
}

const schemas = {
  registry: new Schema('TaskRegistry', {
    storageDir: directory('STORAGE_FAILED'),
    maxRunning: (name, value) => whole(name, value, 'a whole number from 1 to 2147483647', 1, 0x7fffffff),
  }),
  spawn: new Schema('spawn', {
    sessionId: kinds.sessionId,
    cwd: directory('CWD_NOT_FOUND'),
    env: overrides,
    timeoutMs: kinds.deadline,
    graceMs: kinds.milliseconds,
    shell: (name, value) => text(name, value, 'an absolute path or a name on PATH, up to 4095 bytes', PATH),
    stderr: (name, value) => oneOf(name, value, ['separate', 'merge']),
    maxOutputBytes: (name, value) => whole(name, value, 'a whole number of bytes, 0 for no limit', 0),
    cleanup: (name, value) => oneOf(name, value, ['keep', 'kill']),
    notify: flag,
    description: (name, value) => text(name, value, 'a string up to 65536 bytes', { max: 65536, nul: true }),
    metadata,
  }),
  status: new Schema('status', { sessionId: kinds.sessionId, previewBytes: kinds.previewBytes }),
  list: new Schema('list', {
    sessionId: kinds.sessionId,
    previewBytes: kinds.previewBytes,
    status: kinds.status,
  }),
  kill: new Schema('kill', { sessionId: kinds.sessionId, signal: signalNumber, graceMs: kinds.milliseconds }),
  wait: new Schema('wait', { sessionId: kinds.sessionId, timeoutMs: kinds.milliseconds, signal: abortSignal }),
  output: new Schema('output', {
    sessionId: kinds.sessionId,
    stream: (name, value) => oneOf(name, value, ['stdout', 'stderr']),
    from: (name, value) => whole(name, value, 'a whole number of bytes', Number.MIN_SAFE_INTEGER),
    maxBytes: (name, value) => whole(name, value, 'a whole number of bytes from 1 to 16777216', 1, 16 * MIB),
    wholeLines: flag,
  }),
  onCompletion: new Schema('onCompletion', {
    sessionId: kinds.sessionId,
    ack: (name, value) => oneOf(name, value, ['auto', 'manual']),
  }),
  drain: new Schema('drain', { sessionId: kinds.sessionId }),
  pending: new Schema('pending', { sessionId: kinds.sessionId }),
  cleanup: new Schema('cleanup', { olderThanMs: kinds.milliseconds, undeliveredOlderThanMs: kinds.milliseconds }),
  shutdown: new Schema('shutdown', { graceMs: kinds.milliseconds }),
}

module.exports = {
  schemas,
  kinds,
  spawnOrder,
  taskId,
  taskIds,
  callback,
  absolute,
  SIGTERM: os.constants.signals.SIGTERM,
}
