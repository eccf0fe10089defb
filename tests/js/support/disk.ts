/**
 * Small file systems of their own, for tests that fill them, take them away or cut their power. Who may not mount, as root in
 * some containers, is told which tests were skipped for that.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, truncateSync } from 'node:fs'
import { basename, join } from 'node:path'
import { killProcessesOf } from './guests'
import { everythingIn, type TemporaryStore } from './store'
import { atTheEnd, eventually } from './waiting'

export type DiskKind = 'tmpfs' | 'ext4' | 'btrfs'

interface DiskSize {
  megabytes: number
  inodes: number
  /** Of an ext4, in place of those that it has as a rule. */
  features?: string
}

const MEGABYTE = 1 << 20

/** `test.each` over those disks that can be mounted here; says which tests are skipped for the others. */
export function testOn<Kind extends DiskKind>(store: TemporaryStore, wanted: Kind[], tests: string) {
  const kinds = wanted.filter((kind) => {
    const probe = join(store.dir, `probe-${kind}-${tests}`)
    // mkfs.btrfs makes none that is smaller.
    const mounted = tryToMount(probe, kind, { megabytes: 128, inodes: 200 })
    if (mounted) execFileSync('umount', stackOf(probe))
    else {
      const also = kind === 'tmpfs' ? '' : `; this one also loop devices and mkfs.${kind}`
      console.warn(`SKIPPED on ${kind}: ${tests}, which take the right to mount${also}`)
    }
    return mounted
  })
  return kinds.length > 0 ? test.each(kinds) : test.skip.each(wanted)
}

/** A new disk, gone after the last test with every process of its tasks; the directory where it is mounted. */
export function disk(
  store: TemporaryStore,
  name: string,
  kind: DiskKind,
  size: DiskSize = { megabytes: 8, inodes: 200 },
): string {
  const dir = join(store.dir, name)
  if (!tryToMount(dir, kind, size)) throw new Error(`no ${kind} can be mounted on ${dir}`)
  for (const disk of stackOf(dir).reverse()) unmountAtTheEnd(disk)
  return dir
}

/** Any other `mount`, on its last argument. */
export function mount(...args: string[]): void {
  execFileSync('mount', args)
  unmountAtTheEnd(args.at(-1)!)
}

/**
 * From now on the disk has what it has: nothing that the kernel still holds reaches it. Everything on it fails until `powerOn`,
 * for which all that uses it must have ended.
 */
export function cutPower(store: TemporaryStore, dir: string): void {
  const cut = join(store.dir, 'cut')
  execFileSync('cc', ['-O1', '-Wall', '-Werror', '-o', cut, join(__dirname, 'cut.c')])
  execFileSync(cut, stackOf(dir).slice(-1))
}

/**
 * Mounts a disk whose power was cut anew, from what had reached it, as soon as those that were killed have let go of it. A mount
 * namespace that another test has made in the meantime holds the disk as well, and until it ends `mount` would find the old one.
 */
export async function powerOn(dir: string): Promise<void> {
  const stack = stackOf(dir)
  for (const disk of stack) {
    await eventually(() => spawnSync('umount', [disk]).status === 0, 'nobody uses the disk any more')
    const held = () => execFileSync('losetup', ['--associated', imageOf(disk)], { encoding: 'utf8' })
    await eventually(() => held() === '', 'no mount namespace holds the disk any more', 60_000)
  }
  for (const disk of stack.reverse()) execFileSync('mount', ['-o', 'loop', imageOf(disk), disk])
}

/** A btrfs lies on an ext4 of its own, whose power is cut in place of its: it has no call for that. */
const belowOf = (dir: string): string => `${dir}.below`
const stackOf = (dir: string): string[] => [dir, belowOf(dir)].filter((disk) => existsSync(disk))
const imageOf = (dir: string): string => (existsSync(belowOf(dir)) ? join(belowOf(dir), 'image') : `${dir}.image`)

function tryToMount(dir: string, kind: DiskKind, { megabytes, inodes, features }: DiskSize): boolean {
  mkdirSync(dir, { mode: 0o700 })
  const succeeds = (program: string, ...args: string[]) => spawnSync(program, args).status === 0
  if (kind === 'tmpfs') {
    return succeeds(
      'mount',
      '-t',
      'tmpfs',
      '-o',
      `mode=700,size=${megabytes}m,nr_inodes=${inodes}`,
      'outlive-test',
      dir,
    )
  }
  if (kind === 'btrfs' && !tryToMount(belowOf(dir), 'ext4', { megabytes: 2 * megabytes, inodes })) return false
  const image = imageOf(dir)
  closeSync(openSync(image, 'w'))
  truncateSync(image, megabytes * MEGABYTE)
  const forExt4 = kind === 'ext4' ? ['-F', '-N', `${inodes}`, '-m', '0', ...(features ? ['-O', features] : [])] : []
  // What is left to btrfs reaches the disk every half minute, and a test that takes as long would not see what was left to it.
  const patience = kind === 'btrfs' ? ',commit=300' : ''
  const mounted =
    succeeds(`mkfs.${kind}`, '-q', ...forExt4, image) && succeeds('mount', '-o', `loop${patience}`, image, dir)
  if (mounted) chmodSync(dir, 0o700)
  else if (kind === 'btrfs') execFileSync('umount', [belowOf(dir)])
  return mounted
}

function unmountAtTheEnd(dir: string): void {
  atTheEnd(async () => {
    const ids = everythingIn(dir).map((path) => basename(path))
    await killProcessesOf(ids.filter((id) => id.startsWith('bash-')))
    execFileSync('umount', ['-l', dir])
  })
}
