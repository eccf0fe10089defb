'use strict'
// Columns for people: as wide as what stands in them, and in a terminal never wider than that.

const { paint } = require('./terminal.js')

/** How much of the last column is shown before all other columns are. */
const LAST_COLUMN = 10

/**
 * Lines of columns, cut to the width of the terminal. A cell is a text, or `{ text, paint, right }`. Where the last column
 * has no room, the columns in `spare` go, the first of them first.
 */
function table(head, rows, spare = []) {
  const titles = head.map((text) => ({ text, paint: (padded) => paint('bold', padded) }))
  const room = (process.stdout.isTTY && process.stdout.columns) || Number.POSITIVE_INFINITY
  const { cells, widths } = fitting([titles, ...rows.map(asCells)], room, [...spare])
  return cells.map((row) => lineOf(row, widths, room)).join('\n')
}

function asCells(row) {
  return row.map((cell) => (typeof cell === 'string' ? { text: cell } : cell))
}

function fitting(cells, room, spare) {
  // Not `Math.max(...)`: the rows of a large store are more than a call takes arguments.
  const widths = cells[0].map((_, column) => cells.reduce((most, row) => Math.max(most, width(row[column].text)), 0))
  const least = [...widths.slice(0, -1), Math.min(widths.at(-1), LAST_COLUMN)]
  const needed = least.reduce((sum, each) => sum + each + 2, -2)
  if (needed <= room || spare.length === 0) return { cells, widths }
  const goes = cells[0].findIndex(({ text }) => text === spare[0])
  return fitting(goes === -1 ? cells : cells.map((row) => row.filter((_, at) => at !== goes)), room, spare.slice(1))
}

function lineOf(row, widths, room) {
  let left = room
  const parts = []
  for (const [column, { text, paint: colour = (plain) => plain, right }] of row.entries()) {
    if (left <= 0) break
    const isLast = column === row.length - 1
    const padding = isLast ? '' : ' '.repeat(widths[column] - width(text))
    parts.push(colour(cut(right ? padding + text : text + padding, left)))
    left -= widths[column] + 2
  }
  return parts.join('  ')
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u
const JOINED = /\p{Mn}|\p{Me}|\p{Cf}/u

/** How many columns of a terminal a text takes, as near as a terminal's own font lets us know. */
function width(text) {
  let sum = 0
  for (const letter of text) sum += widthOf(letter)
  return sum
}

function widthOf(letter) {
  if (WIDE.test(letter)) return 2
  return JOINED.test(letter) ? 0 : 1
}

function cut(text, room) {
  if (width(text) <= room) return text
  let kept = ''
  let left = room - 1
  for (const letter of text) {
    left -= widthOf(letter)
    if (left < 0) break
    kept += letter
  }
  return `${kept}…`
}

module.exports = { table }
