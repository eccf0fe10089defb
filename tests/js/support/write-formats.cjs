/**
 * Writes tests/formats/v1/<name> as this release does, from real runs: `node tests/js/support/write-formats.cjs <name>...`
 * What is there stays: records that a release wrote are not written again.
 */
const {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} = require('node:fs')
const { tmpdir } = require('node:os')
const { dirname, join } = require('node:path')
const { TaskRegistry } = require('../../..')

const samples = {
  delivered: ['echo told; exit 4', { description: 'told once' }],
}

/** What the test works out by itself: these depend on where and when the copy is read. */
const own = new Set(['taskId', 'sessionId', 'pid', 'stdoutPath', 'stderrPath', 'lastOutputAt'])

async function write(name) {
  const folder = join(__dirname, '../../formats/v1', name)
  if (existsSync(folder)) throw new Error(`${folder} is there already`)
  const storageDir = mkdtempSync(join(tmpdir(), 'outlive-format-'))
  const tasks = new TaskRegistry({ storageDir })
  const [command, options] = samples[name]
  const sessionId = `format v1: ${name}`
  const id = await tasks.spawn(command, { cwd: '/tmp', sessionId, ...options })
  await new Promise((resolve) => tasks.onCompletion(resolve, { sessionId }).ref())
  while (!tasks.status(id, { sessionId }).completionDelivered) await new Promise((resolve) => setImmediate(resolve))
  const from = dirname(tasks.status(id, { sessionId }).stdoutPath)
  mkdirSync(folder)
  // The FIFOs and the hard link `delivered` cannot be in git: who reads the sample makes them.
  const files = readdirSync(from).filter((file) => lstatSync(join(from, file)).isFile() && file !== 'delivered')
  for (const file of files) copyFileSync(join(from, file), join(folder, file))
  const expected = Object.entries(tasks.status(id, { sessionId })).filter(([field]) => !own.has(field))
  writeFileSync(join(folder, 'expected.json'), `${JSON.stringify(Object.fromEntries(expected), null, 2)}\n`)
  tasks.detach()
  rmSync(storageDir, { recursive: true })
}

;(async () => {
  for (const name of process.argv.slice(2)) await write(name)
})()
