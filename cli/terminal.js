'use strict'
// What people see: colours where somebody looks, plain text everywhere else, and nothing that a task wrote or was called
// can steer the terminal from a table.

const { stripVTControlCharacters } = require('node:util')

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 }

function isColoured(stream) {
  const { NO_COLOR, TERM } = process.env
  return stream.isTTY === true && !NO_COLOR && TERM !== 'dumb'
}

/** The text in a colour, if stdout shows colours. */
function paint(colour, text) {
  return isColoured(process.stdout) ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text
}

const STATUS_COLOURS = {
  starting: 'cyan',
  running: 'cyan',
  killing: 'yellow',
  completed: 'green',
  failed: 'red',
  killed: 'yellow',
  timed_out: 'yellow',
  lost: 'magenta',
}

function paintStatus(status, text = status) {
  return paint(STATUS_COLOURS[status] ?? 'bold', text)
}

/** Writes a part of the result and resolves when it is out: what a slow reader has not taken shall not pile up in memory. */
function write(stream, bytes) {
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => (error ? reject(unwritten(error)) : resolve()))
  })
}

function unwritten({ code, message }) {
  return Object.assign(new Error(`cannot write: ${message}`), { code })
}

function say(line) {
  return write(process.stdout, `${line}\n`)
}

function sayJson(value) {
  return say(JSON.stringify(value))
}

/** A remark about the result, which is not part of it: nothing depends on whether it is read. */
function complain(message) {
  process.stderr.write(`outlive: ${message}\n`)
}

// Those of the last two ranges turn the direction of writing round, and a command would read as another one.
const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

/** Without anything that would move the cursor, change a colour or a direction, or set a title. Lines stay lines. */
function harmless(text) {
  return stripVTControlCharacters(text).replaceAll('\r\n', '\n').replace(STEERING, '\u{fffd}')
}

/** On one line, for a table. */
function onOneLine(text) {
  return harmless(text.replace(/\s+/g, ' ').trim())
}

function bytes(count) {
  if (count < 1000) return `${count} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let amount = count / 1000
  let unit = 0
  for (; amount >= 999.5 && unit < units.length - 1; unit++) amount /= 1000
  return `${amount < 10 ? amount.toFixed(1) : Math.round(amount)} ${units[unit]}`
}

/** The two largest units: `350ms`, `4.2s`, `3m 20s`, `2h 5m`, `3d`. */
function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)}ms`
  const seconds = Math.floor(ms / 1000)
  if (seconds < 60) return `${Math.floor(ms / 100) / 10}s`
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  if (minutes < 60) return twoUnits(minutes, 'm', seconds % 60, 's')
  if (hours < 24) return twoUnits(hours, 'h', minutes % 60, 'm')
  return twoUnits(Math.floor(hours / 24), 'd', hours % 24, 'h')
}

function twoUnits(large, largeUnit, small, smallUnit) {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit} ${small}${smallUnit}`
}

/** In local time, for today's tasks and last week's alike: `2026-11-23 14:05:09`. */
function moment(unixMs) {
  const two = (number) => String(number).padStart(2, '0')
  const at = new Date(unixMs)
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
}

module.exports = { paint, paintStatus, say, sayJson, write, complain, harmless, onOneLine, bytes, duration, moment }
