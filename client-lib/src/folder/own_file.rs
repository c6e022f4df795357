//! Files next to a certificate folder that only their owner may have touched: the lock and pending keys.
//! Others may be able to write to the directory, so a symbolic link is not followed, and a file of another
//! owner or one that others can open is not used.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::{FolderError, io_error};

/// How often a lock that is held is tried again.
const POLL: Duration = Duration::from_millis(20);

/// Opens a file for reading. `None` if there is none, or one that is not ours alone.
pub(super) fn open_own(path: &Path) -> Result<Option<File>, FolderError> {
    match open(path, OFlags::RDONLY) {
        Ok(file) => Ok(is_own(&file).map_err(io_error("examine", path))?.then_some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound || is_foreign(&e) => Ok(None),
        Err(e) => Err(io_error("open", path)(e)),
    }
}

/// Takes the exclusive lock on the file at `path`, which is made if it is missing; waits for `patience` at
/// most. The lock ends with the file that is returned.
pub(super) fn lock(path: &Path, patience: Duration) -> Result<File, FolderError> {
    let deadline = Instant::now() + patience;
    loop {
        let file = open_lock(path)?;
        match file.try_lock() {
            // Another process may have replaced the file since it was opened.
            Ok(()) if is_at(&file, path) => return Ok(file),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(io_error("lock", path)(e)),
        }
        if Instant::now() >= deadline {
            return Err(FolderError::Locked {
                path: path.to_owned(),
                after: patience,
            });
        }
        std::thread::sleep(POLL);
    }
}

/// A file that others can open can be locked by them without end, also by a handle from before its mode was
/// changed, so it is replaced and not repaired. Releases up to 0.1 made it with mode 0644.
fn open_lock(path: &Path) -> Result<File, FolderError> {
    match open(path, OFlags::RDWR | OFlags::CREATE) {
        Ok(file) if is_own(&file).map_err(io_error("examine", path))? => return Ok(file),
        Ok(_) => {}
        Err(e) if is_foreign(&e) => {}
        Err(e) => return Err(io_error("open", path)(e)),
    }
    let fresh = fresh_name(path);
    let file =
        open(&fresh, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL).map_err(io_error("make", &fresh))?;
    fs::rename(&fresh, path).map_err(|e| {
        // The error to report is that of the rename.
        let _ = fs::remove_file(&fresh);
        io_error("replace", path)(e)
    })?;
    Ok(file)
}

fn fresh_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.as_os_str().to_owned();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".new-{}-{count}", std::process::id()));
    PathBuf::from(name)
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    // NONBLOCK: a FIFO in the place of the file would be waited for.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(
        path,
        flags,
        Mode::RUSR | Mode::WUSR,
    )?))
}

/// Errors of opening something that is not a file of our own: a symbolic link, a directory, a device,
/// another's file.
fn is_foreign(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::LOOP, Errno::ISDIR, Errno::NXIO, Errno::ACCESS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn is_own(file: &File) -> io::Result<bool> {
    const OTHERS: u32 = 0o077;
    let facts = file.metadata()?;
    Ok(facts.is_file()
        && facts.uid() == rustix::process::geteuid().as_raw()
        && facts.mode() & OTHERS == 0
        && facts.nlink() <= 1)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}
