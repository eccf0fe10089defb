'use strict'
// The tests that must notice.

/** Those in a file of tests/js that have words in their title. */
const jest = (file, title) => [
  process.execPath,
  'node_modules/jest/bin/jest.js',
  `tests/js/${file}.test.ts`,
  '-t',
  title,
]
const cargo = (...args) => ['cargo', 'test', '--quiet', ...args]

module.exports = { cargo, jest }
