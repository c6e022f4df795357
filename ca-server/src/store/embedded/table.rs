//! Rows in sled, in one tree, with the position that they are of. sled 0.34 may fail or panic on files that a power cut left: every
//! use is guarded, and who gets `Broken` makes the table again.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use prost::Message;
use ring::digest::{Context, SHA256};

use crate::store::entry::Snapshot;
use crate::store::rows::{Row, RowKey};

/// sled's cache; the rows are in memory already.
const CACHE_BYTES: u64 = 1 << 20;
/// No row's key begins with a zero byte.
const POSITION_KEY: &[u8] = b"\0position";

/// An open table.
#[derive(Debug)]
pub(super) struct Table(sled::Db);

/// What made a table useless.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(String);

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Rows with what they become; `None` removes.
pub(super) type Rows = Vec<(RowKey, Option<Vec<u8>>)>;

impl Table {
    /// Opens the table in this folder, or makes one.
    pub(super) fn open(dir: &Path) -> Result<Self, Broken> {
        guarded(|| {
            sled::Config::new()
                .path(dir)
                .cache_capacity(CACHE_BYTES)
                .open()
                .map(Self)
        })
    }

    /// Removes what is in this folder.
    pub(super) fn clear(dir: &Path) -> io::Result<()> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The position that the rows are of.
    pub(super) fn position(&self) -> Result<Option<u64>, Broken> {
        let bytes = guarded(|| self.0.get(POSITION_KEY))?;
        Ok(bytes.and_then(|bytes| bytes.as_ref().try_into().ok().map(u64::from_be_bytes)))
    }

    /// All rows, and their digest.
    pub(super) fn rows(&self) -> Result<(Snapshot, [u8; 32]), Broken> {
        let mut snapshot = Snapshot::default();
        let mut digest = RowsDigest::new();
        let pairs = guarded(|| self.0.iter().collect::<Result<Vec<_>, _>>())?;
        for (key, row) in pairs.iter().filter(|(key, _)| key.as_ref() != POSITION_KEY) {
            digest.add(key, row);
            snapshot
                .rows
                .push(Row::decode(row.as_ref()).map_err(|error| Broken(error.to_string()))?);
        }
        Ok((snapshot, digest.finish()))
    }

    /// Puts and removes rows and moves on to their position, at once.
    pub(super) fn apply(&self, position: u64, rows: &Rows) -> Result<(), Broken> {
        let mut batch = sled::Batch::default();
        for (key, row) in rows {
            match row {
                Some(row) => batch.insert(key.as_slice(), row.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        batch.insert(POSITION_KEY, &position.to_be_bytes());
        guarded(|| self.0.apply_batch(batch.clone()))
    }

    /// Makes the rows those given, and nothing else; returns their digest.
    pub(super) fn bring_to(&self, position: u64, rows: &[(RowKey, Vec<u8>)]) -> Result<[u8; 32], Broken> {
        let mut changes = Rows::new();
        let mut digest = RowsDigest::new();
        let stored = guarded(|| self.0.iter().collect::<Result<Vec<_>, _>>())?;
        let mut stored = stored
            .iter()
            .filter(|(key, _)| key.as_ref() != POSITION_KEY)
            .peekable();
        for (key, row) in rows {
            digest.add(key, row);
            while let Some((gone, _)) = stored.next_if(|(known, _)| known.as_ref() < key.as_slice()) {
                changes.push((gone.to_vec(), None));
            }
            match stored.next_if(|(known, _)| known.as_ref() == key.as_slice()) {
                Some((_, known)) if known.as_ref() == row.as_slice() => {}
                _ => changes.push((key.clone(), Some(row.clone()))),
            }
        }
        changes.extend(stored.map(|(gone, _)| (gone.to_vec(), None)));
        self.apply(position, &changes)?;
        Ok(digest.finish())
    }

    /// Closes the table and makes its files durable.
    pub(super) fn put_away(self, dir: &Path) -> Result<(), Broken> {
        let flushed = guarded(|| self.0.flush());
        drop(self);
        flushed?;
        sync_all(dir).map_err(|error| Broken(format!("cannot sync {}: {error}", dir.display())))
    }
}

/// `fsync` for each file and folder, which sled leaves out.
fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

/// A panic of sled is an error of sled.
fn guarded<T>(act: impl Fn() -> sled::Result<T>) -> Result<T, Broken> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Broken(error.to_string())),
        Err(_) => Err(Broken(String::from("sled panicked"))),
    }
}

/// SHA-256 of keys and rows, each with its length.
struct RowsDigest(Context);

impl RowsDigest {
    fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    fn add(&mut self, key: &[u8], row: &[u8]) {
        for part in [key, row] {
            self.0.update(&(part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
    }

    fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}
