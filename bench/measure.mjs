// Measuring: percentiles, interleaving, and the stamps that a guest leaves.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'

/** The name of the peer that `floor.c` is. */
export const FLOOR = 'C with vfork and wait'

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
      resolve({ blocked, ...timesOf(file, called, heard) })
    })
    const blocked = nowMs() - called
  })
}

function timesOf(file, called, heard) {
  const stamps = readFileSync(file)
  const [began, ended] = [0, 8].map((at) => Number(stamps.readBigInt64LE(at)) / 1e6)
  return { toRunning: began - called, toCallback: heard - ended, total: heard - called }
}

/** When the program in C started the first of so many commands and when the last had ended, in milliseconds. */
export function runFloor(floor, command, count = 1, parallel = 1) {
  const printed = execFileSync(floor, [`${count}`, `${parallel}`, command], { encoding: 'utf8' })
  const [called, heard] = printed.split(' ').map((ns) => Number(ns) / 1e6)
  return { called, heard }
}

/** `timeOne`, for the program in C. */
export function timeFloor(floor, stamp, file) {
  rmSync(file, { force: true })
  const { called, heard } = runFloor(floor, `exec ${stamp} ${file}`)
  return timesOf(file, called, heard)
}
