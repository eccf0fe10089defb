//! `spawn`: a task is made on disk, its supervisor started, and the caller told once its command runs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::keeper::{Job, Keeper, Request, Watch};
use super::ledger::{Entry, Ledger, if_short};
use super::{Registry, Shared, shell};
use crate::error::{Error, Result};
use crate::platform::environment::Block;
use crate::platform::{clock, failpoint, files};
use crate::store::{self, Claim, Created, Launch, OwnerBell, Started, TaskDir};
use crate::task::{Asked, SessionId, StderrMode, Task, TaskId};
use outlive_protocol::names;
use outlive_protocol::settings::Cleanup;

/// Everything that a task can be asked to be, with what it is when nothing was said.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpawnOptions {
    command: String,
    #[serde(default = "default::session_id")]
    session_id: String,
    pub(super) cwd: PathBuf,
    /// What the command inherits instead of the host's environment block.
    inherited: Option<BTreeMap<String, String>>,
    /// Laid over what is inherited; `None` takes a name away.
    env: Option<BTreeMap<String, Option<String>>>,
    /// 0: no deadline.
    #[serde(default = "default::timeout_ms")]
    timeout_ms: u64,
    #[serde(default = "default::grace_ms")]
    grace_ms: u64,
    /// An absolute path or a name on `PATH`; `None`: bash, else `/bin/sh`.
    shell: Option<String>,
    #[serde(default)]
    stderr: StderrMode,
    /// Of each capture file; 0: all.
    #[serde(default = "default::max_output_bytes")]
    max_output_bytes: u64,
    #[serde(default, deserialize_with = "from_word")]
    cleanup: Cleanup,
    #[serde(default = "default::notify")]
    notify: bool,
    description: Option<String>,
    /// JSON, as a text.
    #[serde(default = "default::metadata", deserialize_with = "from_text")]
    metadata: Box<RawValue>,
}

mod default {
    use serde_json::value::RawValue;

    pub(super) fn session_id() -> String {
        super::SessionId::default_session().as_str().to_owned()
    }

    pub(super) fn timeout_ms() -> u64 {
        30 * 60 * 1000
    }

    pub(super) fn grace_ms() -> u64 {
        2000
    }

    pub(super) fn max_output_bytes() -> u64 {
        100 << 20
    }

    pub(super) fn notify() -> bool {
        true
    }

    pub(super) fn metadata() -> Box<RawValue> {
        RawValue::NULL.to_owned()
    }
}

fn from_text<'de, D: Deserializer<'de>>(text: D) -> std::result::Result<Box<RawValue>, D::Error> {
    RawValue::from_string(String::deserialize(text)?).map_err(D::Error::custom)
}

fn from_word<'de, D: Deserializer<'de>>(word: D) -> std::result::Result<Cleanup, D::Error> {
    let word = String::deserialize(word)?;
    Cleanup::of(word.as_bytes()).ok_or_else(|| D::Error::custom(word))
}

/// A spawn on its way to the reactor's thread.
pub(super) struct Spawn {
    pub(super) request: Request,
    /// [`SpawnOptions`] as JSON: read there, for the caller's thread has an event loop to run.
    options: String,
    /// The host's environment, if the command inherits that.
    block: Block,
    place: Place,
}

/// A spawn on the reactor's thread.
pub(super) struct Asking {
    pub(super) request: Request,
    pub(super) options: SpawnOptions,
    /// Of both clocks: tasks are listed in this order, whatever their directories lie on.
    asked_at: Moment,
    block: Block,
    place: Place,
}

#[derive(Clone, Copy)]
struct Moment {
    unix_ms: u64,
    monotonic_ns: u64,
}

/// A caller who waits for the start of a task.
pub(super) struct Spawning {
    pub(super) request: Request,
    /// That this host answers for the start.
    pub(super) claim: Claim,
}

/// A place among the tasks that may run, given back however the spawn ends.
struct Place {
    shared: Arc<Shared>,
    is_held: bool,
}

impl Place {
    fn reserve(shared: &Arc<Shared>, ledger: &mut Ledger) -> Result<Place> {
        if ledger.closing {
            return Err(Error::RegistryClosed);
        }
        let starting = ledger.reserved;
        if ledger.running().len() + starting >= shared.max_running {
            let running = ledger.running().iter().cloned().collect();
            return Err(Error::TaskLimitExceeded { limit: shared.max_running, running, starting });
        }
        ledger.reserved += 1;
        Ok(Place { shared: Arc::clone(shared), is_held: true })
    }

