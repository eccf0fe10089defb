/** Failpoints are for tests: what is shipped has none. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { addonWithFailpoints, failpoints } from './support/failpoints'

// The supervisor is part of the addon's file, as it is.
const names = ['OUTLIVE_FAILPOINTS', ...failpoints('host'), ...failpoints('supervisor')]
const namesIn = (path: string) => {
  const content = readFileSync(path, 'latin1')
  return names.filter((name) => content.includes(name))
}

test('no name of a failpoint is in the addon that is shipped, or in its supervisor', () => {
  const { platform } = jest.requireActual('../../native.js')
  expect(namesIn(join(__dirname, `../../outlive.${platform}.node`))).toEqual([])
})

test('all of them are in the addon that is built for tests', async () => {
  expect(namesIn(await addonWithFailpoints())).toEqual(names)
}, 300_000)
