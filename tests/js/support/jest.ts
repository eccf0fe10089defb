/** Jest in a process of its own, over a project of its own: what a plugin's own tests see. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atTheEnd, within } from './waiting'

const root = join(__dirname, '../../..')

/** A Jest project of its own with several test files. */
export function jestProject(files: string[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'outlive-jest-'))
  atTheEnd(() => rmSync(dir, { recursive: true, force: true }))
  const config = {
    testEnvironment: 'node',
    moduleNameMapper: { '^outlive$': join(root, 'index.js') },
    maxWorkers: 2,
    testTimeout: 60_000,
  }
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'plugin', jest: config }))
  mkdirSync(join(dir, 'tests'))
  for (const [number, file] of files.entries()) writeFileSync(join(dir, `tests/${number}.test.js`), file)
  return dir
}

/** Runs Jest in a folder until it ends by itself; what it printed, and its exit code. */
export async function runJest(dir: string, flags: string[]): Promise<{ printed: string; code: number | null }> {
  const args = [join(root, 'node_modules/jest/bin/jest.js'), '--rootDir', dir, ...flags]
  const child = execFile(process.execPath, args, { cwd: dir, env: { ...process.env, FORCE_COLOR: '0' } })
  let printed = ''
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on('data', (text) => {
      printed += text
    })
  }
  atTheEnd(() => child.kill('SIGKILL'))
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code: await within(ended, 'Jest ends by itself', 40_000), printed }
}