    /// The task itself is counted from now on. In one step: nobody counts it twice, or not at all.
    fn fill(mut self, entry: Entry) {
        self.is_held = false;
        let mut ledger = self.shared.lock();
        ledger.reserved -= 1;
        ledger.insert(entry);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_held {
            self.shared.lock().reserved -= 1;
        }
    }
}

/// A task that only has to be started.
struct Made {
    entry: Entry,
    created: Created,
    launch: Launch,
}

impl Registry {
    /// Starts a task that is described in JSON; the answer is its id. It gets the host's environment as it is now, if it
    /// `inherits` that. To be called on the thread that changes the environment: Node's main thread.
    pub fn spawn(&self, request: Request, options: String, inherits: bool) -> Result<()> {
        let place = Place::reserve(&self.shared, &mut *self.open_ledger()?)?;
        let block = if inherits { Block::of_this_process() } else { Block::default() };
        self.send(Job::Spawn(Box::new(Spawn { request, options, block, place })))
    }
}

impl Keeper {
    pub(super) fn spawn(&mut self, spawn: Spawn) {
        let Spawn { request, options, block, place } = spawn;
        let options: SpawnOptions = serde_json::from_str(&options).expect("the face sends what we read");
        let asked_at = Moment { unix_ms: clock::unix_ms(), monotonic_ns: clock::monotonic_ns() };
        self.open_cwd(Asking { request, options, asked_at, block, place });
    }

    pub(super) fn spawn_in(&mut self, asking: Asking, cwd: Result<File>) {
        let Asking { request, options, asked_at, block, place } = asking;
        // What was started before a shutdown has been ended by it, and nobody would end this.
        let cwd = if self.is_shutting_down { Err(Error::RegistryClosed) } else { cwd };
        let launched = cwd.and_then(|cwd| self.make(options, asked_at, &block, cwd)).and_then(|made| {
            place.fill(made.entry.clone());
            self.launch(made)
        });
        match launched {
            Ok((task, claim)) => {
                self.spawning.insert(task.clone(), Spawning { request, claim });
                self.count_arrival();
                if !self.children.contains_key(&task) {
                    // Refused by the system, which is its end. Where there is no supervisor nobody rings.
                    self.refresh(&task, false);
                }
            }
            Err(error) => self.shared.outbox.fail(request, &error),
        }
    }

    /// The task with its directory, listened to, and its supervisor not yet running.
    fn make(&mut self, options: SpawnOptions, asked_at: Moment, block: &Block, cwd: File) -> Result<Made> {
        let (inherited, overrides) = (options.inherited.unwrap_or_default(), options.env.unwrap_or_default());
        let mut variables = variables(block, &inherited, &overrides);
        let session = SessionId::new(&options.session_id);
        if !self.shared.lock().attached.contains(&session) {
            self.attach(&session)?;
        }
        let pwd = shown_directory(&options.cwd, &cwd);
        let search_path = variables.get(OsStr::new("PATH")).copied().unwrap_or_default();
        let shell = shell::resolve(options.shell.as_deref(), search_path)?;
        let ledger = || self.shared.lock();
        let (task, created) = store::create(&self.shared.store, &session, options.stderr, &options.command, cwd, || {
            new_id(|id| ledger().knows(id))
        })?;
        variables.insert(OsStr::new(names::TASK_ID_VARIABLE), OsStr::new(task.as_str()));
        match &pwd {
            Some(pwd) => variables.insert(OsStr::new("PWD"), pwd.as_os_str()),
            None => variables.remove(OsStr::new("PWD")),
        };
        let launch = Launch {
            environment: Block::of(variables.into_iter()),
            shell,
            max_output_bytes: options.max_output_bytes,
            cleanup: options.cleanup,
        };
        let asked = Arc::new(Asked {
            id: task.clone(),
            session,
            cwd: options.cwd,
            timeout_ms: options.timeout_ms,
            grace_ms: options.grace_ms,
            stderr: options.stderr,
            notify: options.notify,
            description: options.description,
            metadata: options.metadata,
            created_at: asked_at.unix_ms,
            created_monotonic_ns: asked_at.monotonic_ns,
        });
        let dir = created.dir().clone();
        self.watch_events(&task, &dir)?;
        let state = Task::new(asked.notify);
        let command = if_short(options.command);
        let entry = Entry { asked, dir, task: state, this_boot: true, command, attempt: 0 };
        Ok(Made { entry, created, launch })
    }

