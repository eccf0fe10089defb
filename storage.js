'use strict'
// Where tasks live when nobody says so.

const os = require('node:os')
const path = require('node:path')
const { absolute } = require('./arguments.js')
const { failure } = require('./errors.js')

const HOMELESS = 'there is no home directory for the store; say storageDir or set OUTLIVE_DIR'

/** The user's own, where $HOME is empty or relative: the store would lie in whatever folder the host was started in. */
function home() {
  try {
    const found = os.homedir()
    if (path.isAbsolute(found)) return found
    const { homedir } = os.userInfo()
    if (path.isAbsolute(homedir)) return homedir
  } catch (error) {
    throw failure('STORAGE_FAILED', HOMELESS, error)
  }
  throw failure('STORAGE_FAILED', HOMELESS)
}

/** The directory of the default store. */
function defaultStorageDir() {
  const { OUTLIVE_DIR, XDG_STATE_HOME } = process.env
  if (OUTLIVE_DIR) return absolute('STORAGE_FAILED', 'OUTLIVE_DIR', OUTLIVE_DIR)
  // The specification of XDG says that a relative path in it counts as none.
  if (XDG_STATE_HOME && path.isAbsolute(XDG_STATE_HOME)) return path.join(XDG_STATE_HOME, 'outlive')
  return path.join(home(), '.local', 'state', 'outlive')
}

module.exports = { defaultStorageDir }
