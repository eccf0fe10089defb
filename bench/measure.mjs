// Measuring: percentiles, interleaving, and the stamps that a guest leaves.
import { readFileSync, rmSync } from 'node:fs'

export const nowMs = () => Number(process.hrtime.bigint()) / 1e6

export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

export const spread = (values) => ({ n: values.length, p50: percentile(values, 0.5), p99: percentile(values, 0.99) })

/**
 * Runs every peer once per round, so that a machine that changes its speed changes it for all; and each round begins with
 * the next one, so that none always has the same forerunner, whose remains it would pay for.
 */
export async function interleaved(peers, rounds, once) {
  const samples = new Map(peers.map((peer) => [peer.name, []]))
  for (const peer of peers) await once(peer)
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < peers.length; turn++) {
      const peer = peers[(round + turn) % peers.length]
      samples.get(peer.name).push(await once(peer))
    }
  }
  return samples
}

/** One run of the stamping guest: where the time goes from the call to the callback, in milliseconds. */
export function timeOne(peer, stamp, file) {
  rmSync(file, { force: true })
  return new Promise((resolve) => {
    const called = nowMs()
    peer.start(`exec ${stamp} ${file}`, `${file}.out`, () => {
      const heard = nowMs()
      const stamps = readFileSync(file)
      const [began, ended] = [0, 8].map((at) => Number(stamps.readBigInt64LE(at)) / 1e6)
      resolve({ blocked, toRunning: began - called, toCallback: heard - ended, total: heard - called })
    })
    const blocked = nowMs() - called
  })
}
