//! Threads of ours.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts one. The standard library's way is made anew for each kind of closure, and is large; a boxed one is one kind.
pub fn start(name: &str, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(run)
}
