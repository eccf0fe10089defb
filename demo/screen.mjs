// What the demo shows: one line per task in a terminal, plain lines elsewhere.

const live = process.stdout.isTTY === true && !process.env.CI
const colours = live && !process.env.NO_COLOR
const paint = (code, text) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text)
const SPINNER = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'

export const bold = (text) => paint(1, text)
export const green = (text) => paint(32, text)
export const red = (text) => paint(31, text)
export const dim = (text) => paint(2, text)

let drawn = 0
let turn = 0

/** A line that stays. */
export function print(text) {
  erase()
  process.stdout.write(`${text}\n`)
}

/** The live lines: what runs, for how long, and the last thing that it said. */
export function draw(rows) {
  if (!live) return
  erase()
  turn += 1
  const lines = rows.map(({ name, status, durationMs, last }) => {
    const runs = status === 'running' || status === 'starting' || status === 'killing'
    const mark = runs ? SPINNER[turn % SPINNER.length] : status === 'completed' ? green('✓') : red('✗')
    const text = `${mark} ${name.padEnd(14)} ${status.padEnd(10)} ${(durationMs / 1000).toFixed(1).padStart(6)} s  `
    const room = Math.max(0, (process.stdout.columns ?? 80) - 42)
    return text + dim(last.slice(0, room))
  })
  process.stdout.write(`\u001b[?25l${lines.map((line) => `${line}\n`).join('')}`)
  drawn = lines.length
}

/** Takes the live lines away and gives the cursor back. */
export function erase() {
  if (drawn > 0) process.stdout.write(`\u001b[${drawn}A\u001b[J`)
  if (live) process.stdout.write('\u001b[?25h')
  drawn = 0
}

export function table(head, rows) {
  const lines = [head, ...rows].map((row) => row.map(String))
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const text = (line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd()
  return [bold(text(lines[0])), ...lines.slice(1).map(text)].join('\n')
}
