// N5: what a plugin author can look up: each error code, and each name that the package exports.
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as outlive from 'outlive'
import { readyFifo } from './support/guests'
import { temporaryStore } from './support/store'

const read = (path: string): string => readFileSync(join(__dirname, '../..', path), 'utf8')
const types = read('index.d.ts')

/** The members of the union in the types. */
function declaredCodes(): string[] {
  const [, union] = /export type ErrorCode =\n((?: {2}\| '\w+'\n)+)/.exec(types)!
  return [...union!.matchAll(/'(\w+)'/g)].map((match) => match[1]!)
}

test('every error code that is thrown anywhere is declared, and the other way round', () => {
  const face = ['errors.js', 'arguments.js', 'storage.js', 'addon.js', 'registry.js'].map(read).join('\n')
  const thrown = [...face.matchAll(/failure\('([A-Z_]+)'/g), ...read('src/error.rs').matchAll(/=> "([A-Z_]+)"/g)]
  expect([...new Set(thrown.map((match) => match[1]))].sort()).toEqual(declaredCodes().sort())
})

test('troubleshooting says of every error code what it means, its likely cause, and what to do', () => {
  const sections = read('docs/troubleshooting.md').split(/^## /m)
  const about = new Map(sections.map((section) => [section.slice(0, section.indexOf('\n')), section]))
  const codes = [...about.keys()].filter((title) => /^[A-Z_]+$/.test(title))
  expect(codes.sort()).toEqual(declaredCodes().sort())
  for (const code of codes) {
    expect(about.get(code)).toContain('**It means**')
    expect(about.get(code)).toContain('**Do** ')
    if (code !== 'INTERNAL') expect(about.get(code)).toMatch(/\*\*Likely\*\* |\| likely \|/)
  }
})

const store = temporaryStore()
const tasks = store.registry()

async function ended(command: string, options?: outlive.SpawnOptions): Promise<outlive.TaskSnapshot> {
  return tasks.wait(await tasks.spawn(command, options))
}

describe('the table of what a snapshot says', () => {
  const page = read('docs/troubleshooting.md')

  test('stdin is at its end, and is not with what it says for watchers', async () => {
    const advice = 'exec 0<> <(:);'
    expect(page).toContain(advice)
    const ask = 'read -t 0.2 _; echo $?'
    expect(await ended(ask)).toMatchObject({ outputPreview: '1\n' })
    expect(await ended(`${advice} ${ask}`, { shell: 'bash' })).toMatchObject({ outputPreview: '142\n' })
  })

  test('what .bashrc defines is not there, nor with -l, and is with -i', async () => {
    expect(page).toContain("`bash -ic '…'`: with `-lc`")
    // As Debian and Ubuntu have it, with the line that nvm adds.
    writeFileSync(join(store.dir, '.bashrc'), 'case $- in *i*) ;; *) return;; esac\n. ~/nvm.sh\n')
    writeFileSync(join(store.dir, '.profile'), '. ~/.bashrc\n')
    writeFileSync(join(store.dir, 'nvm.sh'), 'nvm() { echo of nvm; }\n')
    const options = { env: { HOME: store.dir } }
    for (const command of ['nvm', 'bash -lc nvm'])
      expect(await ended(command, options)).toMatchObject({ status: 'failed', exitCode: 127 })
    for (const command of ['. ~/nvm.sh; nvm', 'bash -ic nvm']) {
      const task = await ended(command, options)
      expect(task.outputPreview).toContain('of nvm\n')
      expect(task.exitCode).toBe(0)
    }
  })

  test('a pkill -f ends its own shell, and not with a bracket', async () => {
    expect(page).toContain("`pkill -f '[s]leep 39791'`")
    const name = randomUUID()
    const hit = { status: 'failed', signal: 'SIGTERM', outputPreview: '' }
    expect(await ended(`pkill -f 'x${name}'; echo after`)).toMatchObject(hit)
    expect(await ended(`pkill -f '[x]${name}'; echo after`)).toMatchObject({ outputPreview: 'after\n' })
  })

  test('a limit on the size of files ends what writes more, whatever maxOutputBytes is', async () => {
    expect(page).toContain('signal `SIGXFSZ`')
    const task = await ended('ulimit -f 1024; exec yes', { maxOutputBytes: 65_536 })
    expect(task).toMatchObject({ status: 'failed', signal: 'SIGXFSZ', stdoutBytes: 1_048_576 })
  })

  test('git asks in a window although there is none to see, and with what it says fails', async () => {
    const [, advice] = /`env: \{ SSH_ASKPASS_REQUIRE: 'never', (GIT_ASKPASS): '' \}`/.exec(page)!
    const asking = readyFifo(store)
    const window = join(store.dir, 'window')
    writeFileSync(window, `#!/bin/sh\necho asked > ${asking.path}; exec sleep 1000\n`, { mode: 0o700 })
    const command = "printf 'protocol=https\\nhost=x\\n\\n' | exec git credential fill"
    const env = { SSH_ASKPASS: window, GIT_ASKPASS: window, GIT_TERMINAL_PROMPT: '0', SSH_ASKPASS_REQUIRE: 'never' }
    const id = await tasks.spawn(command, { env })
    await asking.line('git asks')
    expect(tasks.status(id)).toMatchObject({ status: 'running', outputPreview: '' })
    await tasks.kill(id)
    expect(await ended(command, { env: { ...env, [advice!]: '' } })).toMatchObject({ status: 'failed', exitCode: 128 })
  })
})

test('a node --test within node --test runs no tests, and runs them with what docs/testing.md says', async () => {
  expect(read('docs/testing.md')).toContain('`env: { NODE_TEST_CONTEXT: undefined }`')
  const file = join(store.dir, 'fails.test.mjs')
  writeFileSync(file, "import test from 'node:test'; test('fails', () => { throw new Error() })")
  const inner = `${process.execPath} --test ${file}`
  // As the runner sets it for each of its files.
  const inherited = { NODE_TEST_CONTEXT: 'child-v8' }
  expect(await ended(inner, { env: inherited })).toMatchObject({ status: 'completed' })
  expect(await ended(inner, { env: { NODE_TEST_CONTEXT: undefined } })).toMatchObject({ status: 'failed', exitCode: 1 })
})

test('docs/api.md has every error code, and every method where the README sends its reader', () => {
  const sections = read('docs/api.md').split(/^## /m)
  const about = new Map(sections.map((section) => [section.slice(0, section.indexOf('\n')).toLowerCase(), section]))
  for (const code of declaredCodes()) expect(about.get('errors')).toContain(`\`${code}\``)
  const links = [...read('README.md').matchAll(/\[([^\]]+)\]\(docs\/api\.md#(\w+)\)/g)]
  const places = links.flatMap(([, names, place]) =>
    names!.split(', ').map((name) => [name.replaceAll('`', ''), place!]),
  )
  const methods = Object.keys(require('outlive')).filter((name) => name !== 'TaskRegistry')
  expect(places.map(([name]) => name).sort()).toEqual([...methods, 'errors'].sort())
  for (const [name, place] of places) if (name !== 'errors') expect(about.get(place!)).toContain(`\`${name}(`)
})

test('every export and every method has its text for editors', () => {
  const lines = types.split('\n')
  const declares = /^export |^ {2}(constructor|\w+|\[Symbol\.\w+\])\(/
  const bare = lines.filter((line, at) => declares.test(line) && !lines[at - 1]?.trimEnd().endsWith('*/'))
  // Its two names say it.
  expect(bare).toEqual(['  [Symbol.dispose](): void'])
  const exported = lines.filter((line) => declares.test(line) && line.startsWith('export '))
  expect(exported.length).toBeGreaterThan(Object.keys(outlive).length)
})

test('every method that can fail says with which codes', () => {
  const [, members] = /export class TaskRegistry \{\n([\s\S]*?)\n\}\n/.exec(types)!
  const texts = members!.split(/\n\n/)
  const silent = texts.filter((text) => !text.includes('@throws')).map((text) => text.split('\n').at(-1)!.trim())
  expect(silent).toEqual(['detach(): void', '[Symbol.dispose](): void'])
  const named = texts.flatMap((text) => [...text.matchAll(/`([A-Z]+_[A-Z_]+)`/g)].map((match) => match[1]!))
  expect(declaredCodes()).toEqual(expect.arrayContaining(named.filter((name) => !name.startsWith('OUTLIVE_'))))
})

test('every mutant of tests/mutants still has what it changes, once', () => {
  // By Node itself: `jest`, as they call what runs a test, is a name of Jest's own in here.
  const list = "JSON.stringify(require('./mutants.js'))"
  const options = { cwd: join(__dirname, '../mutants'), encoding: 'utf8' } as const
  const mutants: { promise: string; file: string; find: string }[] = JSON.parse(
    execFileSync(process.execPath, ['-p', list], options),
  )
  const lost = mutants.filter(({ file, find }) => read(file).split(find).length !== 2)
  expect(lost.map(({ promise }) => promise)).toEqual([])
})
