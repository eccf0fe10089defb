//! The door: the only room that says `napi`. It turns JavaScript's values into ours and back, and decides nothing.
//!
//! Sizes, times and request numbers cross as `f64`, which is what JavaScript has; snapshots, completions and errors cross as
//! JSON. The face has checked every argument: what arrives here is of the right type and in range. Each export catches panics,
//! which would otherwise abort the host.

mod held;
mod wake;

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::Function;
use napi::{Env, Error, Result};
use napi_derive::napi;
use serde::Serialize;

use crate::error;
use crate::platform::threads;
use crate::registry::{DEFAULT_PREVIEW_BYTES, PageRequest, Refusal, Registry, Request, Stream, TaskRef};
use crate::task::{SessionId, Status, TaskId};
use held::Held;
use wake::WakeFunction;

/// One value more than that is still a string that V8 takes: a command has 8 MiB, each of which JSON may write as six.
const PAGE_BYTES: usize = 64 << 20;

/// The release that this addon is of. What crosses between it and the face may change with every one.
#[napi]
#[expect(unreachable_pub, reason = "napi exports nothing else")]
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether JavaScript runs on the process's first thread, where `process.env` is the environment that native code reads. Node's own answer
/// costs a module of which nothing else is needed.
#[napi(catch_unwind)]
pub(crate) fn is_main_thread() -> bool {
    threads::is_first()
}

/// The tasks of one storage directory. Private to `index.js`, which checks arguments and makes promises of requests.
#[napi]
pub struct NativeRegistry {
    registry: Arc<Registry>,
    wake: WakeFunction,
    held: Held,
}

