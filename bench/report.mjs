// The rows as a table, for a terminal and for Markdown.
import { REASONS } from './reasons.mjs'

export const shown = (number) =>
  number === undefined ? '' : number >= 100 ? number.toFixed(0) : number >= 1 ? number.toFixed(2) : number.toFixed(3)

export function judged(row) {
  const ratio = row.theirs === undefined ? undefined : row.ours / row.theirs
  const meets = []
  if (row.goal !== undefined && ratio !== undefined) meets.push(row.more ? ratio >= row.goal : ratio <= row.goal)
  if (row.absolute !== undefined) meets.push(row.ours <= row.absolute)
  return { ...row, ratio, verdict: meets.length === 0 ? '' : meets.every(Boolean) ? 'holds' : 'misses' }
}

const goalOf = (row) =>
  [
    row.goal === undefined ? '' : `${row.more ? '≥' : '≤'} ${row.goal} ×`,
    row.absolute === undefined ? '' : `≤ ${shown(row.absolute)} ${row.unit}`.trim(),
  ]
    .filter(Boolean)
    .join(', ')

const HEAD = ['figure', 'at', 'n', 'outlive', 'peer', '', 'ratio', 'goal', '']

const cells = (row) => [
  row.title,
  row.at,
  String(row.n),
  `${shown(row.ours)} ${row.unit}`.trim(),
  row.theirs === undefined ? '' : `${shown(row.theirs)} ${row.unit}`.trim(),
  row.peer,
  shown(row.ratio),
  goalOf(row),
  row.verdict,
]

export function table(rows) {
  const lines = [HEAD, ...rows.map(cells)]
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function markdown(rows, machine) {
  const lines = [HEAD, HEAD.map(() => '---'), ...rows.map(cells)]
  return `${machine}\n\n${lines.map((line) => `| ${line.join(' | ')} |`).join('\n')}\n\n${misses(rows)}`
}

function misses(rows) {
  const titles = new Set(rows.filter((row) => row.verdict === 'misses').map((row) => row.title))
  const lines = [...titles].map((title) => `* **${title}**: ${REASONS[title] ?? 'the reason has not been found yet.'}`)
  return lines.length === 0 ? '' : `## Goals that this run misses, and why\n\n${lines.join('\n')}\n`
}
