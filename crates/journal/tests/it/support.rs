//! Journals to test with: one key, small segments, records that tell their position.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use journal::{Journal, Options, Record, generate_signing_key};
use tempfile::TempDir;

static KEY: LazyLock<Vec<u8>> = LazyLock::new(|| generate_signing_key().unwrap().to_vec());

/// Options with the key that all tests share.
pub(crate) fn options(segment_bytes: u64) -> Options {
    Options {
        segment_bytes,
        sign_every: 3,
        signing_key_pkcs8: KEY.clone(),
    }
}

/// An empty journal in a folder of its own.
pub(crate) fn new_journal(segment_bytes: u64) -> (TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), options(segment_bytes)).unwrap().journal;
    (dir, journal)
}

/// The record that tests append at this position: no two alike, no zeros in the payload.
pub(crate) fn record(position: u64) -> Record {
    let text = format!("record {position} ");
    Record {
        kind: u8::try_from(position % 5).unwrap(),
        ends: i64::try_from(1_000 + position).unwrap(),
        keys: vec![(1, position), (2, position % 7)],
        payload: text
            .into_bytes()
            .repeat(1 + usize::try_from(position % 11).unwrap()),
    }
}

/// Appends records up to this position in batches of `batch`.
pub(crate) fn append_to(journal: &mut Journal, last: u64, batch: usize) {
    let first = journal.head().position + 1;
    let records: Vec<Record> = (first..=last).map(record).collect();
    for records in records.chunks(batch) {
        journal.append(records).unwrap();
    }
}

/// Ends a journal as `kill -9` would: nothing is signed, no mark is left.
pub(crate) fn crash(journal: Journal) {
    drop(journal);
}

/// The segments of a folder, oldest first.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    files(dir, "seg")
}

/// The index files of a folder, oldest first.
pub(crate) fn indexes(dir: &Path) -> Vec<PathBuf> {
    files(dir, "idx")
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    found
}
