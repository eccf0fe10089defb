//! A task's files go.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use outlive_protocol::names;

use super::look::has_trace;
use super::records::{Record, TaskRecord, read};
use super::{Store, TaskDir, is_inhabited, session};
use crate::platform::errno::unless_gone;
use crate::platform::{failpoint, files, removal};
use crate::task::{SessionId, TaskId};

/// How old a directory without a task must be before it is taken for the remains of a host that died.
const DEBRIS_AGE: Duration = Duration::from_secs(3600);
/// How old another release's executable must be. When it was last used is not known, and to write it anew costs a millisecond.
const COPY_AGE: Duration = Duration::from_secs(30 * 86_400);

/// How long what is in a session that nobody has attached must have been left alone: another program's tasks are its own to remove for so long,
/// and news waits so long for who is away.
pub const FORGOTTEN: Duration = Duration::from_secs(30 * 86_400);

/// Removes a task's directory. `task.json` goes first: whatever stops the rest, half a task is none.
pub fn remove(dir: &TaskDir) -> io::Result<()> {
    failpoint::pass("host.before_remove")?;
    // What a link in its place leads to is not ours. What is gone another host was quicker with.
    let Some(open) = unless_gone(files::open_directory_to_read(dir.path()))? else { return Ok(()) };
    files::check_owner(&open.metadata()?)?;
    withdraw(&open)?;
    failpoint::pass("host.after_task_json_removed")?;
    match unless_gone(removal::remove_tree(dir.path(), &open)) {
        // What somebody has open is kept there under another name, on network file systems and on most in user space. The task is gone
        // all the same, and the rest goes as debris does.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
        removed => drop(removed?),
    }
    failpoint::pass("host.after_remove")
}

/// From then on the open directory is no task's.
pub(super) fn withdraw(open: &File) -> io::Result<()> {
    unless_gone(fs::remove_file(files::by_number(open).join(names::TASK.as_str()))).map(drop)
}

/// Removes what a host left that died between making a directory and publishing its task.
pub fn remove_debris(store: &Store, session: &SessionId, id: &TaskId) {
    let dir = store.task_dir(session, id);
    if is_older(dir.path(), DEBRIS_AGE) && !is_task(&dir) && !is_inhabited(&dir).unwrap_or(true) {
        // It stays for the next time if it cannot go now, and is in nobody's way.
        drop(remove(&dir));
    }
}

/// Removes the directory of a session, or what is left of one, that holds nothing and that nothing has happened in for long. One that is
/// another user's stays, and one that a host listens to.
pub fn remove_session_if_forgotten(dir: &Path) {
    if is_older(dir, FORGOTTEN) && files::check_directory(dir).is_ok() {
        // It stays for the next time if it cannot go now, and is in nobody's way.
        drop(session::remove_empty(dir));
    }
}

/// Removes what hosts left in a session that died between writing a file aside and renaming it into place.
pub fn remove_session_drafts(store: &Store, session: &SessionId) {
    remove_old(session::drafts(store, session), DEBRIS_AGE);
}

/// The same, in the storage directory itself, where all sessions lie; and what other releases have left there to be executed.
pub fn remove_old_executables(store: &Store) {
    remove_old(store.executable.drafts(), DEBRIS_AGE);
    remove_old(store.executable.of_others(), COPY_AGE);
}

fn remove_old(files: Vec<PathBuf>, age: Duration) {
    for file in files.iter().filter(|file| is_older(file, age)) {
        // It stays for the next time if it cannot go now.
        drop(fs::remove_file(file));
    }
}

/// `task.json` is the last that a host writes before it starts the supervisor, so a torn one without a trace of the command
/// was never a task.
fn is_task(dir: &TaskDir) -> bool {
    match read::<TaskRecord>(&dir.task()) {
        Record::Absent => false,
        Record::Torn => has_trace(dir),
        Record::Unreadable(_) | Record::Complete(_) => true,
    }
}

