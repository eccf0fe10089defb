'use strict'
// Listens to abort signals: however many promises hang on one signal, it gets one listener. Node takes more than ten for a leak.
// A signal need not be Node's own: its methods may throw, and call back into the registry that listens.

const { addAbortListener } = require('node:events')

/** By signal: what is called when it is aborted, and the listener that does so. */
const waiting = new WeakMap()

/** Calls `act` when the signal is aborted, unless the function that comes back is called before. */
function onAbort(signal, act) {
  const { acts, fire } = waiting.get(signal) ?? listen(signal)
  acts.add(act)
  if (signal.aborted) fire() // while it was being listened to
  return () => {
    if (acts.delete(act) && acts.size === 0) forget(signal, fire)
  }
}

function listen(signal) {
  const acts = new Set()
  const fire = () => {
    forget(signal, fire)
    for (const act of [...acts]) act()
  }
  // Node's own way withstands others that stop the event before it comes here. Node 18 before 18.18 has none.
  if (addAbortListener === undefined) signal.addEventListener('abort', fire, { once: true })
  else addAbortListener(signal, fire)
  const listener = { acts, fire }
  waiting.set(signal, listener)
  return listener
}

function forget(signal, fire) {
  waiting.delete(signal)
  try {
    signal.removeEventListener('abort', fire)
  } catch {
    // The promise settles all the same, and a late call finds nobody.
  }
}

module.exports = { onAbort }
