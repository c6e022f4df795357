//! The mark of an index that was put away: one line of text with the position and hash where the journal was closed, and the digest
//! of the rows. It is a file of its own because sled's `flush` calls `sync_file_range` and not `fsync`: what must be on the disk,
//! or gone from it, cannot rest in sled.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use identity::hex;
use journal::Head;

use crate::store::error::{StoreError, io_error};

const NAME: &str = "closed";

/// What an index was when it was put away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) head: Head,
    /// SHA-256 of all rows in their order.
    pub(super) rows: [u8; 32],
}

/// Leaves the mark durably.
pub(super) fn write(dir: &Path, marker: &Marker) -> Result<(), StoreError> {
    let line = format!(
        "{} {} {}\n",
        marker.head.position,
        marker.head,
        hex::encode(&marker.rows)
    );
    Ok(runtime::atomic::write(&path(dir), line.as_bytes(), 0o600)?)
}

/// The mark, if there is one that can be read.
pub(super) fn read(dir: &Path) -> Option<Marker> {
    parse(&fs::read_to_string(path(dir)).ok()?)
}

/// Takes the mark away durably.
pub(super) fn remove(dir: &Path) -> Result<(), StoreError> {
    let path = path(dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("remove", &path)(error)),
        Ok(()) => runtime::atomic::sync_folder(dir).map_err(io_error("sync", dir)),
    }
}

fn parse(line: &str) -> Option<Marker> {
    let mut words = line.split_ascii_whitespace();
    let position = words.next()?.parse().ok()?;
    let hash = hex::decode(words.next()?)?.try_into().ok()?;
    let rows = hex::decode(words.next()?)?.try_into().ok()?;
    let head = Head { position, hash };
    words.next().is_none().then_some(Marker { head, rows })
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}
