//! The folder of one instance (`--data DIR`): made if absent, held by one process at a time. A second process is told the pid of the
//! first. The lock is the kernel's (`flock`), so it ends with its process, however that ends.

use crate::{atomic, ready};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes that fit into `sun_path` of unix(7): 108 with the closing zero.
pub const SOCKET_PATH_LIMIT: usize = 107;

/// Why a process cannot have its folder.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another process lives in it; the pid is absent if that process has not written it.
    #[error(
        "{} is in use by {}, expected a folder of its own for each process: stop that process or choose another --data",
        dir.display(), pid.map_or("another process".to_owned(), |pid| format!("the process with pid {pid}"))
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who holds it.
        pid: Option<u32>,
    },
    /// The kernel refused a write.
    #[error(
        "{} is not writable ({source}), expected a folder that this user may write to: change its owner or choose another --data",
        path.display()
    )]
    NotWritable {
        /// The file or folder that could not be made or changed.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Something else stands where a folder should be.
    #[error("{} is not a folder, expected a folder or nothing: move it away or choose another --data", path.display())]
    NotAFolder {
        /// What is in the way.
        path: PathBuf,
    },
    /// Any other failure of the disk.
    #[error("cannot prepare {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A socket cannot have this path.
    #[error(
        "the socket path {} has {} bytes, expected at most {SOCKET_PATH_LIMIT}: choose a shorter --data",
        path.display(), path.as_os_str().len()
    )]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
    },
}

/// A data folder that this process alone holds, until drop.
#[derive(Debug)]
pub struct InstanceFolder {
    path: PathBuf,
    _lock: File,
}

impl InstanceFolder {
    /// Makes `dir` (0755, whatever the umask; parents as the umask has it) if it is absent, locks it, and removes a `ready.json` that a killed predecessor left.
    pub fn claim(dir: impl AsRef<Path>) -> Result<Self, InstanceError> {
        let given = dir.as_ref();
        let path = std::path::absolute(given).map_err(|source| failure(given, source))?;
        make_folder(&path, 0o755)?;
        let lock = lock(&path)?;
        let stale = path.join(ready::FILE_NAME);
        match fs::remove_file(&stale) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failure(&stale, e)),
            _ => Ok(Self { path, _lock: lock }),
        }
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where `name` lies in the folder, absolute.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the folder `name` inside if it is absent, and gives it exactly `mode` in any case, such as 0700 for `keys`.
    pub fn subfolder(&self, name: &str, mode: u32) -> Result<PathBuf, InstanceError> {
        let path = self.path.join(name);
        make_folder(&path, mode)?;
        set_mode(&path, mode)?;
        Ok(path)
    }
}

/// Whether a Unix socket can be bound at, and reached by, `path`.
pub fn socket_path_fits(path: &Path) -> Result<(), InstanceError> {
    if path.as_os_str().as_bytes().len() > SOCKET_PATH_LIMIT {
        return Err(InstanceError::SocketPathTooLong {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// A folder that was there keeps its mode.
fn make_folder(path: &Path, mode: u32) -> Result<(), InstanceError> {
    atomic::make_folder(path, mode).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => InstanceError::NotAFolder {
            path: path.to_owned(),
        },
        _ => failure(path, error),
    })
}

fn set_mode(path: &Path, mode: u32) -> Result<(), InstanceError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| failure(path, e))
}

fn lock(dir: &Path) -> Result<File, InstanceError> {
    let path = dir.join("lock");
    // Closed to others: whoever may open it, even to read, could hold the lock and keep us from starting.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| failure(&path, e))?;
    // One that was there, from a copy perhaps, may be open to others.
    let found = file.metadata().map_err(|e| failure(&path, e))?;
    if found.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(|e| failure(&path, e))?;
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = holder(&mut file);
            return Err(InstanceError::InUse {
                dir: dir.to_owned(),
                pid,
            });
        }
        Err(TryLockError::Error(e)) => return Err(failure(&path, e)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|e| failure(&path, e))?;
    Ok(file)
}

/// The pid in the lock file. Its holder may have locked it a moment ago and be about to write: worth a short wait.
fn holder(file: &mut File) -> Option<u32> {
    match kernel_holder(file) {
        // The file may name a process that ended long ago, where another program holds the lock.
        None => written_pid(file).filter(|pid| Path::new("/proc").join(pid.to_string()).exists()),
        known => known,
    }
}

