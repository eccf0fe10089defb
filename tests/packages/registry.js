'use strict'
// A registry on this machine that knows nothing but what is published to it.

const { execFileSync, spawn } = require('node:child_process')
const { mkdirSync, writeFileSync } = require('node:fs')
const { createServer } = require('node:net')
const { basename, dirname, join } = require('node:path')

const PUBLISH = join(__dirname, '../../tools/release/publish.js')
const LIMIT_MS = 60_000

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** Resolves when the process says that it listens; rejects with what it said when it ends or stays silent. */
function untilItListens(child) {
  return new Promise((resolve, reject) => {
    let said = ''
    const fail = (why) => reject(new Error(`the registry ${why}:\n${said}`))
    const timer = setTimeout(fail, LIMIT_MS, `does not listen within ${LIMIT_MS} ms`)
    child.once('close', (code) => fail(`ended with ${code}`))
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        said += text
        if (!said.includes('http address')) return
        clearTimeout(timer)
        resolve()
      })
    }
  })
}

/** `verdaccio`: its script. Everything is kept in `directory`. */
async function startRegistry(verdaccio, directory) {
  mkdirSync(directory, { recursive: true })
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/`
  const config = join(directory, 'config.yaml')
  writeFileSync(
    config,
    `storage: ${join(directory, 'storage')}
packages: { '**': { access: $all, publish: $all } }
max_body_size: 100mb
log: { type: stdout, format: json, level: info }
`,
  )
  const args = [verdaccio, '--config', config, '--listen', `127.0.0.1:${port}`]
  const child = spawn(process.execPath, args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] })
  await untilItListens(child)
  const npmrc = join(directory, 'npmrc')
  // npm wants to be somebody; the registry does not ask who.
  writeFileSync(npmrc, `registry=${url}\n//127.0.0.1:${port}/:_authToken=anybody\n`)
  const publish = (folder) => {
    const env = { ...process.env, npm_config_userconfig: npmrc, npm_config_registry: url, npm_config_loglevel: 'error' }
    // As the workflow names it: by its bare name, from the directory above.
    const options = { stdio: ['ignore', 'pipe', 'inherit'], cwd: dirname(folder), env }
    execFileSync(process.execPath, [PUBLISH, basename(folder)], options)
  }
  const close = () =>
    new Promise((resolve) => {
      child.removeAllListeners('close').once('close', resolve)
      child.kill()
    })
  return { url, publish, close }
}

module.exports = { startRegistry }
