'use strict'
// One table of what the drivers beside this file have tried: clients, runtimes, bundlers, test runners.
//
//     node tests/table.js [client]...        runs them all, one after the other, and prints the table at the end
//
// Each driver calls `row` with what it has seen. Run by itself, it is told no file, and the row goes nowhere.

const { spawnSync } = require('node:child_process')
const { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')

const RUNTIMES = ['node@18', 'node@20', 'node@22', 'node@24', 'node@26', 'bun@1.3.14', 'bun', 'deno']

/** One thing that was tried: `where`, `check`, and the `result` in few words. */
function row(where, check, result) {
  const { OUTLIVE_TABLE: file } = process.env
  if (file) appendFileSync(file, `${JSON.stringify({ where, check, result })}\n`)
}

function print(rows) {
  const cells = [{ where: 'where', check: 'check', result: 'result' }, ...rows]
  const widthOf = (column) => Math.max(...cells.map((cell) => cell[column].length))
  const [where, check] = ['where', 'check'].map(widthOf)
  for (const cell of cells) console.log(`${cell.where.padEnd(where)}  ${cell.check.padEnd(check)}  ${cell.result}`)
}

function main(clients) {
  const directory = mkdtempSync(join(tmpdir(), 'outlive-table-'))
  const file = join(directory, 'rows')
  writeFileSync(file, '')
  const drivers = [
    ['clients', clients.length > 0 ? clients : ['all']],
    ['conformance', RUNTIMES],
    ['bundlers', []],
    ['runners', []],
  ]
  const failed = drivers.filter(([name, names]) => {
    const args = [join(__dirname, name, 'run.js'), ...names]
    return (
      spawnSync(process.execPath, args, { stdio: 'inherit', env: { ...process.env, OUTLIVE_TABLE: file } }).status !== 0
    )
  })
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean)
  rmSync(directory, { recursive: true })
  console.log()
  print(lines.map((line) => JSON.parse(line)))
  for (const [name] of failed) console.log(`FAILED: tests/${name}/run.js, see above`)
  process.exitCode = failed.length > 0 ? 1 : 0
}

module.exports = { row }
if (require.main === module) main(process.argv.slice(2))
