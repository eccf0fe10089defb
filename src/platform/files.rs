//! Files of the store: private to their owner, opened without following a link in their last part.

use std::ffi::{CStr, CString};
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{check, clock};

/// Opens a plain file for reading. Neither a link nor a FIFO with no writer can lead it astray or stop it.
pub fn open_to_read(path: &Path) -> io::Result<(File, Metadata)> {
    let file = owned(open_raw(path, libc::O_RDONLY | libc::O_NONBLOCK, 0)?);
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidData, "not a plain file"));
    }
    Ok((file, about))
}

/// The content of a plain file, or an error of kind `FileTooLarge` when there are more than `limit` bytes of it.
pub fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let (file, about) = open_to_read(path)?;
    read_open(&file, &about, limit)
}

/// The same of one that was opened. A single call where it is as long as it was: to ask for more is a tenth of what reading a small file
/// costs.
pub fn read_open(mut file: &File, about: &Metadata, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = vec![0; (about.len() as usize).min(limit) + 1];
    let length = match file.read(&mut content) {
        Err(error) if error.kind() == ErrorKind::Interrupted => 0,
        length => length?,
    };
    content.truncate(length);
    if length as u64 != about.len() {
        file.take((limit + 1 - length) as u64).read_to_end(&mut content)?;
    }
    if content.len() > limit {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(content)
}

/// Makes a file that others read whole or not at all: `write` makes it beside its place, and it is renamed.
pub fn write_aside(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let draft = draft_beside(path);
    write(&draft).and_then(|()| fs::rename(&draft, path)).inspect_err(|_| {
        // The draft may never have been made; the cause that is reported is the first one.
        drop(fs::remove_file(&draft));
    })
}

/// A name that no other draft has, also of another registry of this process.
pub(super) fn draft_beside(path: &Path) -> PathBuf {
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.{}.{}", process::id(), clock::monotonic_ns(), DRAFTS.fetch_add(1, Ordering::Relaxed)));
    draft.into()
}

/// Makes a file that was not there, 0600 whatever the umask, for writing.
pub fn create(path: &Path) -> io::Result<File> {
    create_for(path, libc::O_WRONLY)
}

/// Makes a file that was not there, for appending: two writers never overwrite each other.
pub fn create_to_append(path: &Path) -> io::Result<File> {
    create_for(path, libc::O_WRONLY | libc::O_APPEND)
}

/// The same in an open directory, wherever its path leads by now.
pub fn create_in(directory: &File, name: &CStr) -> io::Result<File> {
    created(open_in(directory.as_raw_fd(), name, libc::O_WRONLY | NEW, 0o600)?)
}

/// Flags of a file that must not be there.
const NEW: libc::c_int = libc::O_CREAT | libc::O_EXCL;

fn create_for(path: &Path, access: libc::c_int) -> io::Result<File> {
    created(open_raw(path, access | NEW, 0o600)?)
}

fn created(fd: libc::c_int) -> io::Result<File> {
    let file = owned(fd);
    set_mode(&file, &file.metadata()?)?;
    Ok(file)
}

/// Opens a plain file for writing, made when it is not there, 0600 whatever the umask. A FIFO in its place does not stop us, and a
/// file with a second name is left alone: that name may be outside of the store.
pub fn open_or_create(path: &Path) -> io::Result<(File, Metadata)> {
    let file = owned(open_raw(path, libc::O_WRONLY | libc::O_CREAT | libc::O_NONBLOCK, 0o600)?);
    let about = file.metadata()?;
    if !about.is_file() || about.nlink() > 1 {
        return Err(io::Error::new(ErrorKind::InvalidData, "not a plain file of one name"));
    }
    set_mode(&file, &about)?;
    Ok((file, about))
}

/// Makes a file 0600. To look first costs a third of a change, which is written to the inode.
fn set_mode(file: &File, about: &Metadata) -> io::Result<()> {
    if has_mode(about, 0o600) { Ok(()) } else { file.set_permissions(Permissions::from_mode(0o600)) }
}

/// The same for what was just made by its name. A link that somebody has put in its place meanwhile is left alone, and so is what that
/// leads to.
pub(super) fn set_mode_of(path: &Path, mode: u32) -> io::Result<()> {
    if has_mode(&fs::symlink_metadata(path)?, mode) {
        return Ok(());
    }
    // The umask may have taken from the owner what opening it in any other way asks for. Such a descriptor changes no mode itself.
    let made = owned(open_raw(path, libc::O_PATH, 0)?);
    fs::set_permissions(by_number(&made), Permissions::from_mode(mode))?;
    if fs::symlink_metadata(path)?.mode() & 0o077 == 0 {
        return Ok(());
    }
    // FAT and NTFS, as most mount them.
    let why = "its file system keeps no modes, and others could read what is in it";
    Err(io::Error::new(ErrorKind::PermissionDenied, why))
}

/// Whether a file can have a second name beside it. An error says why it cannot.
pub fn can_be_linked(path: &Path, beside: &Path) -> io::Result<()> {
    let second = draft_beside(beside);
    fs::hard_link(path, &second)?;
    fs::remove_file(second)
}

fn has_mode(about: &Metadata, mode: u32) -> bool {
    about.mode() & 0o7777 == mode
}

/// Makes a directory that was not there, 0700 whatever the umask.
pub fn create_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    // What others could enter shall not stay.
    set_mode_of(path, 0o700).inspect_err(|_| drop(fs::remove_dir(path)))
}

