//! Messages to JavaScript: answers to requests, and completions. One wake-up announces any number of them.

use std::sync::Mutex;

use serde::Serialize;

use super::{Completion, Request};
use crate::error::{Error, ErrorValue, Result};
use crate::platform::threads;
use crate::task::Lease;

/// Tells JavaScript's thread that there is something to take.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// About 0.5 ms of `JSON.parse`.
const BATCH_BYTES: usize = 128 << 10;

/// The message that says that the next batch has to be asked for.
const MORE: &str = r#"{"type":"more"}"#;

pub(super) struct Outbox {
    /// Guards the messages as JSON. Held to push or to take.
    messages: Mutex<Vec<String>>,
    wake: Wake,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Message<'a, T: Serialize> {
    Settled { request: Request, value: &'a T },
    Failed { request: Request, error: ErrorValue },
    Completion { subscription: u32, lease: u32, completion: &'a Completion },
}

impl Outbox {
    pub(super) fn new(wake: Wake) -> Outbox {
        Outbox { messages: Mutex::new(Vec::new()), wake }
    }

    /// Answers a request.
    pub(super) fn answer<T: Serialize>(&self, request: Request, outcome: Result<T>) {
        match outcome {
            Ok(value) => self.push(&Message::Settled { request, value: &value }),
            Err(error) => self.fail(request, &error),
        }
    }

    pub(super) fn fail(&self, request: Request, error: &Error) {
        self.push(&Message::Failed::<()> { request, error: error.to_value() });
    }

    pub(super) fn complete(&self, lease: Lease, completion: &Completion) {
        let Lease { number, subscription, .. } = lease;
        self.push(&Message::Completion::<()> { subscription, lease: number, completion });
    }

    /// The oldest messages as a JSON array, as many as JavaScript can read without standing still. The last one says so when there are
    /// more: nobody is woken for what is left.
    pub(super) fn take(&self) -> String {
        let mut messages = self.lock();
        let mut size = 0;
        let fits = |message: &&String| {
            size += message.len();
            size < BATCH_BYTES
        };
        // One that is too large for any batch goes alone.
        let count = messages.iter().take_while(fits).count().max(1).min(messages.len());
        let mut batch: Vec<String> = messages.drain(..count).collect();
        if !messages.is_empty() {
            batch.push(MORE.to_owned());
        }
        drop(messages);
        format!("[{}]", batch.join(","))
    }

    fn push<T: Serialize>(&self, message: &Message<'_, T>) {
        let message = serde_json::to_string(message).expect("strings, numbers and checked JSON always serialise");
        let was_empty = {
            let mut messages = self.lock();
            messages.push(message);
            messages.len() == 1
        };
        // Behind another message the wake-up is already on its way.
        if was_empty {
            (self.wake)();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        threads::lock(&self.messages)
    }
}
