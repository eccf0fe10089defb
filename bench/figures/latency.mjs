// One short command: what the call costs the JavaScript thread, when the command runs, when the host hears of its end.
import { join } from 'node:path'
import { FLOOR, interleaved, percentile, timeFloor, timeOne } from '../measure.mjs'
import { childProcess, nodePty, withExeca, withTinyexec, wrapper } from '../peers.mjs'

const FIGURES = [
  { key: 'blocked', title: 'JavaScript blocked per spawn', goals: { p50: 0.015, p99: 0.025 } },
  { key: 'toRunning', title: 'call → running', goals: { p50: 0.55 } },
  { key: 'toCallback', title: 'exit → callback', goals: { p50: 1.6, p99: 1.0 } },
  { key: 'total', title: 'call → callback', goals: { p50: 0.65 } },
]

export async function latency({ ours, dir, stamp, floor, quick }) {
  const rounds = quick ? 100 : 500
  const peers = [ours, childProcess, withExeca, withTinyexec, nodePty]
  const samples = await interleaved(peers, rounds, (peer) => timeOne(peer, stamp, join(dir, 'stamp')))
  const polled = await interleaved([wrapper], quick ? 5 : 20, (peer) =>
    timeOne(peer, stamp, join(dir, `polled-${Math.random()}`)),
  )
  samples.set(wrapper.name, polled.get(wrapper.name))
  const least = Array.from({ length: quick ? 50 : 200 }, () => timeFloor(floor, stamp, join(dir, 'floor')))
  samples.set(FLOOR, least)
  return FIGURES.flatMap(({ key, title, goals }) => rows(title, key, samples, goals))
}

function rows(title, key, samples, goals) {
  const of = (name, share) =>
    percentile(
      samples.get(name).map((sample) => sample[key]),
      share,
    )
  return [...samples.keys()]
    .filter((name) => name !== 'outlive' && samples.get(name)[0][key] !== undefined)
    .flatMap((peer) =>
      ['p50', 'p99'].map((at) => {
        const share = at === 'p50' ? 0.5 : 0.99
        const goal = peer === childProcess.name ? goals[at] : undefined
        const n = samples.get(peer).length
        return { title, at, peer, n, unit: 'ms', ours: of('outlive', share), theirs: of(peer, share), goal }
      }),
    )
}