/// Opens a directory to hand it on; it need not be readable.
pub fn open_directory(path: &Path) -> io::Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `path` is a C string that lives across the call.
    let fd = check(unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) })?;
    Ok(owned(fd))
}

/// A descriptor of a directory that its entries can be changed through and watched by.
pub fn open_directory_to_read(path: &Path) -> io::Result<File> {
    Ok(owned(open_raw(path, libc::O_RDONLY | libc::O_DIRECTORY, 0)?))
}

/// `/dev/null`, for reading.
pub fn open_null() -> io::Result<File> {
    File::open("/dev/null")
}

/// Whether it is certain that nothing of that name is there.
pub fn is_missing(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

/// Whether this process may execute the file, or enter the directory.
pub fn may_execute(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `path` is a C string that lives across the call.
    let checked = check(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) });
    if checked.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EPERM)) {
        // A container's filter that does not know the newer call. The older one asks for the real user, who is mostly the same.
        // SAFETY: `path` is a C string that lives across the call.
        return check(unsafe { libc::access(path.as_ptr(), libc::X_OK) }).map(|_| ());
    }
    checked.map(|_| ())
}

/// Reserves `length` bytes of disk for a file without changing its size, so that a later write there cannot fail for
/// want of space. Where the file system, or a filter, knows no reservations, the write has its own risk.
pub fn reserve(file: &File, length: u64) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that we own.
    let result = unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, length as libc::off_t) };
    match check(result) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM)) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// What the kernel holds of the file's data is on its way to the disk afterwards; nobody has waited for it.
pub fn start_writing(file: &File) -> io::Result<()> {
    const ALL: libc::off64_t = 0;
    // SAFETY: a plain system call on a descriptor that we own.
    check(unsafe { libc::sync_file_range(file.as_raw_fd(), 0, ALL, libc::SYNC_FILE_RANGE_WRITE) }).map(|_| ())
}

/// The largest range of a file that has no bytes of its own, and reads as zeros.
pub fn largest_hole(file: &File) -> io::Result<(u64, u64)> {
    /// A file in more pieces than this was made so by whoever wrote it.
    const MAX_PIECES: usize = 1024;
    let (mut largest, mut at) = ((0, 0), 0);
    for _ in 0..MAX_PIECES {
        let Some(begin) = seek(file, at, libc::SEEK_HOLE)? else { break };
        let length = file.metadata()?.len();
        let end = seek(file, begin, libc::SEEK_DATA)?.unwrap_or(length).max(begin);
        if end - begin > largest.1 - largest.0 {
            largest = (begin, end);
        }
        if end >= length {
            break;
        }
        at = end;
    }
    Ok(largest)
}

/// Where the next hole or the next data begins, from an offset on; `None` when there is none up to the file's end.
fn seek(file: &File, from: u64, what: libc::c_int) -> io::Result<Option<u64>> {
    // SAFETY: a plain system call on a descriptor that we own.
    let found = unsafe { libc::lseek(file.as_raw_fd(), from as libc::off_t, what) };
    match u64::try_from(found) {
        Ok(offset) => Ok(Some(offset)),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            error => Err(error),
        },
    }
}

