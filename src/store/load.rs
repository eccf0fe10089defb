//! A task comes back from disk: its records are played as events, through the same function as the news of a live one.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use outlive_protocol::names;

use super::lost::ending_without_record;
use super::records::{Record, TaskRecord, read};
use super::unread::Unread;
use super::{Store, TaskDir, is_answered_for, is_delivered, is_inhabited, look};
use crate::platform::marked::Named;
use crate::platform::{clock, files};
use crate::task::{Asked, Effect, Event, Run, SessionId, Task, TaskId};

/// What a task's directory holds. `W`: its events, as they are watched.
pub enum Loaded<W> {
    /// A task.
    Task {
        /// What was asked.
        asked: Arc<Asked>,
        /// Where it stands.
        task: Task,
        /// Whether it was started in this boot.
        this_boot: bool,
        /// None when nothing more can come.
        events: Option<W>,
        /// What must follow.
        effects: Vec<Effect>,
    },
    /// Nothing yet: a host is making it, or died while it did.
    Nothing,
    /// It could not be started, and its host is about to say so, if it is not killed before.
    AnsweredFor,
    /// It runs, and whoever looks has a copy of the store, or may not write to it: nobody here hears of its end.
    OutOfReach,
    /// Something that this release leaves alone, and why.
    Unreadable(Unread),
}

/// Whose supervisors live, wherever their tasks lie. To be asked for anew each time that a session is read.
pub fn supervised() -> Named {
    Named::new(names::SUPERVISOR_COMM, names::TASK_ID_VARIABLE)
}

/// Reads a task. `watch` is given its events before anything is concluded from the disk, so that no news is missed; `supervised`
/// knows whose supervisors live.
pub fn load<W>(
    store: &Store,
    session: &SessionId,
    id: &TaskId,
    watch: &mut dyn FnMut(File) -> io::Result<W>,
    supervised: &mut Named,
) -> Loaded<W> {
    let dir = store.task_dir(session, id);
    match files::check_directory(dir.path()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Loaded::Nothing,
        // No mount that comes back makes one of it.
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Loaded::Unreadable(Unread::Spoilt(error)),
        Err(error) => return Loaded::Unreadable(error.into()),
        Ok(()) => {}
    }
    let record = match read::<TaskRecord>(&dir.task()) {
        Record::Complete(record) => record,
        Record::Absent => return Loaded::Nothing,
        Record::Torn => {
            return match is_inhabited(&dir) {
                Ok(true) => Loaded::Nothing,
                Ok(false) => Loaded::Unreadable(Unread::spoilt("its record is torn")),
                Err(error) => Loaded::Unreadable(error.into()),
            };
        }
        Record::Unreadable(why) => return Loaded::Unreadable(why),
    };
    if let Some(why) = misplaced(store, session, id, &record) {
        return Loaded::Unreadable(Unread::spoilt(why));
    }
    // LXC and systemd-nspawn give each container a boot id of its own, and no supervisor outlives its boot.
    let this_boot = if record.is_of_this_boot(&store.here) { Ok(true) } else { is_inhabited(&dir) };
    let this_boot = match this_boot {
        Ok(this_boot) => this_boot,
        Err(error) => return Loaded::Unreadable(error.into()),
    };
    let asked = Arc::new(record.into_asked(session.clone(), id.clone()));
    let loaded = replay(&dir, asked, this_boot, watch, supervised);
    if files::is_missing(&dir.task()) {
        // It is being removed. `task.json` goes first, so what was read may be a rest, and that looks like a task that was lost.
        return Loaded::Nothing;
    }
    loaded.unwrap_or_else(Loaded::Unreadable)
}

fn misplaced(store: &Store, session: &SessionId, id: &TaskId, record: &TaskRecord) -> Option<&'static str> {
    if !record.is_of(session, id) {
        Some("its record is another task's")
    } else if !record.is_of_this_machine(&store.here) {
        Some("another machine started it")
    } else {
        None
    }
}

fn replay<W>(
    dir: &TaskDir,
    asked: Arc<Asked>,
    this_boot: bool,
    watch: &mut dyn FnMut(File) -> io::Result<W>,
    supervised: &mut Named,
) -> Result<Loaded<W>, Unread> {
    let mut effects = Vec::new();
    let mut events = None;
    let mut task = Task::new(asked.notify);
    let mut seen = look(dir, this_boot)?;
    if !seen.empty && this_boot {
        events = Some(watch(dir.open_events()?)?);
    }
    let lives = !seen.empty && this_boot && is_inhabited(dir)?;
    if !seen.empty {
        // What was written before the supervisor went, or before we watched.
        seen = look(dir, this_boot)?;
    }
    if !seen.empty && this_boot && !lives && supervised.has(&asked.id.mark())? {
        return Ok(Loaded::OutOfReach);
    }
    let is_over = seen.ended.is_some();
    if !lives && !is_over && seen.started.is_none() && is_answered_for(dir)? {
        return Ok(Loaded::AnsweredFor);
    }
    effects.extend(seen.started.into_iter().flat_map(|run| task.on(Event::Started(run))));
    effects.extend(seen.ended.into_iter().flat_map(|ending| task.on(Event::Ended(ending))));
    if seen.empty {
        effects.extend(task.on(Event::TreeEmpty));
    } else if !lives {
        effects.extend(lose(dir, &asked, seen.started, this_boot, &mut task));
    }
    if is_delivered(dir) && (is_over || !lives) {
        task.on(Event::Accepted);
    }
    if task.is_gone() || !lives {
        events = None;
    }
    Ok(Loaded::Task { asked, task, this_boot, events, effects })
}

