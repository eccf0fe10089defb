// What goes out is made of one version and of these sources, and is refused otherwise.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atTheEnd } from './support/store'

const root = join(__dirname, '../..')
const { version: current } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'outlive-release-'))
  atTheEnd(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

describe('the version', () => {
  const { version } = require('../../tools/release/version.js')
  const written = ['package.json', 'Cargo.toml', 'native.js', ...platforms()]
  const lockfiles = ['package-lock.json', 'Cargo.lock', 'bench/rust/Cargo.lock', 'fuzz/Cargo.lock']

  function platforms(): string[] {
    const { PLATFORMS } = require('../../tools/release/platforms.js')
    return PLATFORMS.map(({ name }: { name: string }) => `npm/${name}/package.json`)
  }

  function raised(copy: string, path: string): void {
    const text = readFileSync(join(copy, path), 'utf8')
    writeFileSync(join(copy, path), text.replace(current, '99.0.0'))
  }

  test('that was raised in the manifests alone is refused, with each lockfile that says another', () => {
    const copy = folder()
    for (const path of [...written, ...lockfiles]) cpSync(join(root, path), join(copy, path))
    expect(version(copy)).toBe(current)
    for (const path of written) raised(copy, path)
    expect(() => version(copy)).toThrow('package.json says 99.0.0')
    for (const path of lockfiles) expect(() => version(copy)).toThrow(`\n  ${path}, outlive: ${current}`)
  })
})

describe('an addon', () => {
  const { fingerprint, strangeOrigin, writeOrigin } = require('../../tools/release/origin.js')
  const origin = { version: '1.0.0', commit: 'c0ffee', sources: 'a'.repeat(64) }

  function built(): { directory: string; path: string } {
    const directory = folder()
    const path = join(directory, 'outlive.node')
    writeFileSync(path, 'an addon')
    return { directory, path }
  }

  test('goes out only when it was built from what lies there, and says otherwise from what', () => {
    const addon = built()
    expect(strangeOrigin(addon, origin)).toEqual([expect.stringContaining('built-from.json is not beside it')])
    writeOrigin(addon, origin)
    expect(strangeOrigin(addon, { ...origin, commit: 'd0ffee' })).toEqual([])
    for (const other of [{ version: '1.0.1' }, { sources: 'b'.repeat(64) }]) {
      const [fault] = strangeOrigin(addon, { ...origin, ...other })
      expect(fault).toContain(
        'it was built from version 1.0.0, commit c0ffee, sources aaaaaaaaaaaa; here is version 1.0.',
      )
    }
    writeFileSync(addon.path, 'another addon')
    expect(strangeOrigin(addon, origin)).toEqual([expect.stringContaining('it is another addon')])
  })

  test('is of other sources as soon as a file of them is changed, added or renamed', () => {
    const copy = folder()
    for (const path of ['Cargo.lock', 'Cargo.toml', 'build.rs', 'protocol', 'src', 'supervisor', 'tools/release'])
      cpSync(join(root, path), join(copy, path), { recursive: true })
    const seen = [fingerprint(copy)]
    const change = (act: () => void): void => {
      act()
      seen.push(fingerprint(copy))
    }
    expect(fingerprint()).toBe(seen[0])
    change(() => writeFileSync(join(copy, 'src/lib.rs'), ''))
    change(() => writeFileSync(join(copy, 'supervisor/src/new.rs'), ''))
    change(() => renameSync(join(copy, 'supervisor/src/new.rs'), join(copy, 'supervisor/src/old.rs')))
    expect(new Set(seen).size).toBe(4)
  })
})

test('the suite that is laid out for another platform has all that it requires', () => {
  const { makeSuite } = require('../platforms/suite.js')
  const suite = join(folder(), 'suite')
  makeSuite(folder(), suite)
  const { stderr } = spawnSync(process.execPath, [join(suite, 'tests/conformance/run.js'), 'nothing'], {
    encoding: 'utf8',
  })
  expect(stderr).toContain('there is no runtime "nothing"')
})
