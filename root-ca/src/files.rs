//! Files of the ceremony: read up to a limit, written whole or not at all, never over another.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::CeremonyError;

/// Longest file that the ceremony reads.
pub(crate) const MAX_BYTES: u64 = 1 << 20;
/// Longest passphrase file.
const MAX_PASSPHRASE_BYTES: u64 = 4096;

/// Who may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Readers {
    /// 0600.
    Owner,
    /// 0644.
    Everybody,
}

/// The contents of a file, which are zeroed when dropped.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, CeremonyError> {
    let failed = |source| CeremonyError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    // Room for all of it at once: growing would leave copies behind.
    let room = file.metadata().map_err(failed)?.len().min(limit) + 1;
    let mut contents = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or(0)));
    file.take(limit + 1).read_to_end(&mut contents).map_err(failed)?;
    if contents.len() as u64 > limit {
        return Err(CeremonyError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(contents)
}

/// The contents of a text file.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<Zeroizing<String>, CeremonyError> {
    let contents = read(path, limit)?;
    match std::str::from_utf8(&contents) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(CeremonyError::Content {
            path: path.to_owned(),
            why: "is no text, expected UTF-8".to_owned(),
        }),
    }
}

/// The passphrase in a file: everything but one line end. An empty one is refused, it would encrypt nothing.
pub(crate) fn passphrase(path: Option<&PathBuf>) -> Result<Option<Zeroizing<String>>, CeremonyError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = read_text(path, MAX_PASSPHRASE_BYTES)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(CeremonyError::Content {
            path: path.clone(),
            why: "holds no passphrase, expected one line".to_owned(),
        });
    }
    Ok(Some(Zeroizing::new(line.to_owned())))
}

/// Refuses a path where something is, so that nothing is made in vain. What decides is [`write_new`].
pub(crate) fn must_not_exist(path: &Path) -> Result<(), CeremonyError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(CeremonyError::Exists {
            path: path.to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

/// Makes a folder, and those above it, for its owner alone; one that exists is taken as it is.
pub(crate) fn make_folder(path: &Path) -> Result<(), CeremonyError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| CeremonyError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Writes a new file: whole, on disk, or not there at all. An existing file is an error and stays as it is.
pub(crate) fn write_new(path: &Path, contents: &[u8], readers: Readers) -> Result<(), CeremonyError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |source: io::Error| CeremonyError::Write {
        path: path.to_owned(),
        source,
    };
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everybody => 0o644,
    };
    let mut file = tempfile::Builder::new()
        .prefix(".root-ca-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(contents).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == io::ErrorKind::AlreadyExists {
            CeremonyError::Exists {
                path: path.to_owned(),
            }
        } else {
            failed(error.error)
        }
    })?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}
