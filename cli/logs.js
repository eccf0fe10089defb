'use strict'
// `logs`: what a task wrote, each stream on the stream of its own name.
//
// Following never polls. `fs.watch` (inotify) rings when a capture file grows, the promise of `wait` when the task ends,
// and either ring reads on from where the last page ended. The watch stands before the first look, so what is written in
// between rings; what rings twice reads nothing the second time. `wait` alone could tell only the end, and the watch alone
// not the end. Processes that outlive the task may write on: following ends with the task and says that they run.

const { watch } = require('node:fs')
const { find } = require('./find.js')
const { complain, sayJson } = require('./terminal.js')

const PAGE_BYTES = 1024 * 1024
const MAX_TAIL_BYTES = 16 * PAGE_BYTES

async function run(tasks, { sessions, follow, lines, stream, json }, typed) {
  const taskId = find(tasks, sessions, typed)
  const { stderrPath, stdoutPath } = tasks.status(taskId, { previewBytes: 0 })
  // A merged task has one file, which is its stdout.
  const files = { stdout: stdoutPath, ...(stderrPath === null ? {} : { stderr: stderrPath }) }
  const streams = Object.keys(files).filter((name) => stream === undefined || name === stream)
  const readers = streams.map((name) => reader(tasks, taskId, name, json))
  if (!follow) {
    for (const each of readers) each.start(lines)
    return 'done'
  }
  const watches = []
  try {
    // What a ring throws must not be lost in the event loop: it ends the following.
    const failed = new Promise((_, reject) => {
      for (const [index, name] of streams.entries()) watches.push(ring(files[name], readers[index], reject))
    })
    for (const each of readers) each.start(lines)
    const ended = await Promise.race([tasks.wait(taskId), failed])
    return toTheEnd(ended, readers)
  } finally {
    for (const each of watches) each?.close()
  }
}

function toTheEnd({ status, descendants }, readers) {
  for (const each of readers) each.readOn()
  if (descendants > 0) complain(`the task has ended; ${descendants} of its processes still run and may write more`)
  return status === 'completed' ? 'done' : 'notCompleted'
}

function ring(path, { readOn }, failed) {
  try {
    return watch(path, () => {
      try {
        readOn()
      } catch (error) {
        failed(error)
      }
    })
  } catch (error) {
    // The kernel's limit of watches, or a file system without them.
    complain(`cannot watch ${path} (${error.message}); what it gets comes when the task ends`)
    return undefined
  }
}

/** Prints one stream page by page; `start` first, `readOn` as often as something may have come. */
function reader(tasks, taskId, stream, json) {
  let from
  const take = (chunk) => {
    from = chunk.nextOffset
    if (chunk.text !== '' || chunk.droppedBytes > 0) print(stream, chunk, json)
  }
  const readOn = () => {
    if (from === undefined) return // a ring before the start, which will see the same bytes
    for (let before = -1; from !== before; ) {
      before = from
      take(tasks.output(taskId, { stream, from, maxBytes: PAGE_BYTES }))
    }
  }
  const start = (lines) => {
    if (lines === undefined) from = 0
    else take(lastLines(tasks, taskId, stream, lines))
    readOn()
  }
  return { start, readOn }
}

function print(stream, chunk, json) {
  if (json) return sayJson({ stream, ...chunk })
  if (chunk.droppedBytes > 0) complain(`${chunk.droppedBytes} bytes of ${stream} were removed by the output limit`)
  process[stream].write(chunk.text)
}

/** The chunk that holds the last `lines` lines, found by looking back in windows that grow; at most 16 MiB. */
function lastLines(tasks, taskId, stream, lines) {
  for (let back = 64 * 1024; ; back *= 4) {
    const window = Math.min(back, MAX_TAIL_BYTES)
    const chunk = tasks.output(taskId, { stream, from: -window, maxBytes: window })
    const start = lineStart(chunk.text, lines)
    if (start === undefined && chunk.from > 0 && window < MAX_TAIL_BYTES) continue
    const text = chunk.text.slice(start ?? 0)
    // Removed bytes may stand before the text, so its place is counted from behind.
    const from = start === undefined ? chunk.from : Math.max(chunk.nextOffset - Buffer.byteLength(text), chunk.from)
    return { ...chunk, text, from }
  }
}

/** The index in `text` at which its last `lines` lines begin; undefined when it has fewer. */
function lineStart(text, lines) {
  if (lines === 0) return text.length
  let at = text.endsWith('\n') ? text.length - 1 : text.length
  for (let left = lines; left > 0; left--) {
    at = at <= 0 ? -1 : text.lastIndexOf('\n', at - 1)
    if (at === -1) return undefined
  }
  return at + 1
}

module.exports = { run }
