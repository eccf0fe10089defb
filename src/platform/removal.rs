//! Removing a directory whatever is in it. Each directory below is emptied in its turn, and those in it are moved to the top first. So
//! neither the stack nor the descriptors limit how deep it may be. What is below is reached through its open directory: a link that
//! somebody puts in its place leads nowhere.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::files;

/// How many steps are taken at once: others wait for the thread that removes, and on a busy disk so many take a second or two.
const MOST: usize = 8192;

/// Removes a directory and what it holds. An error when something cannot go or when it is too much for once, and then the rest stays.
pub fn remove_tree(top: &Path) -> io::Result<()> {
    let mut left = MOST;
    let mut directories = empty(top, &mut left)?;
    while let Some(directory) = directories.pop() {
        if let Some(open) = unless_gone(files::open_directory_to_read(&directory))? {
            for below in empty(&files::by_number(&open), &mut left)? {
                let at_the_top = files::draft_beside(&top.join("removed"));
                if step(&mut left, || fs::rename(below, &at_the_top))?.is_some() {
                    directories.push(at_the_top);
                }
            }
        }
        step(&mut left, || fs::remove_dir(&directory))?;
    }
    step(&mut left, || fs::remove_dir(top)).map(drop)
}

/// Removes the files of a directory. The answer is the directories in it, of very many the first: there is a step to come for each.
fn empty(directory: &Path, left: &mut usize) -> io::Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(directory)?.take(MOST) {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        } else {
            step(left, || fs::remove_file(entry.path()))?;
        }
    }
    Ok(directories)
}

fn step(left: &mut usize, take: impl FnOnce() -> io::Result<()>) -> io::Result<Option<()>> {
    let too_much = || io::Error::other("there is too much in it for once; the rest goes the next time");
    *left = left.checked_sub(1).ok_or_else(too_much)?;
    unless_gone(take())
}

/// Another host may be removing the same.
fn unless_gone<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
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

    #[test]
    fn a_link_leads_nowhere_and_what_it_leads_to_stays() {
        // R15
        let (top, outside) = (scratch("top"), scratch("outside"));
        fs::write(outside.join("mine"), "").unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        for place in ["link", "a/link", "a/b/link"] {
            symlink(&outside, top.join(place)).unwrap();
        }
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        assert!(outside.join("mine").exists());
        remove_tree(&outside).unwrap();
    }

    #[test]
    fn what_is_too_much_for_once_goes_in_several_times() {
        let top = scratch("much");
        fs::create_dir(top.join("d")).unwrap();
        for i in 0..MOST {
            fs::write(top.join(format!("d/{i}")), "").unwrap();
        }
        let error = remove_tree(&top).unwrap_err();
        assert!(error.to_string().contains("the rest goes the next time"), "{error}");
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }
}
