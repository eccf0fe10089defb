'use strict'
// Promises about records and restarts.

const { cargo, jest } = require('./tests.js')

module.exports = [
  {
    promise: 'R1: one completion, in however many registries the task was replayed',
    file: 'src/registry/delivery.rs',
    find: 'subscription_of(session).is_none() || !self.owns(session) {',
    replace: 'subscription_of(session).is_none() || self.bells.is_empty() {',
    test: jest('replay', 'replay 100 times'),
  },
  {
    promise: 'R10: what is read on other threads is what is over',
    file: 'src/store/finished.rs',
    find: 'matches!(loaded, Loaded::Task { .. })',
    replace: 'matches!(loaded, Loaded::Task { .. } | Loaded::Unreadable(_))',
    test: jest('replay', 'hundreds of tasks'),
  },
  {
    promise: 'R4: a store has one name',
    file: 'src/store/layout.rs',
    find: '        let root = fs::canonicalize(path).map_err(Error::storage("open the storage directory", path))?;',
    replace: '        let root = path.to_owned();',
    test: jest('storage', 'reached through a link'),
  },
  {
    promise: 'R6: others are answered while cleanup goes on',
    file: 'src/registry/cleanup.rs',
    find: 'while began.elapsed() < SLICE {',
    replace: 'while began.elapsed() < SLICE * 30_000 {',
    test: jest('cleanup', 'heard and answered'),
  },
  {
    promise: 'R6: what nobody has attached is left for a month',
    file: 'src/registry/forgotten.rs',
    find: 'cleaning.takes(&dir, ending, told, FORGOTTEN.as_millis() as u64)',
    replace: 'cleaning.takes(&dir, ending, told, 0)',
    test: jest('forgotten', 'the end of a long task'),
  },
  {
    promise: 'R6: the directory of a session that a host listens to stays',
    file: 'src/store/session.rs',
    find: 'bell.as_mut().is_some_and(|bell| !bell.try_to_own().unwrap_or(false))',
    replace: 'false',
    test: jest('forgotten', 'stays while a host listens'),
  },
  {
    promise: 'R9: records of a newer release are reported',
    file: 'src/registry/attach.rs',
    find: '        self.note_unreadable(session, &dir);\n',
    replace: '',
    test: jest('records', 'newer release'),
  },
  {
    promise: 'R10: a record has all of its fields',
    file: 'src/store/records.rs',
    find: '    #[serde(deserialize_with = "stated")]\n    description',
    replace: '    description',
    test: jest('spoilt', 'lacks one of its fields'),
  },
  {
    promise: 'R10: a record that is not what was written is no record',
    file: 'src/store/records.rs',
    find: 'Ok(_) if check::is_spoilt(content) => return',
    replace: 'Ok(_) if false && check::is_spoilt(content) => return',
    test: jest('records', 'flipped bit'),
    alsoTest: cargo('--lib', 'flipped_bit'),
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
    promise: 'R12: durations are of the clock that nobody sets',
    file: 'supervisor/src/watch.rs',
    find: '            duration_ms: now.saturating_sub(self.leader.started_ns) / NS_PER_MS,',
    replace: '            duration_ms: finished_at.saturating_sub(self.leader.started_at),',
    test: jest('clock', 'wall clock of a supervisor'),
  },
  {
    promise: 'R14: directories are 0700 whatever the umask',
    file: 'src/platform/files.rs',
    find: '    set_mode_of(path, 0o700)',
    replace: '    set_mode_of(path, 0o755)',
    test: jest('storage', 'directories are 0700'),
  },
  {
    promise: 'R14: files are 0600 whatever the umask',
    file: 'src/platform/files.rs',
    find: 'if has_mode(about, 0o600) { Ok(()) }',
    replace: 'if true { Ok(()) }',
    test: jest('storage', 'directories are 0700'),
  },
  {
    promise: 'R15: links lead nowhere',
    file: 'src/platform/files.rs',
    find: 'flags | libc::O_CLOEXEC | libc::O_NOFOLLOW, mode',
    replace: 'flags | libc::O_CLOEXEC, mode',
    test: jest('storage', 'links planted'),
  },
  {
    promise: 'R16: no environment on disk',
    file: 'src/store/create.rs',
    find: '        let line = TaskRecord::new(asked, launch, &store.here).to_line();',
    replace:
      '        let line = TaskRecord::new(asked, launch, &store.here).to_line();\n        drop(std::fs::write(self.dir.path().join("environment"), launch.environment.lines().flat_map(|line| line.to_bytes()).copied().collect::<Vec<_>>()));',
    test: jest('storage', 'the environment is in no file'),
  },
  {
    promise: 'R17: the space for an end is reserved',
    file: 'src/store/create.rs',
    find: '            files::reserve(&file, ENDED_RESERVED)?;\n',
    replace: '            let _ = ENDED_RESERVED;\n',
    test: jest('disks', ''),
  },
  {
    promise: 'R18: what had ended before a power cut is told as it ended',
    file: 'supervisor/src/durable.rs',
    find: '            ignore(step(file));\n',
    replace: '            let _ = (step, file);\n',
    also: {
      file: 'supervisor/src/durable.rs',
      find: '        ignore(files::start_writing(file.number()));\n',
      replace: '        let _ = file;\n',
    },
    test: jest('powercut', ''),
  },
  {
    promise: 'R19: a task of another build is managed',
    file: 'src/store/load.rs',
    find: '    if let Some(why) = misplaced(store, session, id, &record) {\n',
    replace: `    let started = std::fs::read_to_string(dir.file(names::STARTED)).unwrap_or_default();
    let supervisor = started.split("supervisorPid\\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
    let program = supervisor.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
    let is_foreign = |program: std::path::PathBuf| !program.to_string_lossy().contains(env!("OUTLIVE_SUPERVISOR_HASH"));
    let foreign = program.is_some_and(is_foreign).then_some("another build started it");
    if let Some(why) = foreign.or_else(|| misplaced(store, session, id, &record)) {
`,
    test: jest('upgrade', ''),
  },
]