/// Whether nothing was written to a file, or made or removed in a directory, for so long.
pub fn is_older(path: &Path, than: Duration) -> bool {
    let age = |moment: SystemTime| SystemTime::now().duration_since(moment).unwrap_or_default();
    fs::symlink_metadata(path).and_then(|about| about.modified()).is_ok_and(|at| age(at) > than)
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    /// A store with one session and, in it, the directory of a task that nobody has finished making.
    fn unfinished() -> (Scratch, Store, SessionId, TaskId) {
        let scratch = Scratch::new();
        let store = scratch.store();
        let (session, id) = (SessionId::new("s"), TaskId::new(1));
        session::make(&store, &session).unwrap();
        files::create_directory(store.task_dir(&session, &id).path()).unwrap();
        (scratch, store, session, id)
    }

    fn make_old(path: &Path) {
        date_back(path, 2 * DEBRIS_AGE);
    }

    fn date_back(path: &Path, age: Duration) {
        File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn a_torn_task_that_never_ran_goes_when_it_is_old() {
        let (_scratch, store, session, id) = unfinished();
        let dir = store.task_dir(&session, &id);
        fs::write(dir.task(), "{\"version\":1,").unwrap();
        remove_debris(&store, &session, &id);
        assert!(dir.path().exists(), "it is young: a host may be about to go on");
        make_old(dir.path());
        remove_debris(&store, &session, &id);
        assert!(!dir.path().exists());
    }

    #[test]
    fn a_torn_task_that_ran_and_a_newer_one_stay() {
        let (_scratch, store, session, id) = unfinished();
        let dir = store.task_dir(&session, &id);
        fs::write(dir.task(), "{\"version\":1,").unwrap();
        fs::write(dir.file(names::STARTED), "").unwrap();
        make_old(dir.path());
        remove_debris(&store, &session, &id);
        assert!(dir.path().exists());
        fs::remove_file(dir.file(names::STARTED)).unwrap();
        fs::write(dir.task(), "{\"version\":99}\n").unwrap();
        make_old(dir.path());
        remove_debris(&store, &session, &id);
        assert!(dir.path().exists());
    }

    #[test]
    fn drafts_go_when_they_are_old() {
        let (scratch, store, session, _) = unfinished();
        let drafts = [
            store.session_dir(&session).join("session.1.1"),
            scratch.path().join(concat!("supervisor-", env!("OUTLIVE_SUPERVISOR_HASH"), ".1.1")),
            scratch.path().join("supervisor-0123456789abcdef.1.1"),
        ];
        let remove_drafts = || {
            remove_session_drafts(&store, &session);
            remove_old_executables(&store);
        };
        for draft in &drafts {
            fs::write(draft, "").unwrap();
            remove_drafts();
            assert!(draft.exists(), "it is young: its host may be about to rename it");
            make_old(draft);
            remove_drafts();
            assert!(!draft.exists());
        }
        assert!(store.session_dir(&session).join(names::SESSION.as_str()).exists());
    }

    #[test]
    fn the_rest_of_a_session_that_a_host_was_removing_goes_when_it_is_old() {
        // R6
        for left in [&[][..], &["owner"], &["session"], &["owner", "session"]] {
            let (_scratch, store, session, id) = unfinished();
            let dir = store.session_dir(&session);
            fs::remove_dir(store.task_dir(&session, &id).path()).unwrap();
            for name in ["owner", "session"].iter().filter(|name| !left.contains(name)) {
                fs::remove_file(dir.join(name)).unwrap();
            }
            date_back(&dir, FORGOTTEN - DEBRIS_AGE);
            remove_session_if_forgotten(&dir);
            assert!(dir.exists(), "it is young: {left:?}");
            date_back(&dir, FORGOTTEN + DEBRIS_AGE);
            remove_session_if_forgotten(&dir);
            assert!(!dir.exists(), "{left:?}");
        }
    }

    #[test]
    fn the_executable_of_another_release_goes_when_it_is_very_old() {
        let (scratch, store, ..) = unfinished();
        let [ours, theirs, foreign] = [
            concat!("supervisor-", env!("OUTLIVE_SUPERVISOR_HASH")),
            "supervisor-0123456789abcdef",
            "supervisor-of-something-else",
        ]
        .map(|name| scratch.path().join(name));
        for path in [&ours, &theirs, &foreign] {
            fs::write(path, "").unwrap();
            make_old(path);
        }
        remove_old_executables(&store);
        assert!(theirs.exists(), "that release may be in use");
        [&ours, &theirs, &foreign].iter().for_each(|path| date_back(path, COPY_AGE + DEBRIS_AGE));
        remove_old_executables(&store);
        assert_eq!([ours.exists(), theirs.exists(), foreign.exists()], [true, false, true]);
    }
}
