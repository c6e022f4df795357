//! The last position that was acknowledged: a small file that is written after each batch and never waited
//! for. It may be behind after a power cut, and is never ahead; what it says was durable, so its absence from
//! the journal is a loss and no crash.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::bytes::Cursor;
use crate::error::{JournalError, io_error};

const NAME: &str = "acknowledged";
const MAGIC: &[u8; 8] = b"SIGNETJA";
const BYTES: usize = 20;

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct Acknowledged(File);

impl Acknowledged {
    /// Opens the file of a folder, or makes it.
    pub(crate) fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = path(dir);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        Ok(Self(file))
    }

    /// Notes that everything up to this position is durable. A failure is ignored: then the file is behind,
    /// as after a crash.
    pub(crate) fn note(&self, position: u64) {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&position.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&checksum.to_le_bytes());
        let _ = self.0.write_all_at(&bytes, 0);
    }
}

/// The position that was noted last; `None` if there is no file that holds one. It proves something only
/// where it can be read.
pub(crate) fn read(dir: &Path) -> Option<u64> {
    let bytes: [u8; BYTES] = fs::read(path(dir)).ok()?.try_into().ok()?;
    let mut cursor = Cursor(&bytes);
    let (magic, position) = (cursor.array(), cursor.u64());
    (magic == *MAGIC && cursor.u32() == crc32fast::hash(&bytes[..16])).then_some(position)
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}
