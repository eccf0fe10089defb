'use strict'
// Promises, each with the smallest change that breaks it, and the test that must notice. `find` stands in the file exactly
// once; `test` is a file of tests/js and words of a title, or arguments of `cargo test`.

const jest = (file, title) => ['npx', 'jest', `tests/js/${file}.test.ts`, '-t', title]
const cargo = (...args) => ['cargo', 'test', '--quiet', ...args]

module.exports = [
  {
    promise: 'P6: a stranger with a dead supervisor’s process id is left alone',
    file: 'src/registry/keeper.rs',
    find: '                    drop(failpoint::pass("host.before_sweep"));\n',
    replace: `                    let entry = self.shared.lock().find(id, None).expect("it is known");
                    let record = std::fs::read_to_string(entry.dir.file(outlive_protocol::names::STARTED)).unwrap_or_default();
                    let pid = record.split("supervisorPid\\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
                    pid.iter().for_each(|pid| drop(std::process::Command::new("kill").args(["-9", pid]).status()));
`,
    test: jest('strangers', ''),
  },
  {
    promise: 'R1: one completion, in however many registries the task was replayed',
    file: 'src/registry/delivery.rs',
    find: '        if !self.owns(session) {\n            return;\n        }\n        for entry',
    replace: '        for entry',
    test: jest('replay', 'replay 100 times'),
  },
  {
    promise: 'R6: others are answered while cleanup goes on',
    file: 'src/registry/cleanup.rs',
    find: 'Duration::from_millis(2)',
    replace: 'Duration::from_secs(60)',
    test: jest('cleanup', 'heard and answered'),
  },
  {
    promise: 'P7: a task of yesterday that lives is running',
    file: 'src/store/load.rs',
    find: 'let is_over = seen.ended.is_some();',
    replace: `let is_over = seen.ended.is_some();
    let lives = lives && asked.created_at + 86_400_000 > crate::platform::clock::unix_ms();`,
    test: jest('endurance', 'P7|25 hours ago'),
  },
  {
    promise: 'P11: a kill goes on when its host is killed',
    file: 'supervisor/src/watch.rs',
    find: 'ending.force_at = ending.force_at.min(now.saturating_add(grace));',
    replace: 'ending.force_at = if grace == 0 { now } else { NEVER };',
    test: jest('kill', 'Node killed in the middle of a kill'),
  },
  {
    promise: 'P17: a command has no terminal to fight for',
    file: 'supervisor/src/leader.rs',
    find: '    process::new_session()?;\n',
    replace: '',
    also: { file: 'supervisor/src/main.rs', find: '    ignore(process::new_session());\n', replace: '' },
    test: jest('terminal', ''),
  },
  {
    promise: 'P29: a tree of many sessions is dead after kill',
    file: 'supervisor/src/tree.rs',
    find: '    each_own_child(&mut |child| {\n        // `/proc`',
    replace:
      '    each_own_child(&mut |child| {\n        return;\n        #[allow(unreachable_code)]\n        // `/proc`',
    test: cargo('--test', 'supervisor', 'thousand_sessions'),
  },
  {
    promise: 'P31: a command dies with its supervisor',
    file: 'supervisor/src/leader.rs',
    find: '    process::die_with_parent()?;\n',
    replace: '',
    test: jest('hostile', 'dies with its supervisor'),
  },
  {
    promise: 'D3: the first subscription hears what ended before it',
    file: 'src/registry/subscriptions.rs',
    find: '            Ok(()) => self.deliver(session),',
    replace: '            Ok(()) => {}',
    test: jest('delivery', 'while the host was down'),
  },
  {
    promise: 'D6: JavaScript is woken for each end',
    file: 'src/registry/outbox.rs',
    find: '            (self.wake)();\n',
    replace:
      '            static WOKEN: std::sync::Once = std::sync::Once::new();\n            WOKEN.call_once(|| (self.wake)());\n',
    test: jest('delivery', '500 ms apart'),
  },
  {
    promise: 'D16: what was accepted is never told again',
    file: 'src/store/delivery.rs',
    find: '    fs::symlink_metadata(dir.file(names::DELIVERED)).is_ok()\n',
    replace: '    fs::symlink_metadata(dir.file(names::DELIVERED)).is_ok() && false\n',
    test: jest('records', 'delivered'),
  },
  {
    promise: 'D17: the completion is queued when kill resolves',
    file: 'src/registry/kill.rs',
    find: '        self.waiters.push(Waiter::Task { request, task: entry.asked.task.clone(), until: Until::Empty, patience: None });\n',
    replace: '        self.answer(request, &entry);\n',
    test: jest('delivery', 'is queued when kill resolves'),
  },
  {
    promise: 'D19: an id that is on disk is not given again',
    file: 'src/store/create.rs',
    find: '            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}\n',
    replace: '            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break (task, dir),\n',
    test: cargo('--lib', 'on_disk_is_not_given_again'),
  },
  {
    promise: 'D24: a Jest environment that ends leaves its completions to the next',
    file: 'environment.js',
    find: 'function atEndOfJestEnvironment(end) {\n',
    replace: 'function atEndOfJestEnvironment(end) {\n  return\n',
    test: jest('workers', 'D24|Jest environment'),
    alsoTest: jest('exit', 'Jest environment'),
  },
  {
    promise: 'N1: what has been answered lets the process end',
    file: 'registry.js',
    find: 'if (--this.#refs === 0) this.#addon.unref()',
    replace: '--this.#refs',
    test: jest('exit', 'let the process end'),
  },
  {
    promise: 'N3: a worker that is terminated leaves its sessions to others',
    file: 'src/js/mod.rs',
    find: '                registry.detach();\n                registry.let_go();\n',
    replace: '                std::mem::forget(registry);\n',
    test: jest('workers', ''),
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
  {
    promise: 'R10: a record has all of its fields',
    file: 'src/store/records.rs',
    find: '    #[serde(deserialize_with = "stated")]\n    description',
    replace: '    description',
    test: jest('spoilt', 'lacks one of its fields'),
  },
  {
    promise: 'R11: an end stays as it was',
    file: 'src/task/state.rs',
    find: '            State::Ended(..) => return vec![],\n            State::Starting => None,',
    replace: '            State::Ended(..) | State::Starting => None,',
    test: cargo('--lib', 'state'),
    alsoTest: jest('replay', 'an end stays as it was'),
  },
  {
    promise: 'R18: what had ended before a power cut is told as it ended',
    file: 'supervisor/src/durable.rs',
    find: '        ignore(open(name).and_then(|file| files::sync(file.number())));\n',
    replace: '        let _ = name;\n',
    also: {
      file: 'supervisor/src/durable.rs',
      find: '        ignore(open(name).and_then(|file| files::start_writing(file.number())));\n',
      replace: '        let _ = name;\n',
    },
    test: jest('powercut', ''),
  },
]
