//! The mark of a clean close: a small file that says where the journal ended. While it is there, any other end is damage;
//! it is removed before anything is appended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::bytes::Cursor;
use crate::error::{Damage, JournalError, io_error};
use crate::{Head, files, segment};

const NAME: &str = "closed";
const MAGIC: &[u8; 8] = b"SIGNETJC";
const BYTES: usize = 68;

/// Where a journal ended when it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// First position of the last segment.
    pub(crate) segment: u64,
    /// Bytes of the last segment.
    pub(crate) length: u64,
    pub(crate) head: Head,
}

impl Mark {
    /// Whether the journal that was closed here ends like this. `sealed` is where the segment before its last
    /// ends: a roll whose last sync failed leaves an empty segment behind, in which nothing was appended.
    pub(crate) fn is_end(&self, end: &Self, sealed: Option<&Self>) -> bool {
        let is_empty = end.length == segment::HEADER_BYTES as u64;
        self == end || (is_empty && sealed == Some(self))
    }
}

/// Leaves the mark.
pub(crate) fn write(dir: &Path, mark: &Mark) -> Result<(), JournalError> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&mark.segment.to_le_bytes());
    bytes.extend_from_slice(&mark.length.to_le_bytes());
    bytes.extend_from_slice(&mark.head.position.to_le_bytes());
    bytes.extend_from_slice(&mark.head.hash);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    files::write_whole(&path(dir), &bytes).map(drop)
}

/// The mark, if there is one.
pub(crate) fn read(dir: &Path) -> Result<Option<Mark>, JournalError> {
    let path = path(dir);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", &path)(error)),
    };
    match decode(&bytes) {
        Some(mark) => Ok(Some(mark)),
        None => Err(JournalError::Damaged {
            path,
            at: 0,
            position: 0,
            what: Damage::BrokenMark,
        }),
    }
}

/// Durably takes the mark away.
pub(crate) fn remove(dir: &Path) -> Result<(), JournalError> {
    let path = path(dir);
    fs::remove_file(&path).map_err(io_error("remove", &path))?;
    files::sync_folder(dir)
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
    let (text, stored) = bytes.split_at(BYTES - 4);
    let mut cursor = Cursor(text);
    if Cursor(stored).u32() != crc32fast::hash(text) || cursor.array() != *MAGIC {
        return None;
    }
    let (segment, length) = (cursor.u64(), cursor.u64());
    Some(Mark {
        segment,
        length,
        head: Head {
            position: cursor.u64(),
            hash: cursor.array(),
        },
    })
}
