'use strict'
// Real clients with the plugins of `examples/`, end to end, without the network: only the model behind them is ours.
//
//     node tests/clients/run.js                  those that CI runs
//     node tests/clients/run.js all
//     node tests/clients/run.js opencode pi
//
// Clients come from npm, once, into the cache directory. Each has a driver with `prepare`, which makes a project and returns
// `start`; and a started host can be asked something (`ask` resolves when the turn is over, `begin` waits for nothing) and killed.
// What is tried with it is `woken.js`, unless the driver has a `scenario` of its own.

const { mkdirSync, mkdtempSync, rmSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const { row } = require('../table.js')
const { fakeModel } = require('./fake-model.js')
const woken = require('./woken.js')

const CLIENTS = {
  opencode: () => require('./opencode.js'),
  mcp: () => require('./mcp.js'),
  pi: () => require('./pi.js'),
  vscode: () => require('./vscode.js').bundled,
  'vscode-with-dependencies': () => require('./vscode.js').withDependencies,
}
/** Small enough for each run of CI; VS Code with its window is a gigabyte. */
const SMALL = ['opencode', 'mcp', 'pi']

async function run({ prepare, scenario = woken.scenario }) {
  const dir = mkdtempSync(join(tmpdir(), 'outlive-client-'))
  const [project, home, store] = ['project', 'home', 'store'].map((name) => join(dir, name))
  for (const path of [project, home]) mkdirSync(path)
  const model = await fakeModel()
  const held = []
  const hosts = []
  let client
  const onHost = (host) => {
    hosts.push(host)
    return host
  }
  try {
    client = prepare({ dir, project, home, store, modelUrl: model.url, seen: model.seen })
    if (client.skipped) return { held, skipped: client.skipped }
    await scenario({ client, dir, project, model, check: (promise) => held.push(promise), onHost })
    return { held }
  } catch (error) {
    await hosts.at(-1)?.screenshot?.(join(tmpdir(), 'outlive-client-failure.png'))
    const shown = model.seen.at(-1)?.map(({ role, text }) => `${role}: ${text.slice(0, 300)}`) ?? []
    return { held, failure: [error.stack, ...shown, hosts.at(-1)?.said().slice(-3000)].join('\n') }
  } finally {
    for (const host of hosts) await host.kill()
    await client?.close?.()
    model.close()
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function main(names) {
  for (const name of names) if (!(name in CLIENTS) && name !== 'all') throw new Error(`there is no client "${name}"`)
  const wanted = names.includes('all') ? Object.keys(CLIENTS) : names
  for (const name of wanted.length > 0 ? wanted : SMALL) {
    const client = CLIENTS[name]()
    const began = Date.now()
    const { held, failure, skipped } = await run(client)
    const outcome =
      failure === undefined ? `all ${held.length} promises hold` : `${held.length} promises hold, then one does not`
    const seconds = ((Date.now() - began) / 1000).toFixed(1)
    console.log(`${client.name} ${client.version}: ${skipped ? `SKIPPED, ${skipped}` : outcome} (${seconds} s)`)
    for (const promise of held) console.log(`  ✓ ${promise}`)
    row(`${client.name} ${client.version}`, 'end to end', skipped ? 'SKIPPED' : outcome)
    if (failure !== undefined) {
      console.log(`  ✗ ${failure}`)
      process.exitCode = 1
    }
  }
}

main(process.argv.slice(2))