/// The holder as the kernel lists it; `None` where it does not, as for a process of another container.
fn kernel_holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`
        let mut words = line.split_ascii_whitespace().skip(1);
        let kind = words.next()?;
        let (pid, place) = (words.nth(2)?, words.next()?);
        let is_ours = kind == "FLOCK" && place.rsplit(':').next()? == inode;
        pid.parse().ok().filter(|pid| is_ours && *pid > 0)
    })
}

fn written_pid(file: &mut File) -> Option<u32> {
    const LONGEST_WAIT: Duration = Duration::from_millis(200);
    const PID_DIGITS: u64 = 16;
    let begun = Instant::now();
    loop {
        let mut text = String::new();
        file.rewind().ok()?;
        file.take(PID_DIGITS).read_to_string(&mut text).ok()?;
        if text.ends_with('\n') {
            return text.trim_end().parse().ok();
        }
        if begun.elapsed() > LONGEST_WAIT {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn failure(path: &Path, source: io::Error) -> InstanceError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            InstanceError::NotWritable { path, source }
        }
        ErrorKind::NotADirectory => InstanceError::NotAFolder { path },
        _ => InstanceError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_claim_makes_the_folder_with_its_parents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("var/lib/signet");
        let folder = InstanceFolder::claim(&path).unwrap();
        assert_eq!(mode(folder.path()), 0o755);
        assert_eq!(folder.join("bundle.pem"), path.join("bundle.pem"));
    }

    #[test]
    fn a_folder_that_was_there_keeps_its_mode_and_its_lock_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o750).unwrap();
        let folder = InstanceFolder::claim(dir.path()).unwrap();
        assert_eq!(mode(folder.path()), 0o750);
        assert_eq!(mode(&folder.join("lock")), 0o600);
    }

    #[test]
    fn a_subfolder_gets_its_mode_even_if_it_was_open_before() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("keys")).unwrap();
        fs::set_permissions(dir.path().join("keys"), Permissions::from_mode(0o755)).unwrap();
        let folder = InstanceFolder::claim(dir.path()).unwrap();
        assert_eq!(mode(&folder.subfolder("keys", 0o700).unwrap()), 0o700);
        assert_eq!(mode(&folder.subfolder("journal", 0o755).unwrap()), 0o755);
    }

    #[test]
    fn a_second_claim_names_the_pid_of_the_first_until_that_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let first = InstanceFolder::claim(dir.path()).unwrap();
        let error = InstanceFolder::claim(dir.path()).unwrap_err();
        let pid = std::process::id();
        assert!(matches!(error, InstanceError::InUse { pid: Some(found), .. } if found == pid));
        assert!(error.to_string().contains(&format!("pid {pid}")), "{error}");
        drop(first);
        InstanceFolder::claim(dir.path()).unwrap();
    }

    #[test]
    fn a_stale_ready_file_is_removed_by_the_winner_only() {
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready.json");
        fs::write(&ready, "{}").unwrap();
        let _first = InstanceFolder::claim(dir.path()).unwrap();
        assert!(!ready.exists());

        fs::write(&ready, "{}").unwrap();
        InstanceFolder::claim(dir.path()).unwrap_err();
        assert!(ready.exists(), "it belongs to the first process");
    }

    #[test]
    fn a_folder_that_cannot_be_had_is_named() {
        // Not even root makes folders in sysfs.
        let error = InstanceFolder::claim("/sys/signet").unwrap_err();
        assert!(matches!(error, InstanceError::NotWritable { .. }), "{error:?}");
        assert!(
            error.to_string().contains("/sys/signet is not writable"),
            "{error}"
        );

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = InstanceFolder::claim(&path).unwrap_err();
            assert!(matches!(error, InstanceError::NotAFolder { .. }), "{error:?}");
        }
    }

    #[test]
    fn a_socket_path_of_107_bytes_fits_and_one_of_108_is_refused_with_both_numbers() {
        let path = |length: usize| PathBuf::from(format!("/{}", "a".repeat(length - 1)));
        socket_path_fits(&path(107)).unwrap();
        let text = socket_path_fits(&path(108)).unwrap_err().to_string();
        assert!(
            text.contains("108 bytes") && text.contains("at most 107"),
            "{text}"
        );
    }
}
