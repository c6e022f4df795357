//! Journals to test with: one key, small segments, records that tell their position; and the files as a stranger reads them.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use journal::{Head, Journal, Options, Record, Stored, generate_signing_key};
use tempfile::TempDir;

/// Larger than any journal of these tests: everything stays in one segment.
pub(crate) const ONE_SEGMENT: u64 = 1 << 20;

static KEY: LazyLock<Vec<u8>> = LazyLock::new(|| generate_signing_key().expect("random bytes").to_vec());

/// Options with the key that all tests share; each third batch is signed.
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

/// What is read at this position afterwards.
pub(crate) fn stored(position: u64) -> Stored {
    let Record {
        kind, ends, payload, ..
    } = record(position);
    Stored {
        position,
        kind,
        ends,
        payload,
    }
}

/// Appends records up to this position in batches of `batch`; the heads after each.
pub(crate) fn append_to(journal: &mut Journal, last: u64, batch: usize) -> Vec<Head> {
    let first = journal.head().position + 1;
    let records: Vec<Record> = (first..=last).map(record).collect();
    let append = |records| {
        journal.append(records).unwrap();
        journal.head()
    };
    records.chunks(batch).map(append).collect()
}

/// A folder in memory where the system has such a place: for tests that need thousands of syncs, and none to be real.
pub(crate) fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A folder with these files, as they are now.
pub(crate) fn copy(dir: &Path) -> TempDir {
    let copy = quick_folder();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Changes the bytes of a file.
pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A batch as the format's description has it.
#[derive(Clone, Debug)]
pub(crate) struct BatchAt {
    pub(crate) bytes: Range<usize>,
    pub(crate) first: u64,
    pub(crate) records: u64,
}

/// The batches of a sound segment.
pub(crate) fn batches(path: &Path) -> Vec<BatchAt> {
    let bytes = fs::read(path).unwrap();
    let number = |at: usize, width: usize| {
        bytes[at..at + width]
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let mut found = Vec::new();
    let mut at = 88;
    while at < bytes.len() {
        let end = at + usize::try_from(number(at + 8, 4)).unwrap();
        found.push(BatchAt {
            bytes: at..end,
            first: number(at + 16, 8),
            records: number(at + 12, 4),
        });
        at = end;
    }
    found
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
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    found
}
