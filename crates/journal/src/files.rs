//! The file operations that must be right for a record to survive a power cut: a folder is synced after a name in it has
//! changed, and a file that must be whole is written beside its place and renamed into it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{JournalError, io_error};

/// What a file that is not yet in its place is called in addition.
const UNFINISHED: &str = "tmp";

/// Makes the folder and those above it, for their owner only, if they are not there. Each new name is durable
/// in its folder.
pub(crate) fn make_folder(dir: &Path) -> Result<(), JournalError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_folder(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made.map_err(io_error("make", dir))?,
    }
    sync_folder(parent.unwrap_or(Path::new(".")))
}

/// Makes names in this folder durable.
pub(crate) fn sync_folder(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error("sync", dir))
}

/// Writes a whole file: after a crash there is all of it under its name, or nothing. Returns it open for reading and writing.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<File, JournalError> {
    let unfinished = path.with_added_extension(UNFINISHED);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(io_error("create", &unfinished))?;
    file.write_all(bytes).map_err(io_error("write", &unfinished))?;
    file.sync_all().map_err(io_error("sync", &unfinished))?;
    fs::rename(&unfinished, path).map_err(io_error("rename into place", path))?;
    path.parent().map_or(Ok(()), sync_folder)?;
    Ok(file)
}

/// Removes what a crash left half written.
pub(crate) fn remove_unfinished(dir: &Path) -> Result<(), JournalError> {
    for path in names(dir)? {
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

/// The paths of all files in a folder, in no order.
pub(crate) fn names(dir: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let entries = fs::read_dir(dir).map_err(io_error("list", dir))?;
    entries
        .map(|entry| Ok(entry.map_err(io_error("list", dir))?.path()))
        .collect()
}
