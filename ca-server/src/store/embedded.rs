//! The store of one server: the journal is the truth, the index beside it only makes a start fast. What is decided by is in memory
//! and came from the journal, or from an index that was put away at exactly the position where the journal was closed.

mod filling;
mod index;
mod last_entry;
mod marker;
mod table;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Instant;

use identity::Clock;
use journal::{Head, Journal, JournalError, Opened, Options, Reader, Record, Stored};
use prost::Message;
use proto::Refusal;

use super::bindings::Bindings;
use super::entry::{
    Entry, KIND_ENTRY, KIND_SNAPSHOT, KIND_SNAPSHOT_END, KIND_SNAPSHOT_PART, Snapshot, SnapshotPart,
};
use super::error::{StoreError, io_error};
use super::health::Health;
use super::journaled::{Journaled, Start};
use super::medium::{Medium, Observer, Records};
use super::rows::{RowKey, RowKind};
use super::state::State;
use super::view::unreadable;
use filling::Filling;
use index::{Found, Index};

/// The store of one server, in its data folder: `journal/`, `index/` and `keys/journal.key`.
pub type EmbeddedStore = Journaled<Embedded>;

/// A journal with an index beside it.
pub struct Embedded {
    /// First, so that it has ended when the journal's folder is free for others.
    filling: Filling,
    journal: Journal,
    reader: Reader,
    index: Index,
    observer: Box<dyn Observer>,
}

impl EmbeddedStore {
    /// Whether the data folder has one.
    pub fn exists(data_dir: &Path) -> bool {
        Self::journal_dir(data_dir).is_dir()
    }

    /// The folder of its journal.
    pub fn journal_dir(data_dir: &Path) -> PathBuf {
        data_dir.join("journal")
    }

    /// Opens the store of a data folder, or makes one. Reads the newest snapshot and what follows it, or, after a clean stop, the
    /// index; where certificates are recorded that still count is read beside the first decisions.
    ///
    /// # Errors
    /// `Journal` with file and position if the journal is damaged, in use, newer, or ends before what the index knows;
    /// `KeyMissing`; `Entry`; `Io`.
    pub fn open(data_dir: &Path, clock: Arc<dyn Clock>, observer: impl Observer) -> Result<Self, StoreError> {
        let journal_dir = Self::journal_dir(data_dir);
        let index_dir = data_dir.join("index");
        for dir in [&journal_dir, &index_dir, &data_dir.join("keys")] {
            make_folder(dir)?;
        }
        let key_path = data_dir.join("keys/journal.key");
        let mut options = Options::new(journal_key(&key_path, &journal_dir)?);
        if cfg!(test) {
            // So that tests come to sealed segments.
            options.segment_bytes = 8 << 10;
        }
        let found = index::find(&index_dir)?;
        let Opened { journal, clean, cut } =
            Journal::open_knowing(&journal_dir, options, found.durable().as_ref()).map_err(|error| {
                match error {
                    JournalError::BadKey { .. } | JournalError::OtherKey { .. } => StoreError::Key {
                        key: key_path,
                        source: Box::new(error),
                    },
                    other => StoreError::Journal(other),
                }
            })?;
        if let Some(cut) = cut {
            tracing::warn!(
                "{cut}, was cut off: a crash interrupted it, and nothing shows that it was acknowledged"
            );
        }
        let reader = journal.reader();
        if let Some(at) = last_entry::time(&reader)? {
            clock.journal_ends_at(at);
        }
        let (state, table) = load(&reader, if clean { found } else { found.distrusted() })?;
        let state = Arc::new(RwLock::new(state));
        let snapshot = newest_snapshot(&reader)?.map_or(0, |snapshot| snapshot.position);
        let spawned = |error| io_error("start a thread for", &index_dir)(error);
        let health = Arc::<Health>::default();
        let index = Index::start(&index_dir, table, Arc::clone(&state), Arc::clone(&health))?;
        let filling = Filling::start(
            reader.clone(),
            Arc::clone(&state),
            Arc::clone(&clock),
            Arc::clone(&health),
        )
        .map_err(spawned)?;
        let medium = Embedded {
            filling,
            journal,
            reader: reader.clone(),
            index,
            observer: Box::new(observer),
        };
        Self::start(Start {
            medium,
            records: Arc::new(JournalRecords(reader)),
            state,
            snapshot,
            clock,
            health,
        })
        .map_err(spawned)
    }
}

/// The state at the journal's head.
fn load(reader: &Reader, found: Found) -> Result<(State, Option<table::Table>), StoreError> {
    let head = reader.head();
    let (mut state, table) = match found.at(head) {
        Some((snapshot, table)) => {
            let mut state = State::default();
            state.restore(head.position, snapshot);
            (state, Some(table))
        }
        None => (rebuild(reader)?, None),
    };
    *state.bindings_mut() = Bindings::partial();
    Ok((state, table))
}

