// The rows as a picture: a group of bars for each figure that has a peer, drawn in its own unit.
import { shown } from './report.mjs'

const COLUMN = { width: 450, left: 160, bar: 190 }
const LINE = 18
const OURS = '#0f766e'
const THEIRS = '#a8a29e'

const escaped = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;')

/** `{ title, more, bars: [name, value] }` for each figure: we first, then its peers. p99 is in the table. */
function groups(rows) {
  const found = new Map()
  for (const row of rows.filter((one) => one.theirs !== undefined && one.at !== 'p99' && one.drawn !== false)) {
    const group = found.get(row.title) ?? { ...row, bars: [['outlive', row.ours]] }
    group.bars.push([row.peer, row.theirs])
    found.set(row.title, group)
  }
  return [...found.values()]
}

function drawn({ title, unit, more, bars }, x, y) {
  // One that is far longer than the others would make them all look alike: it is cut, and says so.
  const sorted = bars.map(([, value]) => value).sort((a, b) => a - b)
  const longest = Math.min(sorted.at(-1), sorted.at(-2) * 4)
  const lines = bars.map(([name, value], index) => {
    const at = y + (index + 1) * LINE
    const width = Math.max((Math.min(value, longest) / longest) * COLUMN.bar, 1)
    const end = x + COLUMN.left + width
    const colour = index === 0 ? OURS : THEIRS
    const cut = value > longest ? ' →' : ''
    return `<text x="${x + COLUMN.left - 8}" y="${at + 11}" text-anchor="end">${escaped(name)}</text><rect x="${x + COLUMN.left}" y="${at}" width="${width.toFixed(1)}" height="13" rx="2" fill="${colour}"/><text x="${(end + 6).toFixed(1)}" y="${at + 11}" fill="#57534e">${shown(value)} ${unit}${cut}</text>`
  })
  const head = more ? `${title} (more is better)` : title
  return `<text x="${x}" y="${y + 11}" font-weight="bold">${escaped(head)}</text>${lines.join('')}`
}

/** Two columns of groups, as even as their order allows. */
export function picture(rows, machine) {
  const height = ({ bars }) => (bars.length + 1) * LINE + 14
  const all = groups(rows)
  const total = all.reduce((sum, group) => sum + height(group), 0)
  const columns = [0, 0]
  const parts = all.map((group) => {
    const column = columns[0] < total / 2 ? 0 : 1
    const y = 44 + columns[column]
    columns[column] += height(group)
    return drawn(group, 20 + column * COLUMN.width, y)
  })
  const size = { width: 2 * COLUMN.width + 20, height: Math.max(...columns) + 50 }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}" font-family="sans-serif" font-size="12"><title>outlive beside its peers</title><rect width="100%" height="100%" fill="#fff"/><text x="20" y="24">Medians of one run; less is better unless said. ${escaped(machine)}</text>${parts.join('')}</svg>\n`
}