    fn launch(&mut self, made: Made) -> Result<(TaskId, Claim)> {
        let Made { entry: Entry { asked, .. }, created, launch } = made;
        let task = asked.id.clone();
        let owns = self.owns(&asked.session);
        let store = &self.shared.store;
        let started = created.publish(store, &asked, &launch).and_then(|task| {
            if !owns {
                // Before it runs: from now on its end is told, also when this host is killed in the next instruction.
                OwnerBell::ring(store, &asked.session)?;
            }
            task.start(store, &asked, &launch)
        });
        match started {
            Ok(Started { child, claim }) => {
                child.into_iter().for_each(|child| drop(self.children.insert(task.clone(), child)));
                Ok((task, claim))
            }
            Err(error) => {
                self.forget(&task);
                Err(error)
            }
        }
    }

    /// Watched before the supervisor runs, so that nothing it says is missed.
    fn watch_events(&mut self, task: &TaskId, dir: &TaskDir) -> Result<()> {
        let events = dir.open_events().map_err(Error::storage("open the events of", dir.path()))?;
        let token = self.ear.watch(&events).map_err(Error::storage("watch the events of", dir.path()))?;
        self.watches.insert(token, Watch::Events { task: task.clone(), events });
        Ok(())
    }

    /// This host knows the task no more: it never ran, or it is for others to tell.
    pub(super) fn forget(&mut self, task: &TaskId) {
        self.shared.lock().remove(task);
        self.turn_away_waiters(task);
        // Its hang-up is not heard any more: it is reaped when the next one starts.
        drop(self.children.remove(task));
        self.watches.retain(|_, watch| match watch {
            Watch::Events { task: of, events } if of == task => {
                self.ear.unwatch(events);
                false
            }
            _ => true,
        });
    }

    /// The command runs, or has run: the caller may know the task.
    pub(super) fn announce_start(&mut self, id: &TaskId) {
        if let Some(Spawning { request, .. }) = self.spawning.remove(id) {
            drop(failpoint::pass("host.before_start_told"));
            self.shared.outbox.answer(request, Ok(id));
        }
    }

    /// Before this host has looked, the command has run, and its end is not for this host to tell: another one has, and has removed it, or
    /// the record is a later release's.
    pub(super) fn announce_past(&mut self, id: &TaskId) {
        // In this order: whoever is answered may ask for it in the next moment.
        self.forget(id);
        self.announce_start(id);
    }

    /// The supervisor was gone before the command ran: then there was no task.
    pub(super) fn reject_spawn(&mut self, id: &TaskId) {
        // The claim is held until the files are gone.
        let Some(Spawning { request, claim: _claim }) = self.spawning.remove(id) else { return };
        let entry = self.shared.lock().find(id, None);
        // What cannot be removed now is taken by cleanup later.
        entry.iter().for_each(|entry| drop(store::remove(&entry.dir)));
        let what = "its supervisor ended before it could start the command";
        let source = self.shared.store.executable.doubt();
        self.forget(id);
        self.shared.outbox.fail(request, &Error::SpawnFailed { task: Some(id.clone()), what, source });
    }
}

/// What `PWD` says: the directory as it was asked for, for shells would otherwise resolve its links. A `..` in it some of them take
/// away together with the name before it, whatever that leads to; then it is what the kernel calls it.
fn shown_directory(asked: &Path, opened: &File) -> Option<PathBuf> {
    let goes_up = asked.components().any(|part| part == Component::ParentDir);
    if goes_up { files::path_of(opened).ok() } else { Some(asked.to_owned()) }
}

/// An id that `is_known` does not know; the disk is asked by whoever makes its directory.
fn new_id(is_known: impl Fn(&TaskId) -> bool) -> Result<TaskId> {
    loop {
        let number = getrandom::u64().map_err(|error| Error::SpawnFailed {
            task: None,
            what: "the system gave no random id",
            source: std::io::Error::other(error.to_string()),
        })?;
        let id = TaskId::new(number);
        if !is_known(&id) {
            return Ok(id);
        }
    }
}

/// By their names.
type Variables<'a> = BTreeMap<&'a OsStr, &'a OsStr>;

/// What the command inherits, with what is laid over that.
fn variables<'a>(
    block: &'a Block,
    inherited: &'a BTreeMap<String, String>,
    overrides: &'a BTreeMap<String, Option<String>>,
) -> Variables<'a> {
    // Where a block has a name twice, `getenv` finds the first: so the last to be collected is that one.
    let mut variables: Variables<'_> = block.variables().rev().collect();
    variables.extend(inherited.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))));
    // Electron hosts set it for themselves; inherited, it turns every Electron program that a task starts into Node.
    variables.remove(OsStr::new("ELECTRON_RUN_AS_NODE"));
    for (name, value) in overrides {
        match value {
            Some(value) => variables.insert(OsStr::new(name), OsStr::new(value)),
            None => variables.remove(OsStr::new(name)),
        };
    }
    variables
}