/// The newest snapshot that is complete.
struct Newest {
    /// Position of its first record.
    begins: u64,
    /// Position of the record that completed it.
    position: u64,
}

fn newest_snapshot(reader: &Reader) -> Result<Option<Newest>, StoreError> {
    let whole = reader.newest_of_kind(KIND_SNAPSHOT)?.unwrap_or(0);
    let end = reader.newest_of_kind(KIND_SNAPSHOT_END)?.unwrap_or(0);
    let position = whole.max(end);
    if position == 0 {
        return Ok(None);
    }
    let begins = match reader.read(position)? {
        Some(stored) if stored.kind == KIND_SNAPSHOT_END => {
            let part = SnapshotPart::decode(stored.payload.as_slice()).map_err(unreadable_at(position))?;
            part.begins
        }
        _ => position,
    };
    Ok(Some(Newest { begins, position }))
}

fn unreadable_at(position: u64) -> impl Fn(prost::DecodeError) -> StoreError {
    move |error| StoreError::Entry {
        position,
        why: error.to_string(),
    }
}

/// From the newest snapshot and what follows it.
fn rebuild(reader: &Reader) -> Result<State, StoreError> {
    let mut state = State::default();
    let from = newest_snapshot(reader)?.map_or(1, |snapshot| snapshot.begins);
    for stored in reader.scan(from) {
        let Stored {
            position,
            kind,
            payload,
            ..
        } = stored?;
        let unreadable = unreadable_at(position);
        match kind {
            KIND_ENTRY => {
                let entry = Entry::decode(payload.as_slice()).map_err(unreadable)?;
                // Where certificates are recorded is read from the segments' indexes.
                state.apply(position, entry, &[]);
            }
            KIND_SNAPSHOT => {
                let snapshot = Snapshot::decode(payload.as_slice()).map_err(unreadable)?;
                state.restore(position, snapshot);
            }
            // Those of a later snapshot that was not completed are as good: they hold what the entries before
            // them came to.
            KIND_SNAPSHOT_PART | KIND_SNAPSHOT_END => {
                let part = SnapshotPart::decode(payload.as_slice()).map_err(unreadable)?;
                state.restore_part(position, part);
            }
            other => {
                return Err(StoreError::Entry {
                    position,
                    why: format!("kind {other} is unknown"),
                });
            }
        }
    }
    Ok(state)
}

impl Medium for Embedded {
    fn append(&mut self, records: &[Record]) -> Result<(), String> {
        let began = Instant::now();
        self.journal.append(records).map_err(|error| error.to_string())?;
        self.observer.synced(began.elapsed());
        Ok(())
    }

    fn note(&mut self, position: u64, changes: HashMap<RowKey, Option<RowKind>>) {
        self.index.note(position, changes);
    }

    fn has_ended(&self, now: i64) -> impl Fn(u64) -> bool {
        let segments = self.reader.segments();
        move |position| {
            let after = segments.partition_point(|segment| segment.first <= position);
            after
                .checked_sub(1)
                .is_none_or(|at| segments[at].latest_expiry < now)
        }
    }

    fn snapshot_ended(&mut self, is_complete: bool) {
        self.observer.snapshot_ended(is_complete);
    }

    fn close(self) -> Result<(), StoreError> {
        drop(self.filling);
        let head: Head = self.journal.close()?;
        self.index.close(head)
    }
}

/// The journal as a record of entries.
struct JournalRecords(Reader);

impl Records for JournalRecords {
    fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal> {
        self.0
            .read(position)
            .map_err(unreadable)?
            .filter(|stored| stored.kind == KIND_ENTRY)
            .map(|stored| Entry::decode(stored.payload.as_slice()).map_err(unreadable))
            .transpose()
    }

    fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal> {
        self.0.find(field, fingerprint).map_err(unreadable)
    }

    fn head(&self) -> Head {
        self.0.head()
    }
}

/// The key that signs the journal, made at the first start.
fn journal_key(path: &Path, journal_dir: &Path) -> Result<Vec<u8>, StoreError> {
    match fs::read(path) {
        Ok(key) => return Ok(key),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("read", path)(error)),
    }
    let mut files = fs::read_dir(journal_dir).map_err(io_error("read", journal_dir))?;
    if files.any(|file| file.is_ok_and(|file| file.path().extension().is_some_and(|e| e == "seg"))) {
        return Err(StoreError::KeyMissing {
            key: path.to_owned(),
            journal: journal_dir.to_owned(),
        });
    }
    let key = journal::generate_signing_key()?;
    runtime::atomic::write(path, &key, 0o600)?;
    Ok(key.to_vec())
}

fn make_folder(dir: &Path) -> Result<(), StoreError> {
    runtime::atomic::make_folder(dir, 0o700).map_err(io_error("make the folder", dir))
}