#[napi]
impl NativeRegistry {
    /// Opens a registry. `supervisor`: what `OUTLIVE_SUPERVISOR` names. `wake` is called when `take` has something, and keeps the
    /// event loop alive only between `ref` and `unref`.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: Env,
        storage_dir: String,
        supervisor: Option<String>,
        max_running: f64,
        wake: Function<'_, (), ()>,
    ) -> Result<Self> {
        let wake = WakeFunction::new(&wake)?;
        let supervisor = supervisor.map(PathBuf::from);
        let registry = thrown(Registry::open(Path::new(&storage_dir), supervisor, max_running as usize, wake.caller()))?;
        let detached = Arc::downgrade(&registry);
        // Fires when a worker ends, or the process with nothing left to do; a test runner's environment ends without it, which the
        // face notices by itself. A registry that was collected before needs nothing.
        env.add_env_cleanup_hook(detached, |registry| {
            if let Some(registry) = registry.upgrade() {
                registry.detach();
                registry.let_go();
            }
        })?;
        Ok(NativeRegistry { registry, wake, held: Held::new() })
    }

    /// Its number, for `isHeld`.
    #[napi(catch_unwind)]
    pub fn number(&self) -> u32 {
        self.held.number()
    }

    /// Whether the registry of that number can still be called: an environment that ends may free it before its last JavaScript has run.
    #[napi(catch_unwind)]
    pub fn is_held(number: u32) -> bool {
        held::is_held(number)
    }

    /// Starts a task; settles with its id. It gets the environment that the process has now, if it `inherits` that.
    #[napi(catch_unwind)]
    pub fn spawn(&self, request: f64, order: String, inherits: bool) -> Result<()> {
        thrown(self.registry.spawn(Request(request as u64), order, inherits))
    }

    /// The task as it stands, or null. It changes no task.
    #[napi(catch_unwind)]
    pub fn status(&self, task_id: String, session_id: Option<String>, preview_bytes: Option<f64>) -> Result<Option<String>> {
        let snapshot = thrown(self.registry.status(&named(task_id, session_id), budget(preview_bytes)))?;
        Ok(snapshot.as_ref().map(to_json))
    }

    /// The tasks as they stand, in the order of their `spawn` calls.
    #[napi(catch_unwind)]
    pub fn list(&self, session_id: Option<String>, status: Option<String>, preview_bytes: Option<f64>) -> Result<Vec<String>> {
        let status: Option<Status> = status.and_then(|word| serde_json::from_value(word.into()).ok());
        thrown(self.registry.list(session(session_id), status, budget(preview_bytes))).map(|tasks| to_pages(&tasks))
    }

    /// Ends a task's tree; settles with its snapshot.
    #[napi(catch_unwind)]
    pub fn kill(
        &self,
        request: f64,
        task_id: String,
        session_id: Option<String>,
        signal: f64,
        grace_ms: Option<f64>,
    ) -> Result<()> {
        let grace_ms = grace_ms.map(|grace| grace as u64);
        thrown(self.registry.kill(Request(request as u64), named(task_id, session_id), signal as u8, grace_ms))
    }

    /// Waits for a task's end, or `timeoutMs`; settles with its snapshot.
    #[napi(catch_unwind)]
    pub fn wait(&self, request: f64, task_id: String, session_id: Option<String>, timeout_ms: Option<f64>) -> Result<()> {
        let timeout = timeout_ms.map(|timeout| Duration::from_millis(timeout as u64));
        thrown(self.registry.wait(Request(request as u64), named(task_id, session_id), timeout))
    }

    /// Takes a wait back; it never settles.
    #[napi(catch_unwind)]
    pub fn cancel(&self, request: f64) -> Result<()> {
        thrown(self.registry.cancel(Request(request as u64)))
    }

    /// A page of what a task wrote.
    #[napi(catch_unwind)]
    pub fn output(
        &self,
        task_id: String,
        session_id: Option<String>,
        stream: String,
        from: f64,
        max_bytes: f64,
        whole_lines: bool,
    ) -> Result<String> {
        let stream = if stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
        let request = PageRequest { stream, from: from as i64, max_bytes: max_bytes as u64, whole_lines, complete: false };
        thrown(self.registry.output(&named(task_id, session_id), request)).map(|chunk| to_json(&chunk))
    }

    /// Subscribes to a session's completions, to all attached sessions' without one.
    #[napi(catch_unwind)]
    pub fn subscribe(&self, session_id: Option<String>) -> Result<u32> {
        thrown(self.registry.subscribe(session(session_id)))
    }

    /// Ends a subscription.
    #[napi(catch_unwind)]
    pub fn unsubscribe(&self, subscription: u32) -> Result<()> {
        thrown(self.registry.unsubscribe(subscription))
    }

    /// Whether a completion that was handed out under `lease` may still be told; then it counts as told. `settles`: `takeDelivery`
    /// or `refuse` will say when the callback is done.
    #[napi(catch_unwind)]
    pub fn begin(&self, task_id: String, lease: u32, settles: bool) -> bool {
        task_id.parse().is_ok_and(|task| self.registry.begin(&task, lease, settles))
    }

    /// Gives back a completion that was handed out under `lease` and never told.
    #[napi(catch_unwind)]
    pub fn give_back(&self, task_id: String, lease: u32) -> Result<()> {
        let Ok(task) = task_id.parse::<TaskId>() else { return Ok(()) };
        thrown(self.registry.give_back(&task, lease))
    }

    /// A callback is done with a completion that was handed out under `lease`: it is delivered for good.
    #[napi(catch_unwind)]
    pub fn take_delivery(&self, task_id: String, lease: u32) -> Result<()> {
        let Ok(task) = task_id.parse::<TaskId>() else { return Ok(()) };
        thrown(self.registry.take_delivery(&task, lease))
    }

    /// A callback has failed on a completion. What becomes of it: `givenBack`, `givenUp` or `notHeld`.
    #[napi(catch_unwind)]
    pub fn refuse(&self, task_id: String, lease: u32) -> Result<&'static str> {
        let Ok(task) = task_id.parse::<TaskId>() else { return Ok("notHeld") };
        Ok(match thrown(self.registry.refuse(&task, lease))? {
            Refusal::GivenBack => "givenBack",
            Refusal::GivenUp => "givenUp",
            Refusal::NotHeld => "notHeld",
        })
    }

    /// Takes and delivers what is pending.
    #[napi(catch_unwind)]
    pub fn drain(&self, session_id: Option<String>) -> Result<Vec<String>> {
        thrown(self.registry.drain(session(session_id))).map(|completions| to_pages(&completions))
    }

    /// The sessions on disk. Attaches none of them.
    #[napi(catch_unwind)]
    pub fn sessions(&self) -> Result<String> {
        thrown(self.registry.sessions()).map(|sessions| to_json(&sessions))
    }

    /// What is pending. It changes no task.
    #[napi(catch_unwind)]
    pub fn pending(&self, session_id: Option<String>) -> Result<Vec<String>> {
        thrown(self.registry.pending(session(session_id))).map(|completions| to_pages(&completions))
    }

    /// Delivers completions for good; returns how many were not delivered before.
    #[napi(catch_unwind)]
    pub fn ack(&self, task_ids: Vec<String>) -> Result<u32> {
        thrown(self.registry.ack(&tasks(&task_ids))).map(|count| count as u32)
    }

    /// Gives completions back that callbacks hold; returns how many.
    #[napi(catch_unwind)]
    pub fn release(&self, task_ids: Vec<String>) -> Result<u32> {
        thrown(self.registry.release(&tasks(&task_ids))).map(|count| count as u32)
    }

    /// Attaches a session; settles with what was found.
    #[napi(catch_unwind)]
    pub fn replay(&self, request: f64, session_id: String) -> Result<()> {
        thrown(self.registry.replay(Request(request as u64), SessionId::new(&session_id)))
    }

    /// Removes finished tasks; settles with how many.
    #[napi(catch_unwind)]
    pub fn cleanup(&self, request: f64, older_than_ms: f64, undelivered_older_than_ms: f64) -> Result<()> {
        thrown(self.registry.cleanup(Request(request as u64), older_than_ms as u64, undelivered_older_than_ms as u64))
    }

    /// Ends every running task and takes no new ones; settles with their snapshots.
    #[napi(catch_unwind)]
    pub fn shutdown(&self, request: f64, grace_ms: Option<f64>) -> Result<()> {
        thrown(self.registry.shutdown(Request(request as u64), grace_ms.map(|grace| grace as u64)))
    }

    /// Closes the registry; tasks go on. True while callbacks are still at work, whose sessions other hosts are kept from.
    #[napi(catch_unwind)]
    pub fn detach(&self) -> bool {
        let are_at_work = self.registry.detach();
        self.wake.release();
        are_at_work
    }

    /// Leaves those sessions to other hosts.
    #[napi(catch_unwind)]
    pub fn let_go(&self) {
        self.registry.let_go();
    }

    /// The messages that have come since the last call, as a JSON array.
    #[napi(catch_unwind)]
    pub fn take(&self) -> String {
        self.registry.take()
    }

    /// Lets the registry keep the event loop alive.
    #[napi(js_name = "ref", catch_unwind)]
    pub fn keep_alive(&self, env: Env) -> Result<()> {
        self.wake.keep_alive(&env)
    }

    /// Lets the event loop end although the registry is open.
    #[napi(js_name = "unref", catch_unwind)]
    pub fn let_exit(&self, env: Env) -> Result<()> {
        self.wake.let_exit(&env)
    }
}

