//! Files that are either the old one or the whole new one, also after a crash: written beside their place, synced, renamed, and the
//! folder synced, so that the rename itself is on the disk.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file that could not be written; the old one, if any, is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {source}; expected a folder that this user may write to, with room on its disk", path.display())]
pub struct WriteError {
    path: PathBuf,
    step: &'static str,
    source: io::Error,
}

/// Puts `contents` at `path` with exactly `mode`, whatever the umask. The file is never seen with another mode or half written.
pub fn write(path: &Path, contents: &[u8], mode: u32) -> Result<(), WriteError> {
    place(path, contents, mode, true)
}

/// As [`write`], for a file that means nothing after a crash: it saves the time of the disk's answer.
pub(crate) fn write_fleeting(path: &Path, contents: &[u8], mode: u32) -> Result<(), WriteError> {
    place(path, contents, mode, false)
}

fn place(path: &Path, contents: &[u8], mode: u32, lasting: bool) -> Result<(), WriteError> {
    let failed = |step| {
        move |source| WriteError {
            path: path.to_owned(),
            step,
            source,
        }
    };
    let folder = folder_of(path);
    // `tempfile` makes it 0600: nobody else opens it before its mode is right.
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)
        .map_err(failed("make a file beside"))?;
    file.write_all(contents).map_err(failed("write"))?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))
        .map_err(failed("set the mode of"))?;
    if lasting {
        file.as_file().sync_all().map_err(failed("sync"))?;
    }
    file.persist(path)
        .map_err(|e| failed("rename a new file to")(e.error))?;
    if lasting {
        sync_folder(folder).map_err(failed("sync the folder of"))?;
    }
    Ok(())
}

/// Makes the folder with exactly `mode`, whatever the umask, if it is not there, and those above it as the
/// umask has them. Each new name is durable in its folder. A folder that was there keeps its mode.
///
/// # Errors
/// `AlreadyExists` if something else is in the way; what the kernel says.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = folder_of(path);
    make_parents(parent)?;
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    sync_folder(parent)
}

fn make_parents(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = folder_of(path);
    make_parents(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    sync_folder(parent)
}

/// Makes renames and removals in `folder` last.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_replaces_the_old_one_with_the_mode_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle.pem");
        for (contents, mode) in [("old", 0o600), ("new", 0o644), ("open", 0o666)] {
            write(&path, contents.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), contents);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_reader_of_the_old_file_goes_on_reading_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write(&path, b"old", 0o644).unwrap();
        let reader = File::open(&path).unwrap();
        write(&path, b"new and longer", 0o644).unwrap();
        assert_eq!(io::read_to_string(reader).unwrap(), "old");
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(&dir.path().join("absent/f"), b"x", 0o600).unwrap_err();
        assert!(error.to_string().contains("absent/f"), "{error}");

        let taken = dir.path().join("folder");
        fs::create_dir(&taken).unwrap();
        write(&taken, b"x", 0o600).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
