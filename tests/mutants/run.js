'use strict'
// Breaks one promise after the other, in a copy of this repository, and sees whether its test notices.
//
//     node tests/mutants/run.js            all of mutants.js
//     node tests/mutants/run.js P11 D3

const { execFileSync, spawnSync } = require('node:child_process')
const {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const mutants = require('./mutants.js')

const ROOT = join(__dirname, '../..')
const TARGET = join(ROOT, 'target/mutants')
const LIMIT_MS = 300_000

function change(copy, { file, find, replace }) {
  const path = join(copy, file)
  const source = readFileSync(path, 'utf8')
  if (source.split(find).length !== 2) throw new Error(`${file} has this not exactly once: ${find}`)
  writeFileSync(
    path,
    source.replace(find, () => replace),
  )
  return () => {
    writeFileSync(path, source)
    // Later than what was built from the broken one, whatever the clock's grain.
    utimesSync(path, Date.now() / 1000 + 2, Date.now() / 1000 + 2)
  }
}

function build(copy, env) {
  execFileSync('cargo', ['build', '--quiet', '--lib'], {
    cwd: copy,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const addon = join(copy, `outlive.linux-${process.arch}-gnu.node`)
  // Renamed into place: whoever has the old one loaded keeps it.
  copyFileSync(join(TARGET, 'debug/liboutlive.so'), `${addon}.new`)
  renameSync(`${addon}.new`, addon)
}

/** Whether the test fails; one that hangs does. */
function isCaught(copy, env, [program, ...args]) {
  return (
    spawnSync(program, args, { cwd: copy, env, stdio: 'ignore', timeout: LIMIT_MS, killSignal: 'SIGKILL' }).status !== 0
  )
}

function survives(copy, env, mutant) {
  const tests = [mutant.test, mutant.alsoTest].filter(Boolean)
  const changes = [mutant, mutant.also].filter(Boolean)
  const undo = changes.map((one) => change(copy, one))
  try {
    build(copy, env)
    return tests.every((test) => !isCaught(copy, env, test))
  } finally {
    for (const back of undo.reverse()) back()
  }
}

function main(names) {
  const chosen = mutants.filter(({ promise }) => names.length === 0 || names.includes(promise.split(':')[0]))
  if (chosen.length === 0) throw new Error(`there is no mutant of ${names.join(', ')}`)
  const copy = mkdtempSync(join(tmpdir(), 'outlive-mutants-'))
  const env = { ...process.env, CARGO_TARGET_DIR: TARGET }
  try {
    execFileSync('git', ['clone', '--quiet', '--shared', ROOT, copy])
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
    for (const mutant of chosen) {
      const survived = survives(copy, env, mutant)
      console.log(`${survived ? '✗ survived' : '✓ caught  '}  ${mutant.promise}`)
      if (survived) process.exitCode = 1
    }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

main(process.argv.slice(2))