/// How many bytes of output a snapshot shows.
fn budget(preview_bytes: Option<f64>) -> u64 {
    preview_bytes.map_or(DEFAULT_PREVIEW_BYTES, |bytes| bytes as u64)
}

fn named(task: String, session_id: Option<String>) -> TaskRef {
    TaskRef { task, session: session(session_id) }
}

fn session(id: Option<String>) -> Option<SessionId> {
    id.as_deref().map(SessionId::new)
}

/// Ids that name no task are as unknown as any other.
fn tasks(ids: &[String]) -> Vec<TaskId> {
    ids.iter().filter_map(|id| id.parse().ok()).collect()
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and checked JSON always serialise")
}

/// JSON arrays that together hold the values: V8 has no string of 512 MiB, and what was drained has no second chance to arrive.
fn to_pages(values: &[impl Serialize]) -> Vec<String> {
    let (mut pages, mut page) = (Vec::new(), String::from("["));
    for value in values {
        if page.len() > PAGE_BYTES {
            pages.push(mem::replace(&mut page, "[".to_owned()));
        }
        if page.len() > 1 {
            page.push(',');
        }
        page.push_str(&to_json(value));
    }
    pages.push(page);
    pages.iter_mut().for_each(|page| page.push(']'));
    pages
}

fn thrown<T>(outcome: error::Result<T>) -> Result<T> {
    outcome.map_err(|error| Error::from_reason(error.to_json()))
}
