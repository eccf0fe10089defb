/**
 * Small file systems of their own, for tests that fill them, take them away or cut their power. Who may not mount, as root in
 * some containers, is told which tests were skipped for that.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, closeSync, mkdirSync, openSync, truncateSync } from 'node:fs'
import { basename, join } from 'node:path'
import { killProcessesOf } from './guests'
import { everythingIn, type TemporaryStore } from './store'
import { atTheEnd, eventually } from './waiting'

type DiskKind = 'tmpfs' | 'ext4'

const MEGABYTE = 1 << 20

/** `test.each` over those disks that can be mounted here; says which tests are skipped for the others. */
export function testOn<Kind extends DiskKind>(store: TemporaryStore, wanted: Kind[], tests: string) {
  const kinds = wanted.filter((kind) => {
    const probe = join(store.dir, `probe-${kind}-${tests}`)
    const mounted = tryToMount(probe, kind, { megabytes: 8, inodes: 200 })
    if (mounted) execFileSync('umount', [probe])
    else
      console.warn(`SKIPPED on ${kind}: ${tests}, which take the right to mount; ext4 also a loop device and mkfs.ext4`)
    return mounted
  })
  return kinds.length > 0 ? test.each(kinds) : test.skip.each(wanted)
}

/** A new disk, gone after the last test with every process of its tasks; the directory where it is mounted. */
export function disk(
  store: TemporaryStore,
  name: string,
  kind: DiskKind,
  size = { megabytes: 8, inodes: 200 },
): string {
  const dir = join(store.dir, name)
  if (!tryToMount(dir, kind, size)) throw new Error(`no ${kind} can be mounted on ${dir}`)
  unmountAtTheEnd(dir)
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
  execFileSync(cut, [dir])
}

/**
 * Mounts an ext4 whose power was cut anew, from what had reached it, as soon as those that were killed have let go of it. A mount
 * namespace that another test has made in the meantime holds the disk as well, and until it ends `mount` would find the old one.
 */
export async function powerOn(dir: string): Promise<void> {
  await eventually(() => spawnSync('umount', [dir]).status === 0, 'nobody uses the disk any more')
  const held = () => execFileSync('losetup', ['--associated', imageOf(dir)], { encoding: 'utf8' })
  await eventually(() => held() === '', 'no mount namespace holds the disk any more', 60_000)
  execFileSync('mount', ['-o', 'loop', imageOf(dir), dir])
}

const imageOf = (dir: string): string => `${dir}.image`

function tryToMount(
  dir: string,
  kind: DiskKind,
  { megabytes, inodes }: { megabytes: number; inodes: number },
): boolean {
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
  closeSync(openSync(imageOf(dir), 'w'))
  truncateSync(imageOf(dir), megabytes * MEGABYTE)
  const made = succeeds('mkfs.ext4', '-q', '-F', '-N', `${inodes}`, '-m', '0', imageOf(dir))
  if (!made || !succeeds('mount', '-o', 'loop', imageOf(dir), dir)) return false
  chmodSync(dir, 0o700)
  return true
}

function unmountAtTheEnd(dir: string): void {
  atTheEnd(async () => {
    const ids = everythingIn(dir).map((path) => basename(path))
    await killProcessesOf(ids.filter((id) => id.startsWith('bash-')))
    execFileSync('umount', ['-l', dir])
  })
}
