'use strict'
// Opens the native half of a registry, and asks whether it is still there.

const { AsyncResource } = require('node:async_hooks')
const { schemas } = require('./arguments.js')
const { outOfSight } = require('./environment.js')
const { failure, fromThrown } = require('./errors.js')
const native = require('./native.js')
const { defaultStorageDir } = require('./storage.js')

// Native code calls back in the asynchronous context that it was opened in. That of a request would keep what it has
// stored for as long as the registry is open; that of whoever has loaded this file is there once.
const loading = outOfSight(() => new AsyncResource('outlive', { requireManualDestroy: true }))

function unsupportedError() {
  const shipped = native.shipped.join(', ')
  return failure('UNSUPPORTED_PLATFORM', `outlive has no addon for ${native.platform}; it runs on ${shipped}`)
}

/** Undefined where there is no addon. `wake` is called when it has something to take. */
function openAddon(options, wake) {
  const { storageDir, maxRunning = 8 } = schemas.registry.read(options)
  if (native.NativeRegistry === undefined) return undefined
  const place = storageDir ?? defaultStorageDir()
  // In a worker `process.env` need not be what native code would read.
  const supervisor = process.env.OUTLIVE_SUPERVISOR || null
  const open = () => new native.NativeRegistry(place, supervisor, maxRunning, wake)
  try {
    return outOfSight(() => loading.runInAsyncScope(open))
  } catch (error) {
    throw fromThrown(error)
  }
}

/** Whether the one of this number can still be called. */
const isHeld = (number) => native.NativeRegistry.isHeld(number)

module.exports = { isHeld, openAddon, unsupportedError }
