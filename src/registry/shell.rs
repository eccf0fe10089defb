//! Which shell runs a command.

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::platform::{errno, files};

/// What every system has.
const FALLBACK: &str = "/bin/sh";

/// The absolute path of the shell that was asked for: a path, or a name on `search_path`. Without one: bash, else `/bin/sh`.
pub(super) fn resolve(asked: Option<&str>, search_path: &OsStr) -> Result<PathBuf> {
    let Some(asked) = asked else {
        return find("bash", search_path).or_else(|_| check(Path::new(FALLBACK))).map_err(not_found(FALLBACK));
    };
    if asked.starts_with('/') {
        return check(Path::new(asked)).map_err(not_found(asked));
    }
    if asked.contains('/') {
        let why = "a shell is an absolute path or a name on PATH";
        return Err(not_found(asked)(io::Error::new(ErrorKind::InvalidInput, why)));
    }
    find(asked, search_path).map_err(|source| {
        let looked_for = format!("{asked}, looked for on the command's PATH ({}),", search_path.to_string_lossy());
        not_found(&looked_for)(source)
    })
}

fn find(name: &str, search_path: &OsStr) -> io::Result<PathBuf> {
    let mut reason = errno::no_such_file();
    // A relative entry would mean another shell in each directory.
    for directory in env::split_paths(search_path).filter(|directory| directory.is_absolute()) {
        match check(&directory.join(name)) {
            Ok(path) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

fn check(path: &Path) -> io::Result<PathBuf> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a file"));
    }
    files::may_execute(path)?;
    Ok(path.to_owned())
}

fn not_found(shell: &str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::ShellNotFound { shell: shell.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_an_absolute_path_or_a_name_on_path() {
        // P18
        assert_eq!(resolve(Some("/bin/sh"), "".as_ref()).unwrap(), Path::new("/bin/sh"));
        assert_eq!(resolve(Some("sh"), "relative:/nowhere:/bin".as_ref()).unwrap(), Path::new("/bin/sh"));
        assert_eq!(resolve(None, "".as_ref()).unwrap(), Path::new(FALLBACK));
        let error = resolve(Some("zsh"), "/no/such:relative".as_ref()).unwrap_err().to_string();
        assert!(error.contains("zsh, looked for on the command's PATH (/no/such:relative),"), "{error}");
        for missing in ["/no/such/shell", "no-such-shell", "./sh", "/bin", "/etc/passwd"] {
            let error = resolve(Some(missing), "/bin".as_ref()).unwrap_err();
            assert!(matches!(error, Error::ShellNotFound { .. }) && error.to_string().contains(missing), "{error}");
        }
    }
}
