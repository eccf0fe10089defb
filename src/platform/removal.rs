//! Removing a directory whatever is in it. Each directory below is emptied in its turn, and those in it are moved to the top first. So
//! neither the stack nor the descriptors limit how deep it may be. All is reached through open directories: a link that somebody puts
//! in the place of one leads nowhere.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::errno::unless_gone;
use super::files;

/// How many steps are taken at once: others wait for the thread that removes, and on a busy disk so many take a second or two.
const MOST: usize = 8192;

/// Removes a directory, which is open, and what it holds. Another host may be removing the same. An error when something cannot go
/// or when it is too much for once, and then the rest stays. What is in use stays alone: `DirectoryNotEmpty`.
pub fn remove_tree(path: &Path, open: &File) -> io::Result<()> {
    let mut left = MOST;
    let top = files::by_number(open);
    let mut directories = empty(&top, &mut left)?;
    while let Some(directory) = directories.pop() {
        if let Some(open) = unless_gone(files::open_directory_to_read(&directory))? {
            for below in empty(&files::by_number(&open), &mut left)? {
                directories.extend(go_or_rise(below, &top, &mut left)?);
            }
        }
        step(&mut left, || fs::remove_dir(&directory))?;
    }
    step(&mut left, || fs::remove_dir(path)).map(drop)
}

/// Removes a directory that is empty, which takes no right to write into it as a move does, and moves another one to the top.
fn go_or_rise(below: PathBuf, top: &Path, left: &mut usize) -> io::Result<Option<PathBuf>> {
    match step(left, || fs::remove_dir(&below)) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
        gone => return gone.map(|_| None),
    }
    let at_the_top = files::draft_beside(&top.join("removed"));
    Ok(step(left, || fs::rename(below, &at_the_top))?.map(|()| at_the_top))
}

/// Removes the files of a directory. The answer is the directories in it, of very many the first: there is a step to come for each.
fn empty(directory: &Path, left: &mut usize) -> io::Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(directory)?.take(MOST) {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        } else {
            match step(left, || fs::remove_file(entry.path())) {
                // Open in some process, on a network file system that keeps it under another name until then.
                Err(error) if error.kind() == ErrorKind::ResourceBusy => {}
                removed => drop(removed?),
            }
        }
    }
    Ok(directories)
}

fn step(left: &mut usize, take: impl FnOnce() -> io::Result<()>) -> io::Result<Option<()>> {
    let too_much = || io::Error::other("there is too much in it for once; the rest goes the next time");
    *left = left.checked_sub(1).ok_or_else(too_much)?;
    unless_gone(take())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("outlive-removal-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        path
    }

    fn remove(path: &Path) -> io::Result<()> {
        remove_tree(path, &files::open_directory_to_read(path)?)
    }

    #[test]
    fn what_a_link_in_its_place_leads_to_stays() {
        // R15
        let (top, aside, outside) = (scratch("swapped"), scratch("aside"), scratch("another"));
        for dir in [&top, &outside] {
            fs::create_dir(dir.join("d")).unwrap();
            fs::write(dir.join("d/mine"), "").unwrap();
        }
        let open = files::open_directory_to_read(&top).unwrap();
        fs::rename(&top, &aside).unwrap();
        symlink(&outside, &top).unwrap();
        remove_tree(&top, &open).unwrap_err();
        assert!(outside.join("d/mine").exists());
        assert!(!aside.join("d").exists());
        fs::remove_file(&top).unwrap();
        [aside, outside].iter().for_each(|dir| remove(dir).unwrap());
    }

    #[test]
    fn a_link_leads_nowhere_and_what_it_leads_to_stays() {
        // R15
        let (top, outside) = (scratch("top"), scratch("outside"));
        fs::write(outside.join("mine"), "").unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        for place in ["link", "a/link", "a/b/link"] {
            symlink(&outside, top.join(place)).unwrap();
        }
        remove(&top).unwrap();
        assert!(!top.exists());
        assert!(outside.join("mine").exists());
        remove(&outside).unwrap();
    }

    #[test]
    fn what_is_too_much_for_once_goes_in_several_times() {
        let top = scratch("much");
        fs::create_dir(top.join("d")).unwrap();
        for i in 0..MOST {
            fs::write(top.join(format!("d/{i}")), "").unwrap();
        }
        let error = remove(&top).unwrap_err();
        assert!(error.to_string().contains("the rest goes the next time"), "{error}");
        remove(&top).unwrap();
        assert!(!top.exists());
    }
}
