/** The addon with failpoints: built beside the real one, in a target directory of its own, when a test first asks for it. */
import { execFile } from 'node:child_process'
import { copyFileSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const root = join(__dirname, '../../..')
const target = join(root, 'target/failpoints')

/** Every failpoint of one side, as protocol/ lists them. */
export function failpoints(side: 'host' | 'supervisor'): string[] {
  const source = readFileSync(join(root, 'protocol/src/failpoints.rs'), 'utf8')
  const list = source.slice(source.indexOf('POINTS: &[&str]'), source.indexOf('];'))
  return [...list.matchAll(/"([a-z]+\.[a-z_]+)"/g)].map((match) => match[1]!).filter((name) => name.startsWith(side))
}

/** The path of an addon that knows failpoints, for `OUTLIVE_NATIVE`. A build without optimisation: what it runs waits anyway. */
export async function addonWithFailpoints(): Promise<string> {
  const cargo = ['build', '--quiet', '--lib', '--features', 'failpoints', '--target-dir', target]
  await promisify(execFile)('cargo', cargo, { cwd: root, env: { ...process.env, CARGO_PROFILE_DEV_DEBUG: '0' } })
  const addon = join(target, 'outlive.node')
  // Renamed into place: a host that has the old one loaded keeps it.
  copyFileSync(join(target, 'debug/liboutlive.so'), `${addon}.${process.pid}`)
  renameSync(`${addon}.${process.pid}`, addon)
  return addon
}
