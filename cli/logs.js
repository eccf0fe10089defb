'use strict'
// `logs`: what a task wrote, each stream on the stream of its own name.
//
// Following never polls. `fs.watch` (inotify) rings when a capture file grows, the promise of `wait` when the task ends,
// and either ring reads on from where the last page ended. The watch stands before the first look, so what is written in
// between rings; what rings twice reads nothing the second time. `wait` alone could tell only the end, and the watch alone
// not the end. Processes that outlive the task may write on: following ends with the task and says that they run.
//
// What is no text comes out as the bytes that were written: the API tells where they are, and the file has them.

const { closeSync, openSync, readSync, watch } = require('node:fs')
const { setImmediate: turn } = require('node:timers/promises')
const { find } = require('./find.js')
const { complain, write } = require('./terminal.js')

const PAGE_BYTES = 1024 * 1024
const NEWLINE = 10
const LEAST_PAGE_BYTES = 1024
const TRAIL_BYTES = 64

async function run(tasks, { sessions, follow, lines, stream, json }, typed) {
  const { taskId, stderrPath, stdoutPath } = find(tasks, sessions, typed)
  // A merged task has one file, which is its stdout.
  const files = { stdout: stdoutPath, ...(stderrPath === null ? {} : { stderr: stderrPath }) }
  const streams = Object.keys(files).filter((name) => stream === undefined || name === stream)
  if (streams.length === 0) complain('the stderr of this task was merged into its stdout')
  const readers = streams.map((name) => reader(tasks, taskId, name, files[name], json))
  for (const each of readers) each.start(lines)
  if (!follow) {
    for (const each of readers) await each.readOn()
    return 'done'
  }
  for (const each of readers) each.goOn()
  const watches = []
  try {
    // What a ring throws must not be lost in the event loop: it ends the following.
    const failed = new Promise((_, reject) => {
      for (const [index, name] of streams.entries()) watches.push(ring(files[name], readers[index], reject))
    })
    return await Promise.race([followed(tasks, taskId, readers), failed])
  } finally {
    for (const each of watches) each?.close()
  }
}

async function followed(tasks, taskId, readers) {
  const end = tasks.wait(taskId)
  // With what writes faster than it can be printed nobody ever catches up.
  const caughtUp = Promise.all(readers.map((each) => each.readOn()))
  const { status, descendants } = await Promise.race([end, caughtUp.then(() => end)])
  for (const each of readers) each.stop()
  for (const each of readers) await each.readOn()
  if (descendants > 0) complain(`the task has ended; ${descendants} of its processes still run and may write more`)
  return status === 'completed' ? 'done' : 'notCompleted'
}

function ring(path, { readOn }, failed) {
  try {
    return watch(path, () => readOn().catch(failed)).on('error', failed)
  } catch (error) {
    // The kernel's limit of watches, or a file system without them.
    complain(`cannot watch ${path} (${error.message}); what it gets comes when the task ends`)
    return undefined
  }
}

/**
 * Prints one stream page by page: what is there at the `start`, or, from `goOn` until what is there at the `stop`, what comes as
 * well. `readOn` as often as something may have come, and at the end.
 */
function reader(tasks, taskId, stream, path, json) {
  let from = 0
  let until
  let reading
  /** From where nothing more was found. */
  let before
  const page = (at, maxBytes = 1) => tasks.output(taskId, { stream, from: at, maxBytes })
  const printed = trail(path)
  /** A command empties its own output with `>/dev/stderr`, say: what it writes then is all there is. */
  const startOver = (totalBytes) => {
    if (totalBytes >= from && printed.isThere()) return false
    complain(`${stream} was truncated by the command; from its beginning again:`)
    printed.forget()
    from = 0
    before = undefined
    return true
  }
  const pages = async () => {
    before = undefined
    while (from !== before && from < until) {
      const at = from
      const chunk = await shownAsWritten(
        (maxBytes) => page(at, Math.max(1, Math.min(maxBytes, until - at))),
        path,
        json,
      )
      if (from !== at || startOver(chunk.totalBytes)) continue
      before = at
      from = chunk.nextOffset
      if (chunk.text === '' && chunk.droppedBytes === 0) continue
      printed.add(chunk)
      await print(stream, chunk, json)
      // What is written to a file is out at once, and the end would never be heard behind such pages. Not after the look that finds
      // nothing: a ring that comes until the reading is over would be lost.
      await turn()
    }
  }
  const readOn = async () => {
    // It looks again after each page, and so sees what rings while that is printed.
    reading ??= pages().finally(() => {
      reading = undefined
    })
    await reading
  }
  const stop = () => {
    until = page(-1).totalBytes
    startOver(until)
  }
  const start = (lines) => {
    stop()
    from = lines === undefined ? 0 : startOfLast(lines, path, until, page)
  }
  const goOn = () => {
    until = Number.POSITIVE_INFINITY
  }
  return { start, goOn, stop, readOn }
}

