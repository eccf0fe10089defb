// N5: what a plugin author can look up: each error code, and each name that the package exports.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as outlive from 'outlive'

const read = (path: string): string => readFileSync(join(__dirname, '../..', path), 'utf8')
const types = read('index.d.ts')

/** The members of the union in the types. */
function declaredCodes(): string[] {
  const [, union] = /export type ErrorCode =\n((?: {2}\| '\w+'\n)+)/.exec(types)!
  return [...union!.matchAll(/'(\w+)'/g)].map((match) => match[1]!)
}

test('every error code that is thrown anywhere is declared, and the other way round', () => {
  const face = ['errors.js', 'arguments.js', 'storage.js', 'registry.js'].map(read).join('\n')
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
