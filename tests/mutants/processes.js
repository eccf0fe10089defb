'use strict'
// Promises about processes.

const { cargo, jest } = require('./tests.js')

module.exports = [
  {
    promise: 'P1: who ignores SIGTERM is killed after the grace',
    file: 'supervisor/src/ending.rs',
    find: '        self.kill(leader_runs, now);\n',
    replace: '',
    also: { file: 'supervisor/src/ending.rs', find: '        self.tree.kill_behind(again);\n', replace: '' },
    test: cargo('--test', 'supervisor', 'who_ignores_sigterm_is_dead_soon_after_the_grace'),
  },
  {
    promise: 'P1: the signal reaches groups below a process that lives on',
    file: 'supervisor/src/tree.rs',
    find: '&& process::signal_held(&held, signal).is_ok()',
    replace: '&& signal == 0',
    test: cargo('--test', 'supervisor', 'below_a_leader_that_lives_on_gets_the_chosen_signal'),
  },
  {
    promise: 'P1: what is started in answer to the signal is left to its work',
    file: 'supervisor/src/tree.rs',
    find: 'self.before.take().filter(',
    replace: 'self.before.take().or_else(|| Listed::below(&|_| true)).filter(',
    test: cargo('--test', 'supervisor', 'what_is_started_in_answer'),
  },
  {
    promise: 'P1: who is below a child that is out of reach is killed after the grace',
    file: 'supervisor/src/ending.rs',
    find: '        self.tree.kill_behind(again);\n',
    replace: '',
    test: jest('outofreach', 'deaf'),
  },
  {
    promise: 'P1: who is below a child that no signal ends is killed too',
    file: 'supervisor/src/tree.rs',
    find: '(again || !process::may_signal(child as i32))',
    replace: '!process::may_signal(child as i32)',
    test: jest('stuck', 'from a kill'),
  },
  {
    promise: 'P2: a command that kills its supervisor has ended',
    file: 'src/registry/keeper.rs',
    find: '        self.refresh(id, hung_up);',
    replace: '        self.refresh(id, false);',
    test: jest('ending', 'kills itself, its group or its supervisor'),
  },
  {
    promise: 'P3: what ended while the host was dead has ended',
    file: 'src/store/load.rs',
    find: '    let lives = !seen.empty && this_boot && is_inhabited(dir)?;',
    replace: '    let lives = !seen.empty && this_boot;',
    test: jest('ending', 'while its host is dead'),
  },
  {
    promise: 'P4: exit codes come back exactly',
    file: 'supervisor/src/watch.rs',
    find: '(Some(u64::from(code)), None)',
    replace: '(Some(u64::from(code) & 127), None)',
    test: cargo('--test', 'supervisor', 'every_exit_code_comes_back_exactly'),
  },
  {
    promise: 'P4: the stop of who asked to be traced is no end',
    file: 'supervisor/src/sys/process.rs',
    find: 'Some(signal) if child != 0 => let_go(child, signal),',
    replace: 'Some(signal) if child == usize::MAX => let_go(child, signal),',
    test: cargo('--test', 'supervisor', 'a_traced_command_becomes_another_program'),
  },
  {
    promise: 'P5: no zombie stays behind',
    file: 'src/registry/keeper.rs',
    find: '        ended.into_iter().for_each(process::Child::reap);',
    replace: '        ended.into_iter().for_each(std::mem::forget);',
    test: jest('workers', 'leave no zombie'),
  },
  {
    promise: 'P6: a stranger with a dead supervisor’s process id is left alone',
    file: 'src/registry/sweep.rs',
    find: '        drop(failpoint::pass("host.before_sweep"));\n',
    replace: `        let entry = self.shared.lock().find(&tasks[0], None).expect("it is known");
        let record = std::fs::read_to_string(entry.dir.file(outlive_protocol::names::STARTED)).unwrap_or_default();
        let pid = record.split("supervisorPid\\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
        pid.iter().for_each(|pid| drop(std::process::Command::new("kill").args(["-9", pid]).status()));
`,
    test: jest('strangers', ''),
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
    promise: 'P8: who leaves the tree stays within reach',
    file: 'supervisor/src/main.rs',
    find: '    ignore(process::adopt_orphans());\n',
    replace: '',
    test: cargo('--test', 'supervisor', 'descendants_that_live_on_are_still_within_reach'),
    alsoTest: jest('ending', 'descendants'),
  },
  {
    promise: 'P9: what no signal has reached was ended by none',
    file: 'supervisor/src/sys/process.rs',
    find: 'Ok(_) | Err(Errno::ESRCH)',
    replace: '_',
    test: jest('outofreach', ''),
  },
  {
    promise: 'P9: who comes back into reach was killed by us',
    file: 'supervisor/src/ending.rs',
    find: '            self.reached |= process::bit(SIGKILL);\n',
    replace: '            self.reached |= if self.reached == 0 { 0 } else { process::bit(SIGKILL) };\n',
    test: jest('outofreach', 'comes back'),
  },
  {
    promise: 'P9: a kill that comes too late changes no end',
    file: 'supervisor/src/watch.rs',
    find: '(Some(ending), _) if ending.explains(how) => ending.cause',
    replace: '(Some(ending), _) => ending.cause',
    test: cargo('--test', 'supervisor', 'a_signal_that_does_nothing_to_the_leader_is_not_its_end'),
  },
  {
    promise: 'P9: who is on the way out answers no signal',
    file: 'supervisor/src/proc.rs',
    find: 'flags & (EXITING | SIGNALED) != 0',
    replace: 'flags & (EXITING | SIGNALED) == u32::MAX',
    test: cargo('--test', 'supervisor', 'was_on_its_way_out'),
  },
  {
    promise: 'P10: all who kill are answered',
    file: 'src/registry/news.rs',
    find: '            self.answer_waiters(&task, until);',
    replace: `            let first = self.waiters.drain(..).next();
            self.waiters.extend(first);
            self.answer_waiters(&task, until);`,
    test: jest('kill', 'ten kills at once'),
  },
  {
    promise: 'P11: a kill goes on when its host is killed',
    file: 'supervisor/src/watch.rs',
    find: 'ending.force_by(now.saturating_add(grace));',
    replace: 'ending.force_by(if grace == 0 { now } else { NEVER });',
    test: jest('kill', 'Node killed in the middle of a kill'),
  },
  {
    promise: 'P12: nobody waits for a kill of others',
    file: 'src/registry/kill.rs',
    find: `        if entry.task.is_gone() {
            return self.answer(request, &entry);
        }
`,
    replace: `        if entry.task.is_gone() {
            return self.answer(request, &entry);
        }
        std::thread::sleep(std::time::Duration::from_secs(2));
`,
    test: jest('kill', '8 stubborn tasks'),
  },
  {
    promise: 'P14: a deadline ends its task',
    file: 'supervisor/src/watch.rs',
    find: 'timeout => leader.started_ns.saturating_add(timeout.saturating_mul(NS_PER_MS)),',
    replace: '_ => NEVER,',
    test: cargo('--test', 'supervisor', 'after_the_deadline_and_its_grace'),
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
    promise: 'P18: the default shell is bash',
    file: 'src/registry/shell.rs',
    find: 'find("bash", search_path)',
    replace: 'find("sh", search_path)',
    test: jest('spawn', 'is bash by default'),
  },
  {
    promise: 'P19: a command is not among its supervisor’s arguments',
    file: 'src/store/create.rs',
    find: '            names::SUPERVISOR.to_owned(),',
    replace: '            argument(&std::fs::read(self.dir.file(names::COMMAND)).unwrap_or_default()),',
    test: jest('spawn', 'pkill -f'),
  },
  {
    promise: 'P20: a missing directory is a rejection',
    file: 'src/store/create.rs',
    find: '    opened.map_err(|source| {',
    replace: '    opened.or_else(|_| files::open_directory(Path::new("/"))).map_err(|source| {',
    test: jest('spawn', 'working directory that is missing'),
  },
  {
    promise: 'P21: what is starting counts',
    file: 'src/registry/spawn.rs',
    find: 'ledger.running().len() + starting >= shared.max_running',
    replace: 'ledger.running().len() >= shared.max_running',
    test: jest('spawn', 'starts exactly as many'),
  },
  {
    promise: 'P23: a command that is not recorded does not run',
    file: 'supervisor/src/leader.rs',
    find: '    record_start(plan)?;\n',
    replace: '    ignore(record_start(plan));\n',
    test: cargo('--test', 'supervisor', 'without_its_start_record_a_command_does_not_run'),
  },
  {
    promise: 'P25: an end is told while others hold the output',
    file: 'supervisor/src/watch.rs',
    find: `        announce();
        // While others live no hang-up tells of it.
`,
    replace: '',
    test: jest('ending', 'do not delay its end'),
  },
  {
    promise: 'P26: a command has three descriptors',
    file: 'supervisor/src/leader.rs',
    find: '    files::close_range(fds::STDERR + 1, fds::FIRST_UNEXPECTED - 1);\n',
    replace: '',
    test: cargo('--test', 'supervisor', 'three_descriptors'),
  },
  {
    promise: 'P29: at the end of a grace a task within the task is ended by its own supervisor',
    file: 'supervisor/src/ending.rs',
    find: 'self.tree.kill(now < self.spared_until)',
    replace: 'self.tree.kill(now == 0)',
    test: jest('kill', 'and the tasks of an agent'),
  },
  {
    promise: 'P29: a tree of many sessions is dead after kill',
    file: 'supervisor/src/tree.rs',
    find: '        let Some(child) = numbers.ours(listed) else { return };\n',
    replace: '        let Some(child) = numbers.ours(listed).filter(|_| false) else { return };\n',
    // What is in no group of a child would be found one by one.
    also: {
      file: 'supervisor/src/tree.rs',
      find: '.filter(|before| before.count <= MAX_ALONE) else { return };',
      replace: '.filter(|_| false) else { return };',
    },
    test: cargo('--test', 'supervisor', 'thousand_sessions'),
  },
  {
    promise: 'P30: a failed exec is no exit code',
    file: 'supervisor/src/sys/launch.rs',
    find: '        reason => Err(Errno(reason)),',
    replace: '        _ => Ok(pid),',
    test: cargo('--test', 'supervisor', 'a_shell_that_cannot_be_executed'),
  },
  {
    promise: 'P30: nor is one whose news fails as well',
    file: 'supervisor/src/sys/launch.rs',
    find: 'if is_told { read } else { reason.get() }',
    replace: 'if is_told { read } else { read }',
    test: jest('faults', 'refused what it needs before the command runs'),
  },
  {
    promise: 'P31: a command dies with its supervisor',
    file: 'supervisor/src/leader.rs',
    find: '    process::die_with_parent()?;\n',
    replace: '',
    test: jest('hostile', 'dies with its supervisor'),
  },
  {
    promise: 'P32: a spawn that fails leaves no litter',
    file: 'src/store/create.rs',
    find: '            drop(remove(&self.dir));',
    replace: '            let _ = &self.dir;',
    test: jest('faults', 'refused at any step'),
  },
]
