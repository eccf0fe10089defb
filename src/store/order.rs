//! What a host tells a supervisor.

use std::io::{self, Write};

use outlive_protocol::{names, orders};

use super::TaskDir;
use crate::error::{Error, Result};
use crate::platform::{failpoint, fifo};

/// Hands an order to the supervisor; false when there is none any more.
pub fn send_order(dir: &TaskDir, order: orders::Order) -> Result<bool> {
    let path = dir.file(names::CONTROL);
    let line = order.write(&mut [0; orders::MAX_ORDER]).to_owned();
    let opened = failpoint::pass("host.before_order").and_then(|()| fifo::open_writer(&path));
    let sent = match opened {
        Ok(Some(mut control)) => control.write_all(&line).map(|()| true),
        Ok(None) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    drop(failpoint::pass("host.after_order"));
    match sent {
        // It ended between the open and the write.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        // It is stopped, and has not read those before either: it gets this one when it is sent again.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        other => other.map_err(Error::storage("write an order into", path)),
    }
}
