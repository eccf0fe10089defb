#!/usr/bin/env node
'use strict'

const { main } = require('../cli/main.js')

main(process.argv.slice(2)).then((code) => {
  // Not process.exit: what is still on its way into a pipe would be lost.
  process.exitCode = code
})
