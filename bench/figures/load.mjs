// What it costs to have it: the time of `require`, and the size of the addon.
import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { spread } from '../measure.mjs'

export async function load({ quick }) {
  const root = dirname(createRequire(import.meta.url).resolve('../../package.json'))
  const n = quick ? 10 : 50
  const time = (what) => {
    const code = `const t=process.hrtime.bigint();require(${JSON.stringify(what)});console.log(Number(process.hrtime.bigint()-t)/1e6)`
    return Number(spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' }).stdout)
  }
  const samples = Array.from({ length: n }, () => [time(root), time(join(root, 'bench/node_modules/@lydell/node-pty'))])
  const [mine, theirs] = [0, 1].map((at) => spread(samples.map((sample) => sample[at])))
  const addon = readdirSync(root).find((name) => name.endsWith('.node'))
  return [
    {
      title: "require('outlive')",
      at: 'p50',
      peer: "require('node-pty')",
      n,
      unit: 'ms',
      ours: mine.p50,
      theirs: theirs.p50,
      goal: 1.5,
    },
    {
      title: 'size of the addon, supervisor included',
      at: 'once',
      peer: '–',
      n: 1,
      unit: 'KB',
      ours: statSync(join(root, addon)).size / 1024,
      absolute: 800,
    },
  ]
}
