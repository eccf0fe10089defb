// What the demo shows: one live line per task in a terminal, plain lines elsewhere.
import { stripVTControlCharacters } from 'node:util'

const live = process.stdout.isTTY === true && !process.env.CI && !process.env.NO_COLOR
const paint = (code, text) => (live ? `\u001b[${code}m${text}\u001b[0m` : text)
const SPINNER = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'

export const bold = (text) => paint(1, text)
export const green = (text) => paint(32, text)
export const red = (text) => paint(31, text)
export const dim = (text) => paint(2, text)

let drawn = 0
let turn = 0
let isOver = false

const away = () => (drawn > 0 ? `\u001b[${drawn}A\u001b[J` : '')

/** A line that stays. */
export function print(text) {
  process.stdout.write(`${away()}${text}\n`)
  drawn = 0
}

/** The last lines of an output that say something, fit to be shown: a task may write anything, and move our cursor. */
export function lastLines(text, count) {
  const lines = stripVTControlCharacters(text).split(/[\r\n]+/)
  return lines
    .map((line) => line.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ').trimEnd())
    .filter((line) => line !== '')
    .slice(-count)
}

/** The live lines: what runs, for how long, and the last thing that it said. */
export function draw(tasks) {
  if (!live || isOver) return
  turn += 1
  const lines = tasks.map(({ description, status, durationMs, outputPreview }) => {
    const isRunning = status === 'running' || status === 'starting' || status === 'killing'
    const mark = isRunning ? dim(SPINNER[turn % SPINNER.length]) : status === 'completed' ? green('✓') : red('✗')
    const head = ` ${description.padEnd(13)} ${status.padEnd(9)} ${seconds(durationMs).padStart(7)}  `
    // A line that wraps would be two to the terminal and one to us.
    const room = Math.max(0, (process.stdout.columns || 80) - 2)
    return mark + head.slice(0, room) + dim((lastLines(outputPreview, 1)[0] ?? '').slice(0, room - head.length))
  })
  process.stdout.write(`\u001b[?25l${away()}${lines.map((line) => `${line}\n`).join('')}`)
  drawn = lines.length
}

/** Takes the live lines away for good and gives the cursor back. */
export function close() {
  if (live && !isOver && process.stdout.writable) process.stdout.write(`${away()}\u001b[?25h`)
  drawn = 0
  isOver = true
}

export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`

export function table(head, rows) {
  const lines = [head, ...rows].map((row) => row.map(String))
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const [first, ...rest] = lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column])).join('  '))
  return [bold(first.trimEnd()), ...rest.map((line) => line.trimEnd())].join('\n')
}
