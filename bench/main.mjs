// `npm run bench [-- --quick] [-- --only latency]`: outlive beside what a user would pick instead, all in one run.
// Prints a table; writes docs/performance.md, bench/results.json and bench/results.svg when the run is a full one.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { growth } from './figures/growth.mjs'
import { heap } from './figures/heap.mjs'
import { idle } from './figures/idle.mjs'
import { kill } from './figures/kill.mjs'
import { latency } from './figures/latency.mjs'
import { load } from './figures/load.mjs'
import { store } from './figures/store.mjs'
import { throughput } from './figures/throughput.mjs'
import { outlive } from './peers.mjs'
import { picture } from './picture.mjs'
import { judged, markdown, table } from './report.mjs'

const FIGURES = { latency, throughput, kill, idle, growth, store, load, heap }

const { values } = parseArgs({ options: { quick: { type: 'boolean' }, only: { type: 'string' } } })
if (values.only !== undefined && !(values.only in FIGURES)) {
  console.error(`--only takes one of ${Object.keys(FIGURES).join(', ')}; got ${JSON.stringify(values.only)}`)
  process.exit(2)
}

const here = import.meta.dirname ?? new URL('.', import.meta.url).pathname
const dir = mkdtempSync(join(tmpdir(), 'outlive-bench-'))
const [stamp, floor] = ['stamp', 'floor'].map((name) => {
  const program = join(dir, `${name}-program`)
  execFileSync('cc', ['-O2', '-static', '-o', program, join(here, `${name}.c`)])
  return program
})
const ours = outlive(join(dir, 'store'))
const machine = `${new Date().toISOString().slice(0, 10)}, Linux ${release()}, ${cpus().length} × ${cpus()[0].model}, Node ${process.version}`

console.log(machine)
const rows = []
try {
  for (const [name, figure] of Object.entries(FIGURES)) {
    if (values.only !== undefined && values.only !== name) continue
    process.stderr.write(`${name} …\n`)
    rows.push(...(await figure({ ours, dir, stamp, floor, quick: values.quick ?? false })).map(judged))
  }
} finally {
  ours.close()
  rmSync(dir, { recursive: true, force: true })
}
console.log(table(rows))
if (!values.quick && values.only === undefined) {
  writeFileSync(join(here, 'results.json'), `${JSON.stringify({ machine, rows }, null, 2)}\n`)
  writeFileSync(join(here, 'results.svg'), picture(rows, machine))
  const words =
    '# What it costs\n\nThe last full run of `npm run bench`: each row is a ratio to a peer that was measured in the same run, in turn. On a virtual ' +
    'machine the times of one day differ by half, and the ratios by a fifth.\n\n' +
    '![The same as a picture](../bench/results.svg)\n\n'
  writeFileSync(join(here, '../docs/performance.md'), words + markdown(rows, machine))
}
process.exit(0)