/**
 * The first bytes that were printed: where others stand in their place, the command has emptied the file. Not the last: a writer with an
 * offset of its own changes those.
 */
function trail(path) {
  let begin
  let first = Buffer.alloc(0)
  const forget = () => {
    begin = undefined
    first = Buffer.alloc(0)
  }
  const add = ({ text, bytes, from, nextOffset }) => {
    if (begin !== undefined) return
    begin = from
    // A U+FFFD may stand for as many bytes as it has itself.
    const shown = bytes ?? Buffer.from(text.includes('\u{fffd}') ? '' : text)
    if (from + shown.length === nextOffset) first = Buffer.from(shown.subarray(0, TRAIL_BYTES))
  }
  const isThere = () => {
    const found = first.length === 0 ? first : read(path, begin, first.length)
    // What the output limit has removed meanwhile reads as zeros.
    return first.every((byte, at) => found[at] === byte || found[at] === 0)
  }
  return { add, forget, isThere }
}

function print(stream, { text, bytes = text, ...chunk }, json) {
  if (json) return write(process.stdout, `${JSON.stringify({ stream, text, ...chunk })}\n`)
  if (chunk.droppedBytes > 0) complain(`${chunk.droppedBytes} bytes of ${stream} were removed by the output limit`)
  return write(process[stream], bytes)
}

/**
 * A page with the bytes that it shows. Where the middle of the file has gone before they were read, another look says so, at a smaller
 * page, which is read sooner; where even the least is gone each time, its text stands for it.
 */
async function shownAsWritten(look, path, json) {
  for (let maxBytes = PAGE_BYTES; ; maxBytes /= 2) {
    const chunk = look(maxBytes)
    if (json) return chunk
    const bytes = bytesOf(chunk, path)
    if (bytes !== undefined || maxBytes <= LEAST_PAGE_BYTES) return { ...chunk, bytes }
    await turn()
  }
}

/** The bytes that a chunk shows, if they are still there. They stand at its beginning or, behind what was removed, at its end. */
function bytesOf({ text, from, nextOffset, droppedBytes }, path) {
  const asText = Buffer.from(text)
  const size = nextOffset - from - droppedBytes
  if (asText.length === size && !text.includes('\u{fffd}')) return asText
  const places = [from, nextOffset - size].map((at) => read(path, at, size))
  return places.find((bytes) => bytes.toString() === text)
}

function read(path, at, size) {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(size)
    return bytes.subarray(0, readSync(file, bytes, 0, size, at))
  } finally {
    closeSync(file)
  }
}

/**
 * The offset at which the last `lines` lines of a file of this size begin, found by looking back. When there are fewer, it is 0, or
 * the end of what the output limit removed: that can be larger than anybody reads through. `page`: of an offset and a length.
 */
function startOfLast(lines, path, size, page) {
  if (!Number.isSafeInteger(size)) throw new Error(`${path} is too long to be looked at from its end`)
  if (lines === 0) return size
  let left = lines
  let start = size
  // Without the last byte: a newline there ends the last line, and begins none.
  for (let end = size - 1; end > 0; end = start) {
    start = Math.max(end - PAGE_BYTES, 0)
    const removedTo = endOfRemoved(start, end, page)
    start = Math.min(removedTo ?? start, end)
    const bytes = read(path, start, end - start)
    for (let at = bytes.lastIndexOf(NEWLINE); at !== -1; at = at === 0 ? -1 : bytes.lastIndexOf(NEWLINE, at - 1)) {
      if (--left === 0) return start + at + 1
    }
    if (removedTo !== undefined) {
      complain(`fewer than ${lines} lines are there: the output limit removed what was before them`)
      return start
    }
  }
  return 0
}

/** Where what is there goes on behind what the output limit removed, if it removed anything from `start` to `end`. */
function endOfRemoved(start, end, page) {
  const first = page(start)
  // Of an offset in what was removed the page is behind it; one that comes up to it ends there, and the next begins behind it.
  if (first.droppedBytes > 0) return first.from + first.droppedBytes
  const { droppedBytes, nextOffset } = page(start, end - start)
  return droppedBytes > 0 ? nextOffset : undefined
}

module.exports = { run }
