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
    let text = format!(
        "{} {} {}",
        marker.head.position,
        marker.head,
        hex::encode(&marker.rows)
    );
    let line = format!("{text} {}\n", checksum(&text));
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
    // Marks of earlier versions have no checksum.
    if let Some(found) = words.next() {
        let text = line.trim_end().strip_suffix(found)?.trim_end();
        if found != checksum(text) {
            return None;
        }
    }
    let head = Head { position, hash };
    words.next().is_none().then_some(Marker { head, rows })
}

/// The first eight bytes of the SHA-256, in hex.
fn checksum(text: &str) -> String {
    hex::encode(&ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()[..8])
}

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            head: Head {
                position: 70,
                hash: [0xab; 32],
            },
            rows: [0x12; 32],
        }
    }

    #[test]
    fn a_bit_flipped_anywhere_makes_the_mark_absent() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &marker()).unwrap();
        assert_eq!(read(dir.path()), Some(marker()));
        let sound = fs::read(path(dir.path())).unwrap();
        for byte in 0..sound.len() - 1 {
            for bit in 0..8 {
                let mut flipped = sound.clone();
                flipped[byte] ^= 1 << bit;
                fs::write(path(dir.path()), &flipped).unwrap();
                let found = read(dir.path());
                assert_eq!(found, None, "byte {byte}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_mark_of_an_earlier_version_is_read() {
        let marker = marker();
        let rows = hex::encode(&marker.rows);
        let line = format!("{} {} {rows}\n", marker.head.position, marker.head);
        assert_eq!(parse(&line), Some(marker));
    }
}
