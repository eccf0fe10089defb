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
const { find } = require('./find.js')
const { complain, sayJson } = require('./terminal.js')

const PAGE_BYTES = 1024 * 1024
const MAX_TAIL_BYTES = 16 * PAGE_BYTES
const NEWLINE = 10

async function run(tasks, { sessions, follow, lines, stream, json }, typed) {
  const taskId = find(tasks, sessions, typed)
  const { stderrPath, stdoutPath } = tasks.status(taskId, { previewBytes: 0 })
  // A merged task has one file, which is its stdout.
  const files = { stdout: stdoutPath, ...(stderrPath === null ? {} : { stderr: stderrPath }) }
  const streams = Object.keys(files).filter((name) => stream === undefined || name === stream)
  if (streams.length === 0) complain('the stderr of this task was merged into its stdout')
  const readers = streams.map((name) => reader(tasks, taskId, name, files[name], json))
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
function reader(tasks, taskId, stream, path, json) {
  let from
  const take = (chunk) => {
    from = chunk.nextOffset
    if (chunk.text !== '' || chunk.droppedBytes > 0) print(stream, chunk, path, json)
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
    else take(lastLines(tasks, taskId, stream, path, lines))
    readOn()
  }
  return { start, readOn }
}

function print(stream, { bytes, ...chunk }, path, json) {
  if (json) return sayJson({ stream, ...chunk })
  if (chunk.droppedBytes > 0) complain(`${chunk.droppedBytes} bytes of ${stream} were removed by the output limit`)
  process[stream].write(bytes ?? bytesOf(chunk, path))
}

/**
 * The bytes that a chunk shows. They stand at its beginning or, behind what was removed, at its end. If they are not to be had,
 * because the middle of the file has gone in the meantime, the text stands for them.
 */
function bytesOf({ text, from, nextOffset, droppedBytes }, path) {
  const asText = Buffer.from(text)
  const size = nextOffset - from - droppedBytes
  if (asText.length === size && !text.includes('\u{fffd}')) return asText
  const places = [from, nextOffset - size].map((at) => read(path, at, size))
  return places.find((bytes) => bytes.toString() === text) ?? asText
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

/** The chunk that holds the last `lines` lines, found by looking back in windows that grow; at most 16 MiB. */
function lastLines(tasks, taskId, stream, path, lines) {
  for (let back = 64 * 1024; ; back *= 4) {
    const window = Math.min(back, MAX_TAIL_BYTES)
    const chunk = tasks.output(taskId, { stream, from: -window, maxBytes: window })
    const all = bytesOf(chunk, path)
    const start = lineStart(all, lines)
    if (start === undefined && chunk.from > 0 && window < MAX_TAIL_BYTES) continue
    const bytes = all.subarray(start ?? 0)
    // Removed bytes may stand before the text, so its place is counted from behind.
    const from = start === undefined ? chunk.from : Math.max(chunk.nextOffset - bytes.length, chunk.from)
    return { ...chunk, text: bytes.toString(), from, bytes }
  }
}

/** The index at which the last `lines` lines begin; undefined when there are fewer. */
function lineStart(bytes, lines) {
  if (lines === 0) return bytes.length
  let at = bytes.at(-1) === NEWLINE ? bytes.length - 1 : bytes.length
  for (let left = lines; left > 0; left--) {
    at = at <= 0 ? -1 : bytes.lastIndexOf(NEWLINE, at - 1)
    if (at === -1) return undefined
  }
  return at + 1
}

module.exports = { run }