/// What in a directory has a name that starts so; nothing where there is no directory.
pub fn starting_with(directory: &Path, start: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries.filter(|entry| entry.file_name().as_bytes().starts_with(start.as_bytes())).map(|entry| entry.path()).collect()
}

/// Refuses what stands in a directory's place and is none, a link to one included, and a directory that another user owns or can
/// write to.
pub fn check_directory(path: &Path) -> io::Result<()> {
    let about = fs::symlink_metadata(path)?;
    if about.is_dir() { check_owner(&about) } else { Err(io::Error::from_raw_os_error(libc::ENOTDIR)) }
}

/// Refuses what another user owns or can write to.
pub fn check_owner(about: &Metadata) -> io::Result<()> {
    let me = super::identity::user();
    if about.uid() != me {
        let owner = about.uid();
        return Err(io::Error::new(ErrorKind::PermissionDenied, format!("it belongs to user {owner}, and this is user {me}")));
    }
    if about.mode() & 0o022 != 0 {
        let mode = about.mode() & 0o7777;
        let advice = "if all that it holds is to be trusted, take that from them: chmod -R go-w";
        return Err(io::Error::new(ErrorKind::PermissionDenied, format!("others can write to it (mode {mode:o}); {advice}")));
    }
    Ok(())
}

/// The path of an open directory, without links on the way.
pub fn path_of(directory: &File) -> io::Result<PathBuf> {
    fs::read_link(by_number(directory))
}

/// A path to what is open, whatever has become of its name.
pub fn by_number(open: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()))
}

/// Whether only this machine can mount the file system: one of those that live on disks of their own.
pub fn is_local(path: &Path) -> io::Result<bool> {
    // ext2 to ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs, overlayfs: the numbers of `man 2 statfs`.
    const LOCAL: [u32; 8] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e, 0x0102_1994, 0x794c_7630];
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` is a C string that lives across the call, and the kernel writes one `struct statfs`.
    check(unsafe { libc::statfs(path.as_ptr(), about.as_mut_ptr()) })?;
    // SAFETY: the call has succeeded, and so has filled it.
    let about = unsafe { about.assume_init() };
    Ok(LOCAL.contains(&(about.f_type as u32)))
}

pub(super) fn open_raw(path: &Path, flags: libc::c_int, mode: libc::mode_t) -> io::Result<libc::c_int> {
    open_in(libc::AT_FDCWD, &CString::new(path.as_os_str().as_bytes())?, flags, mode)
}

fn open_in(directory: libc::c_int, path: &CStr, flags: libc::c_int, mode: libc::mode_t) -> io::Result<libc::c_int> {
    loop {
        // SAFETY: `path` is a C string that lives across the call.
        match check(unsafe { libc::openat(directory, path.as_ptr(), flags | libc::O_CLOEXEC | libc::O_NOFOLLOW, mode) }) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn owned(fd: libc::c_int) -> File {
    // SAFETY: callers pass a descriptor that was just opened and that nobody else owns.
    unsafe { File::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_on_no_disk_of_its_own_is_not_local() {
        assert!(is_local(&std::env::temp_dir()).unwrap());
        assert!(!is_local(Path::new("/proc")).unwrap());
    }

    #[test]
    fn a_link_in_the_place_of_what_was_made_changes_no_mode_elsewhere() {
        let [elsewhere, link] = [(); 2].map(|()| draft_beside(&std::env::temp_dir().join("outlive-mode")));
        fs::DirBuilder::new().mode(0o755).create(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        let before = fs::metadata(&elsewhere).unwrap().mode();
        set_mode_of(&link, 0o700).expect_err("it is a link");
        assert_eq!(fs::metadata(&elsewhere).unwrap().mode(), before);
        set_mode_of(&elsewhere, 0o700).unwrap();
        assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o7777, 0o700);
        fs::remove_file(&link).unwrap();
        fs::remove_dir(&elsewhere).unwrap();
    }

    #[test]
    fn no_two_drafts_have_one_name() {
        const EACH: usize = 20_000;
        let name_them = || (0..EACH).map(|_| draft_beside(Path::new("session"))).collect::<Vec<_>>();
        let names: Vec<PathBuf> = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(name_them));
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), 4 * EACH);
    }
}
