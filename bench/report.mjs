// The rows as a table for a terminal and for Markdown, as JSON, and as a picture.

const shown = (number) =>
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
  return `${machine}\n\n${lines.map((line) => `| ${line.join(' | ')} |`).join('\n')}\n`
}

/** One pair of bars per figure that has a peer: ours over theirs, theirs being the whole width. */
export function svg(rows) {
  const pairs = rows.filter((row) => row.ratio !== undefined && row.at !== 'p99')
  const [left, width, step] = [420, 360, 26]
  const widest = Math.max(...pairs.map((row) => Math.min(row.ratio, 4)), 1)
  const bar = (row, index) => {
    const y = 40 + index * step
    const length = (Math.min(row.ratio, 4) / widest) * width
    const colour = row.verdict === 'misses' ? '#c2410c' : '#0f766e'
    const label = `${row.title}, against ${row.peer}`.replace(/&/g, '&amp;').replace(/</g, '&lt;')
    return `<text x="${left - 10}" y="${y + 12}" text-anchor="end">${label}</text><rect x="${left}" y="${y}" width="${length.toFixed(1)}" height="16" fill="${colour}"/><text x="${left + length + 6}" y="${y + 12}">${shown(row.ratio)} ×</text>`
  }
  const line = left + width / widest
  const height = 60 + pairs.length * step
  return `<svg xmlns="http://www.w3.org/2000/svg" width="860" height="${height}" font-family="sans-serif" font-size="12"><rect width="860" height="${height}" fill="#fff"/><text x="${left}" y="20">outlive as a multiple of its peer (line: the peer; for “/s” more is better)</text><line x1="${line}" x2="${line}" y1="30" y2="${height - 20}" stroke="#999" stroke-dasharray="3"/>${pairs.map(bar).join('')}</svg>\n`
}
