// N5: what goes out is made of one version and of these sources, and is refused otherwise.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
