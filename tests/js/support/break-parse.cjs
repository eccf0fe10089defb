'use strict'
// Loaded before the package: `JSON.parse` fails once, on a text that has `globalThis.breaksParse` in it.
const { parse } = JSON

JSON.parse = (text, ...rest) => {
  if (globalThis.breaksParse !== undefined && String(text).includes(globalThis.breaksParse)) {
    globalThis.breaksParse = undefined
    throw new RangeError('no memory is left')
  }
  return parse(text, ...rest)
}
