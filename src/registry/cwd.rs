//! The directory that a command is started in, opened where nobody waits for it: a file system that does not answer, such as a dead
//! NFS mount, holds up whoever asks it, and that may be for good. So each is opened on a thread of its own, but for those that were
//! found to lie on this machine's own disks.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::keeper::{Job, Keeper, Request};
use super::spawn::Asking;
use crate::error::{Error, Result};
use crate::platform::{failpoint, files, threads};
use crate::store;

/// More than a host works in at a time.
const MANY: usize = 64;

/// What is known of directories.
#[derive(Default)]
pub(super) struct Directories {
    /// Those that lie on this machine's own disks.
    near: HashSet<PathBuf>,
    /// Those that a thread is at, and the spawns that wait for them.
    opening: HashMap<PathBuf, Vec<Asking>>,
}

/// A directory, and whether it lies on this machine's own disks.
pub(super) struct Opened {
    file: File,
    is_near: bool,
}

impl Keeper {
    /// Opens the directory of a task that is to be started, and goes on with [`Keeper::spawn_in`].
    pub(super) fn open_cwd(&mut self, asking: Asking) {
        let path = asking.options.cwd.clone();
        let Directories { near, opening } = &mut self.directories;
        if near.contains(&path) {
            let opened = open(&path);
            if opened.as_ref().is_ok_and(|opened| !opened.is_near) {
                // Something was mounted there since.
                near.remove(&path);
            }
            return self.spawn_in(asking, opened.map(|opened| opened.file));
        }
        if let Some(waiting) = opening.get_mut(&path) {
            return waiting.push(asking);
        }
        opening.insert(path.clone(), vec![asking]);
        let (mailbox, far) = (self.ear.mailbox(), path.clone());
        let answer = move || {
            let opened = failpoint::pass("host.before_cwd").map_err(Error::storage("open", &far)).and_then(|()| open(&far));
            Job::Opened { path: far, opened }.post(&mailbox);
        };
        if threads::start("outlive-cwd", Box::new(answer)).is_err() {
            // Out of threads: then it has to be here.
            let opened = open(&path);
            self.on_opened(path, opened);
        }
    }

    /// Each spawn that has waited has a turn of its own, behind what somebody may stand still for.
    pub(super) fn on_opened(&mut self, path: PathBuf, opened: Result<Opened>) {
        let Directories { near, opening } = &mut self.directories;
        let waiting = opening.remove(&path).unwrap_or_default();
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // Their places are free before anybody hears of it: who then tries again finds them so.
                let requests: Vec<Request> = waiting.into_iter().map(|asking| asking.request).collect();
                return requests.into_iter().for_each(|request| self.shared.outbox.fail(request, &error));
            }
        };
        if opened.is_near {
            if near.len() >= MANY {
                near.clear();
            }
            near.insert(path.clone());
        }
        let mailbox = self.ear.mailbox();
        for asking in waiting {
            let cwd = opened.file.try_clone().map_err(Error::storage("open", &path));
            Job::SpawnIn { asking: Box::new(asking), cwd }.post(&mailbox);
        }
    }
}

fn open(path: &Path) -> Result<Opened> {
    let file = store::open_cwd(path)?;
    Ok(Opened { file, is_near: files::is_local(path).unwrap_or(false) })
}
