/** What waiting means in these tests, always with a loud limit, and what happens after a file's last test. */
import { setTimeout as pause } from 'node:timers/promises'
import { inspect } from 'node:util'

const finishers: (() => unknown)[] = []

/** Runs `finish` after the last test of this file, later ones first. May be called from inside a test. */
export function atTheEnd(finish: () => unknown): void {
  finishers.push(finish)
}

afterAll(async () => {
  for (let finish = finishers.pop(); finish; finish = finishers.pop()) await finish()
})

/**
 * The first truthy value of `look`. Fails loudly, with the last value or error, when `limitMs` passes first; a `look`
 * that throws is asked again. The limit is there to name what hangs, never to be waited for.
 */
export async function eventually<T>(
  look: () => T | Promise<T>,
  what: string,
  limitMs = 30_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + limitMs
  let last = 'never looked'
  for (;;) {
    try {
      const value = await look()
      if (value) return value
      last = `last seen: ${inspect(value)}`
    } catch (error) {
      last = `last error: ${inspect(error)}`
    }
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}; ${last}`)
    await pause(5)
  }
}

/** `eventually`, with the event loop standing still. */
export function blockUntil(look: () => boolean, limitMs = 30_000): void {
  const deadline = performance.now() + limitMs
  const never = new Int32Array(new SharedArrayBuffer(4))
  while (!look()) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms`)
    // Whoever shares a processor with this thread needs it now.
    Atomics.wait(never, 0, 0, 20)
  }
}

/** `promise`, or a loud failure that says what did not come within `limitMs`. */
export async function within<T>(promise: Promise<T>, what: string, limitMs = 30_000): Promise<T> {
  const stop = new AbortController()
  const tooLate = pause(limitMs, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`not within ${limitMs} ms: ${what}`)
  })
  tooLate.catch(() => {}) // aborted when the promise wins
  try {
    return await Promise.race([promise, tooLate])
  } finally {
    stop.abort()
  }
}

/** What a promise rejects with; fails when it resolves. */
export async function rejectionOf(promise: Promise<unknown>): Promise<NodeJS.ErrnoException> {
  const resolved = Symbol('resolved')
  const error = await promise.then(
    (value) => ({ [resolved]: value }),
    (error) => error,
  )
  if (error !== null && typeof error === 'object' && resolved in error) {
    throw new Error(`it resolved with ${inspect(error[resolved])}`)
  }
  return error
}