/// The task's supervisor has vanished, and nobody has seen it.
fn lose(dir: &TaskDir, asked: &Asked, started: Option<Run>, this_boot: bool, task: &mut Task) -> Vec<Effect> {
    let mut ending = ending_without_record(dir, asked, started, this_boot, None);
    if this_boot {
        // Of several, the one that was heard of last is the last.
        ending.order.at = clock::monotonic_ns_at(ending.finished_at);
        return task.on(Event::SupervisorGone(ending));
    }
    let mut effects = task.on(Event::SupervisorGone(ending));
    // Nothing of an earlier boot lives.
    effects.retain(|effect| *effect != Effect::Sweep);
    effects.extend(task.on(Event::TreeEmpty));
    effects
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::scratch::Scratch;
    use super::*;
    use crate::platform::fifo;

    #[test]
    fn a_task_that_is_removed_while_it_is_read_is_not_taken_for_a_lost_one() {
        // D16
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1/failed");
        let scratch = Scratch::new();
        let mut store = scratch.store();
        store.here.alone = true;
        let record = fs::read_to_string(from.join("task.json")).unwrap();
        let boot_id = serde_json::from_str::<serde_json::Value>(&record).unwrap()["bootId"].as_str().unwrap().to_owned();
        store.here.boot_id = boot_id;
        let (session, id) = named(&record);
        let dir = store.task_dir(&session, &id);
        fs::create_dir_all(dir.path()).unwrap();
        for file in ["task.json", "started.json"] {
            fs::copy(from.join(file), dir.path().join(file)).unwrap();
        }
        fifo::create(&dir.file(names::EVENTS)).unwrap();
        // `ended.json` went between two reads, and `task.json` before it.
        let mut remove = |_| fs::remove_file(dir.task());
        assert!(matches!(load(&store, &session, &id, &mut remove, &mut supervised()), Loaded::Nothing));
    }

    #[test]
    fn a_file_in_the_place_of_a_task_is_not_waited_for() {
        let scratch = Scratch::new();
        let store = scratch.store();
        let (session, id) = (SessionId::new("s"), TaskId::new(1));
        fs::create_dir_all(store.session_dir(&session)).unwrap();
        fs::write(store.task_dir(&session, &id).path(), "").unwrap();
        let loaded = load(&store, &session, &id, &mut |_| Ok(()), &mut supervised());
        assert!(matches!(loaded, Loaded::Unreadable(Unread::Spoilt(_))));
    }

    fn named(record: &str) -> (SessionId, TaskId) {
        let record: serde_json::Value = serde_json::from_str(record).unwrap();
        let name = |key: &str| record[key].as_str().unwrap();
        (SessionId::new(name("sessionId")), name("taskId").parse().unwrap())
    }

    #[test]
    fn a_task_of_a_machine_with_another_name_is_ours_unless_that_machine_can_have_the_store() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1/failed");
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let record = fs::read_to_string(from.join("task.json")).unwrap();
        let name = |key: &str| serde_json::from_str::<serde_json::Value>(&record).unwrap()[key].as_str().unwrap().to_owned();
        let (session, id) = (SessionId::new(name("sessionId").as_str()), name("taskId").parse().unwrap());
        let dir = store.task_dir(&session, &id);
        fs::create_dir_all(dir.path()).unwrap();
        for file in ["task.json", "started.json", "ended.json", "command"] {
            fs::copy(from.join(file), dir.path().join(file)).unwrap();
        }
        let mut load_where = |alone, machine: String| {
            (store.here.alone, store.here.machine) = (alone, machine);
            load(&store, &session, &id, &mut |_| Ok(()), &mut supervised())
        };
        let ended = |loaded| matches!(loaded, Loaded::Task { task, .. } if task.is_gone());
        assert!(ended(load_where(true, "new".to_owned())));
        assert!(ended(load_where(false, name("machine"))));
        assert!(matches!(load_where(false, "new".to_owned()), Loaded::Unreadable(_)));
    }
}
