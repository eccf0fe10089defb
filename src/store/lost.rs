//! How a task ended of whose end there is no record. Nothing is made up: there is no code and no signal, and the last sign of life stands
//! for the end, so that every host says the same.

use std::fs;
use std::time::SystemTime;

use outlive_protocol::names::{self, Name};

use super::TaskDir;
use super::look::has_trace;
use super::unread::Unread;
use crate::platform::{clock, files};
use crate::task::{Asked, Cause, EndOrder, Ending, Event, Run};

/// The supervisor is gone, and `why` its record cannot be read.
pub fn gone_unread(dir: &TaskDir, asked: &Asked, this_boot: bool, ran: Option<Run>, why: &Unread) -> Event {
    Event::SupervisorGone(ending_without_record(dir, asked, ran, this_boot, Some(why)))
}

/// How a task ended whose supervisor is gone and has left no record of it, or one that is `unread`, and why.
pub(super) fn ending_without_record(
    dir: &TaskDir,
    asked: &Asked,
    started: Option<Run>,
    this_boot: bool,
    unread: Option<&Unread>,
) -> Ending {
    let started_at = started.map_or(asked.created_at, |run| run.started_at);
    let last_output = [names::STDOUT, names::STDERR, names::OUTPUT].map(|name| modified(dir, name));
    let finished_at = last_output.into_iter().flatten().fold(started_at, u64::max);
    // Dates are of the clock that people set; no task has lasted longer than it has been there.
    let longest_ms =
        if this_boot { clock::monotonic_ns().saturating_sub(asked.created_monotonic_ns) / 1_000_000 } else { u64::MAX };
    let ran = started.is_some() || has_trace(dir);
    let (cause, error) = match unread {
        Some(why) => (Cause::SupervisorLost, format!("its record cannot be read ({why}); how the command ended is unknown")),
        None => {
            let (cause, error) = why_unknown(dir, ran, this_boot);
            (cause, error.to_owned())
        }
    };
    Ending {
        cause,
        exit_code: None,
        signal: None,
        error: Some(error),
        started_at,
        finished_at,
        duration_ms: (finished_at - started_at).min(longest_ms),
        order: EndOrder { this_boot, at: if this_boot { clock::monotonic_ns() } else { finished_at } },
        is_recorded: false,
        descendants: 0,
        max_rss_bytes: None,
        cpu_ms: None,
    }
}

/// Why a task has no record of its end.
fn why_unknown(dir: &TaskDir, ran: bool, this_boot: bool) -> (Cause, &'static str) {
    match (this_boot, ran) {
        (true, false) => (Cause::SpawnError, "its host ended before the command was started; it never ran"),
        (true, true) if files::is_missing(&dir.task()) => {
            (Cause::SupervisorLost, "its files were removed; how the command ended is unknown")
        }
        (true, true) => (
            Cause::SupervisorLost,
            "its supervisor is gone and has left no record; how the command ended is unknown, and what carries its mark is killed, \
             as far as this host sees it and may signal it",
        ),
        // A power cut takes what was not yet on the disk, and `started.json` is not waited for.
        (false, false) => (Cause::Reboot, "the machine went down about when it was started; whether the command ran is unknown"),
        (false, true) => (Cause::Reboot, "the machine went down while it ran; how the command ended is unknown"),
    }
}

fn modified(dir: &TaskDir, name: Name) -> Option<u64> {
    let moment: SystemTime = fs::symlink_metadata(dir.file(name)).ok()?.modified().ok()?;
    Some(clock::to_unix_ms(moment))
}
