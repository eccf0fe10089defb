'use strict'
// Promises about Node and its kin.

const { jest } = require('./tests.js')

module.exports = [
  {
    promise: 'N1: what has been answered lets the process end',
    file: 'registry.js',
    find: 'if (--this.#refs === 0) this.#addon?.unref()',
    replace: '--this.#refs',
    test: jest('exit', 'let the process end'),
  },
  {
    promise: 'N2: Jest ends by itself',
    file: 'registry.js',
    find: '  constructor(options) {\n',
    replace: '  constructor(options) {\n    setInterval(() => this.#pull(), 500)\n',
    test: jest('realms', 'Jest resets'),
  },
  {
    promise: 'N3: a worker that is terminated leaves its sessions to others',
    file: 'src/js/mod.rs',
    find: '                registry.detach();\n                registry.let_go();\n',
    replace: '                std::mem::forget(registry);\n',
    test: jest('workers', 'one spawns, another is told'),
  },
  {
    promise: 'N4: no call blocks the event loop',
    file: 'src/registry/spawn.rs',
    find: '        let place = Place::reserve(&self.shared, &mut *self.open_ledger()?)?;\n',
    replace:
      '        let place = Place::reserve(&self.shared, &mut *self.open_ledger()?)?;\n        std::thread::sleep(std::time::Duration::from_millis(40));\n',
    test: jest('workers', 'N4|event loop'),
  },
  {
    promise: 'N4: no call waits for a directory that does not answer',
    file: 'src/registry/cwd.rs',
    find: '        if threads::start("outlive-cwd", Box::new(answer)).is_err() {\n',
    replace: '        drop(answer);\n        {\n',
    test: jest('turn', 'does not answer'),
  },
  {
    promise: 'N4: no call waits for spawns that were asked for before',
    file: 'src/registry/keeper.rs',
    find: 'Job::Spawn(_) | Job::Opened { .. } | Job::SpawnIn { .. } | Job::Shutdown { .. } => Priority::Low',
    replace: 'Job::Spawn(_) | Job::Shutdown { .. } => Priority::High',
    test: jest('turn', ''),
  },
  {
    promise: 'N5: a NUL in a string is told as such',
    file: 'arguments.js',
    find: "if (!nul && value.includes('\\0'))",
    replace: 'if (false)',
    test: jest('arguments', ''),
  },
  {
    promise: 'N6: subscriptions that are closed leave nothing behind',
    file: 'src/registry/subscriptions.rs',
    find: '            ledger.subscriptions.insert(number, session.clone());\n',
    replace:
      '            ledger.subscriptions.insert(number, session.clone());\n            std::mem::forget(vec![0u8; 100_000]);\n',
    test: jest('endurance', 'subscriptions'),
  },
]
