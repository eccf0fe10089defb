// N2: the examples run as somebody who copies them would run them.
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atTheEnd, within } from './support/store'

const ROOT = join(__dirname, '../..')

test('the tests of examples/jest pass where outlive is installed, and leave nothing behind', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'outlive-example-'))
  atTheEnd(() => rmSync(dir, { recursive: true, force: true }))
  cpSync(join(ROOT, 'examples/jest'), dir, { recursive: true })
  mkdirSync(join(dir, 'node_modules'))
  symlinkSync(ROOT, join(dir, 'node_modules/outlive'))
  mkdirSync(join(dir, 'tmp'))
  const { JEST_WORKER_ID: _, ...rest } = process.env
  const env = { ...rest, TMPDIR: join(dir, 'tmp'), OUTLIVE_DIR: '/no/such/store', FORCE_COLOR: '0' }
  const jest = [join(ROOT, 'node_modules/jest/bin/jest.js'), '--runInBand', '--no-cache']
  const ended = new Promise<{ code: unknown; printed: string }>((resolve) => {
    execFile(process.execPath, jest, { cwd: dir, env }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, printed: stdout + stderr }),
    )
  })
  const { code, printed } = await within(ended, 'Jest ends by itself', 40_000)
  expect(printed).toContain('3 passed, 3 total')
  expect(printed).not.toMatch(/did not exit|open handle|leaking/i)
  expect(code).toBe(0)
  expect(readdirSync(join(dir, 'tmp')).filter((name) => name.startsWith('plugin-test-'))).toEqual([])
})
