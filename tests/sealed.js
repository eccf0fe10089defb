'use strict'

/** A record's line as its writer would have sealed it: docs/on-disk-format.md. */
function sealed({ check: _, ...fields }) {
  const record = JSON.stringify(fields).slice(0, -1)
  const bytes = Buffer.from(record)
  const words = Buffer.concat([bytes, Buffer.alloc(8 - (bytes.length % 8))])
  let sum = 0xcbf29ce484222325n
  for (let at = 0; at < words.length; at += 8)
    sum = BigInt.asUintN(64, (sum ^ words.readBigUInt64LE(at)) * 0x100000001b3n)
  return `${record},"check":"${sum.toString(16).padStart(16, '0')}"}\n`
}

module.exports = { sealed }
