'use strict'
// Finds the addon of this platform. Each shipped file stands in a `require` of its own, with a literal name, in a `try`
// of its own: bundlers follow literals only, and outside of a `try` refuse the build over one that is not installed. Those
// that take no addon show the line at which they stop: it says what to do.
//
// `NativeRegistry` is undefined on platforms for which nothing is shipped: the package loads there all the same.

const fs = require('node:fs')
const { failure } = require('./errors.js')

/** Of this release, and so of the only addon that speaks as its face does. A literal: not every bundler reads package.json. */
const VERSION = '0.1.0'

const platform = platformKey()
const shipped = ['linux-x64-gnu', 'linux-arm64-gnu', 'linux-x64-musl', 'linux-arm64-musl']
const misses = []

function platformKey() {
  const { platform: system, arch } = process
  return system === 'linux' ? `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}` : `${system}-${arch}`
}

/** A program names its dynamic loader in its first bytes; asking for a report is a hundred times slower. */
function isMusl() {
  // Deno opens nothing in /proc, and reports nothing, without permissions that nothing else here needs.
  if (process.versions.deno !== undefined) return globalThis.Deno?.build.target.endsWith('musl') === true
  const head = Buffer.alloc(2048)
  try {
    const program = fs.openSync('/proc/self/exe')
    fs.readSync(program, head)
    fs.closeSync(program)
  } catch {
    // Without /proc the report has to say it.
  }
  if (head.includes('/ld-musl-')) return true
  return !head.includes('/ld-linux-') && isMuslByReport()
}

function isMuslByReport() {
  const { report } = process
  if (typeof report?.getReport !== 'function') return false
  // A report looks up the peers of open sockets by name, unless told not to: that can take seconds.
  const before = report.excludeNetwork
  report.excludeNetwork = true
  const { header } = report.getReport()
  report.excludeNetwork = before
  return header !== undefined && header.glibcVersionRuntime === undefined
}

function miss(name, error) {
  misses.push({ name, error })
}

function load() {
  const { OUTLIVE_NATIVE } = process.env
  if (OUTLIVE_NATIVE) {
    try {
      return require(OUTLIVE_NATIVE)
    } catch (error) {
      return miss(`${OUTLIVE_NATIVE} (from OUTLIVE_NATIVE)`, error)
    }
  }
  switch (platform) {
    case 'linux-x64-gnu':
      try {
        return require('./outlive.linux-x64-gnu.node')
      } catch (error) {
        miss('./outlive.linux-x64-gnu.node', error)
      }
      try {
        return require('outlive-linux-x64-gnu') // Bundling stops here? Then leave "outlive" external.
      } catch (error) {
        miss('outlive-linux-x64-gnu', error)
      }
      break
    case 'linux-arm64-gnu':
      try {
        return require('./outlive.linux-arm64-gnu.node')
      } catch (error) {
        miss('./outlive.linux-arm64-gnu.node', error)
      }
      try {
        return require('outlive-linux-arm64-gnu') // Bundling stops here? Then leave "outlive" external.
      } catch (error) {
        miss('outlive-linux-arm64-gnu', error)
      }
      break
    case 'linux-x64-musl':
      try {
        return require('./outlive.linux-x64-musl.node')
      } catch (error) {
        miss('./outlive.linux-x64-musl.node', error)
      }
      try {
        return require('outlive-linux-x64-musl') // Bundling stops here? Then leave "outlive" external.
      } catch (error) {
        miss('outlive-linux-x64-musl', error)
      }
      break
    case 'linux-arm64-musl':
      try {
        return require('./outlive.linux-arm64-musl.node')
      } catch (error) {
        miss('./outlive.linux-arm64-musl.node', error)
      }
      try {
        return require('outlive-linux-arm64-musl') // Bundling stops here? Then leave "outlive" external.
      } catch (error) {
        miss('outlive-linux-arm64-musl', error)
      }
  }
}

const addon = load()
if (addon === undefined && misses.length > 0) {
  const tried = misses.map(({ name, error }) => `  ${name}: ${String(error?.message ?? error).split('\n')[0]}`)
  const isNowhere = misses.every(({ error }) => error?.code === 'MODULE_NOT_FOUND')
  const advice =
    `\nIt comes as the optional dependency outlive-${platform}: install without leaving those out. ` +
    'In a checkout "npm ci && npm run build" makes it.'
  const bundled = '\nIn a bundle: leave "outlive" external, and ship node_modules with it.'
  const message = `outlive: no addon for ${platform} could be loaded. Tried:\n${tried.join('\n')}`
  throw new Error(message + (isNowhere ? advice : '') + bundled, {
    cause: new AggregateError(misses.map(({ error }) => error)),
  })
}
// Loaders for pictures and the like put the name of a file in its place.
if (addon !== undefined && addon?.NativeRegistry === undefined) {
  const got = typeof addon === 'string' ? `the string "${addon}"` : 'another module'
  throw new Error(
    `outlive: in place of the addon for ${platform} there is ${got}. A bundler must copy .node files as they are ` +
      '(esbuild: --loader:.node=copy, webpack: node-loader) or leave "outlive" external',
  )
}
// The system knows a library by its path: where an upgrade has replaced the files, a process that has loaded the addon before goes on
// with that one, whatever is loaded anew.
if (addon !== undefined && addon.VERSION !== VERSION) {
  const { OUTLIVE_NATIVE } = process.env
  const advice = OUTLIVE_NATIVE
    ? `OUTLIVE_NATIVE names that addon, ${OUTLIVE_NATIVE}; it must be of the same release. `
    : 'The package was upgraded while this process ran, or its addon is of another release. '
  throw failure(
    'UNSUPPORTED_PLATFORM',
    `outlive: the files are those of version ${VERSION}, and the loaded addon is version ${addon.VERSION}. ` +
      `${advice}Restart the host; if that does not help, install the package anew`,
  )
}

module.exports = {
  NativeRegistry: addon?.NativeRegistry,
  isMainThread: addon?.isMainThread() === true,
  platform,
  shipped,
}
