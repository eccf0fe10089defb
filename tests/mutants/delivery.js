'use strict'
// Promises about the delivery of completions.

const { cargo, jest } = require('./tests.js')

module.exports = [
  {
    promise: 'D1: an attempt that a dead host made counts',
    file: 'src/registry/delivery.rs',
    find: '        store::note_attempt(&entry.dir);\n',
    replace: '',
    test: jest('delivery', 'whose callback was running when Node was killed'),
  },
  {
    promise: 'D3: the first subscription hears what ended before it',
    file: 'src/registry/subscriptions.rs',
    find: '            self.listen_again_later(ear, session);\n        }\n        self.news.tell(session);\n',
    replace: '            self.listen_again_later(ear, session);\n        }\n',
    test: jest('callbacks', ''),
  },
  {
    promise: 'D5: what a callback holds is not drained',
    file: 'src/registry/ledger.rs',
    find: '        entries.filter(|entry| entry.task.delivery != Delivery::Leased)',
    replace: '        entries',
    test: jest('drain', 'what a callback holds'),
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
    promise: 'D9: five attempts and no more',
    file: 'src/task/state.rs',
    find: 'const MAX_ATTEMPTS: u32 = 5;',
    replace: 'const MAX_ATTEMPTS: u32 = 6;',
    test: jest('drain', 'always fails'),
  },
  {
    promise: 'D15: a session has one owner',
    file: 'src/store/session.rs',
    find: '            if lock::try_lock(&writer).map_err(failed)? {',
    replace: '            if lock::try_lock(&writer).map_err(failed)? || self.lock.is_none() {',
    test: jest('hosts', ''),
  },
  {
    promise: 'D15: an owner that was removed owns nothing',
    file: 'src/store/session.rs',
    find: '[Ok(ours), Ok(theirs)] => ours != theirs,',
    replace: '[Ok(ours), Ok(theirs)] => ours != theirs && false,',
    test: jest('rivals', 'made anew waits for the new one'),
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
    promise: 'D18: what a closed subscription was not told comes before what ends later',
    file: 'src/registry/subscriptions.rs',
    find: '|lease| !lease.in_callback)',
    replace: '|_| false)',
    test: jest('backlog', 'closed subscription'),
  },
  {
    promise: 'D18: told in the order of the ends',
    file: 'supervisor/src/watch.rs',
    find: '            ended_monotonic_ns: now,',
    replace: '            ended_monotonic_ns: u64::MAX - now,',
    test: jest('delivery', 'are told in that order'),
  },
  {
    promise: 'D19: an id that is on disk is not given again',
    file: 'src/store/create.rs',
    find: '            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}\n',
    replace: '            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break (task, dir),\n',
    test: cargo('--lib', 'on_disk_is_not_given_again'),
  },
  {
    promise: 'D20: another session’s task is unknown',
    file: 'src/registry/ledger.rs',
    find: '.filter(|entry| session.is_none_or(|session| entry.asked.session == *session)).cloned()',
    replace: '.filter(|_| session.is_none_or(|_| true)).cloned()',
    test: jest('delivery', 'sees nothing of another'),
  },
  {
    promise: 'D22: a spawn that was rejected is not told',
    file: 'src/registry/spawn.rs',
    find: '        entry.iter().for_each(|entry| drop(store::remove(&entry.dir)));\n',
    replace: '        drop(entry);\n',
    test: jest('refused', 'the spawn rejects, leaves nothing'),
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
    promise: 'D16: what another host has taken is not told any more',
    file: 'src/registry/delivery.rs',
    find: '        if self.shared.strike_off(&entry) {',
    replace: '        if false {',
    test: jest('rivals', 'on its way to a callback'),
  },
  {
    promise: 'D18: nothing is told before all that has happened is known',
    file: 'src/registry/keeper.rs',
    find: '                    self.tell_session_of(id);\n                    self.news.reach',
    replace:
      '                    self.tell_session_of(id);\n                    self.tell_news(ear);\n                    self.news.reach',
    test: jest('rivals', 'held up tells in the order'),
  },
  {
    promise: 'D15: what the last owner has left is looked for by whoever takes over in a drain',
    file: 'src/registry/subscriptions.rs',
    find: '                self.rescan(ear, session)?;\n                self.news.tell(session);',
    replace: '',
    test: jest('rivals', 'owner dies while another host drains'),
  },
]
