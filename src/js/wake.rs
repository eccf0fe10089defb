//! The one call from our thread into JavaScript: "something has changed, come and take it".

use std::sync::{Arc, Mutex};

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Result, Status};

use crate::platform::threads;
use crate::registry::Wake;

/// Weak: alone it does not keep Node, Bun or Jest alive.
type Weak = ThreadsafeFunction<(), (), (), Status, false, true>;

pub(super) struct WakeFunction(
    /// Held for the length of one call into Node-API, which queues and returns. None once it was released.
    Arc<Mutex<Option<Weak>>>,
);

impl WakeFunction {
    pub(super) fn new(wake: &Function<'_, (), ()>) -> Result<WakeFunction> {
        let weak = wake.build_threadsafe_function::<()>().weak::<true>().build()?;
        Ok(WakeFunction(Arc::new(Mutex::new(Some(weak)))))
    }

    pub(super) fn caller(&self) -> Wake {
        let function = Arc::clone(&self.0);
        Box::new(move || {
            if let Some(function) = threads::lock(&function).as_ref() {
                // A refusal says that the environment is being torn down: then nobody is there to be told.
                function.call((), ThreadsafeFunctionCallMode::NonBlocking);
            }
        })
    }

    /// Lets go of the JavaScript function. It holds all that is reachable from its realm, a registry that owns this
    /// included, and no garbage collector sees that circle.
    pub(super) fn release(&self) {
        drop(threads::lock(&self.0).take());
    }

    #[expect(deprecated, reason = "napi-rs has no other name for napi_ref_threadsafe_function")]
    pub(super) fn keep_alive(&self, env: &Env) -> Result<()> {
        threads::lock(&self.0).as_mut().map_or(Ok(()), |function| function.refer(env))
    }

    #[expect(deprecated, reason = "napi-rs has no other name for napi_unref_threadsafe_function")]
    pub(super) fn let_exit(&self, env: &Env) -> Result<()> {
        threads::lock(&self.0).as_mut().map_or(Ok(()), |function| function.unref(env))
    }
}
