//! Snapshots of a state that is larger than one record: complete or ignored, at whatever part a crash comes,
//! and no more work for a batch than one part.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use journal::Record;
use prost::Message;
use tempfile::TempDir;

use crate::store::entry::{KIND_ENTRY, KIND_SNAPSHOT, KIND_SNAPSHOT_END, KIND_SNAPSHOT_PART};
use crate::store::journaled::Start;
use crate::store::memory::Memory;
use crate::store::snapshots::{PART_BYTES, SNAPSHOT_EVERY};
use crate::store::tests::support::{Subject, TestClock, apply, ask, open};
use crate::store::{Entry, Journaled, Medium, RowKey, RowKind, State, Store, StoreError};

/// A document of a few hundred bytes, another for each number.
fn document(number: u64) -> String {
    format!("{{\"text\":\"{}\"}}", format!("{number} ").repeat(100))
}

/// Changes documents among fifty, of which a state has several parts.
fn change(subject: &Subject, number: u64) {
    let name = format!("r{:02}", number % 50);
    subject.apply(&[(&name, &document(number))]).unwrap();
}

/// Where each batch of a journal ends: the position of its last record, its segment, and the byte.
fn batch_ends(journal: &Path) -> Vec<(u64, PathBuf, usize)> {
    let mut ends = Vec::new();
    let mut position = 0;
    for segment in segments(journal) {
        let bytes = fs::read(&segment).unwrap();
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let mut at = 88;
        while at < bytes.len() {
            position += number(at + 12) as u64;
            at += number(at + 8);
            ends.push((position, segment.clone(), at));
        }
    }
    ends
}

fn segments(journal: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    segments
}

/// A copy of a data folder as a crash leaves it right after this batch.
fn crashed_after(data: &Path, last: &Path, end: usize) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for folder in ["journal", "keys"] {
        fs::create_dir(copy.path().join(folder)).unwrap();
    }
    let key = "keys/journal.key";
    fs::copy(data.join(key), copy.path().join(key)).unwrap();
    for segment in segments(&data.join("journal")) {
        let mut bytes = fs::read(&segment).unwrap();
        if segment == last {
            bytes.truncate(end);
        }
        let name = segment.file_name().unwrap();
        fs::write(copy.path().join("journal").join(name), bytes).unwrap();
        if segment == last {
            break;
        }
    }
    copy
}

#[test]
fn a_state_of_many_parts_is_the_same_after_a_crash_at_any_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = Subject::new(Arc::new(open(dir.path(), &clock)), clock.clone(), None);
    for number in 0..SNAPSHOT_EVERY + 40 {
        change(&subject, number);
    }
    drop(subject);
    // What all entries up to each position come to, without any snapshot.
    let (mut states, mut kinds, mut state) = (BTreeMap::new(), Vec::new(), State::default());
    for stored in journal::export(&dir.path().join("journal"), 1).unwrap() {
        let stored = stored.unwrap();
        if stored.kind == KIND_ENTRY {
            let entry = Entry::decode(stored.payload.as_slice()).unwrap();
            state.apply(stored.position, entry, &[]);
        }
        states.insert(stored.position, state.clone());
        kinds.push((stored.position, stored.kind));
    }
    let parts: Vec<u64> = kinds
        .iter()
        .filter(|(_, kind)| [KIND_SNAPSHOT_PART, KIND_SNAPSHOT_END].contains(kind))
        .map(|(position, _)| *position)
        .collect();
    assert!(parts.len() > 3, "{parts:?}");
    assert!(kinds.iter().any(|(_, kind)| *kind == KIND_SNAPSHOT_END));
    assert!(kinds.iter().all(|(_, kind)| *kind != KIND_SNAPSHOT));

    let around = parts[0] - 1..=parts[parts.len() - 1] + 3;
    let mut crashes = 0;
    for (position, last, end) in batch_ends(&dir.path().join("journal")) {
        if !around.contains(&position) {
            continue;
        }
        let crashed = crashed_after(dir.path(), &last, end);
        let again = open(crashed.path(), &clock);
        assert!(
            again.read().rows().eq(states[&position].rows()),
            "crash after {position}"
        );
        assert_eq!(again.read().position(), position);
        crashes += 1;
    }
    assert!(crashes >= parts.len(), "{crashes}");
}

#[test]
fn a_clean_stop_completes_the_snapshot_of_a_large_state() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = Subject::new(Arc::new(open(dir.path(), &clock)), clock.clone(), None);
    for number in 0..50 {
        change(&subject, number);
    }
    let before = subject.store.read().clone();
    subject.store.close().unwrap();
    drop(subject);
    let last = journal::export(&dir.path().join("journal"), 1).unwrap().last();
    assert_eq!(last.unwrap().unwrap().kind, KIND_SNAPSHOT_END);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert!(open(dir.path(), &clock).read().rows().eq(before.rows()));
}

/// Notes what is appended, and refuses snapshots if it is told to.
struct Noting {
    memory: Memory,
    /// Kind and bytes of each record.
    appended: Arc<Mutex<Vec<(u8, usize)>>>,
    refuses: bool,
}

impl Medium for Noting {
    fn append(&mut self, records: &[Record]) -> Result<(), String> {
        let noted = records.iter().map(|record| (record.kind, record.payload.len()));
        self.appended.lock().unwrap().extend(noted);
        if self.refuses && records.iter().any(|record| record.kind != KIND_ENTRY) {
            return Err(String::from("no space left on device"));
        }
        self.memory.append(records)
    }

    fn note(&mut self, position: u64, changes: HashMap<RowKey, Option<RowKind>>) {
        self.memory.note(position, changes);
    }

    fn has_ended(&self, now: i64) -> impl Fn(u64) -> bool {
        self.memory.has_ended(now)
    }

    fn close(self) -> Result<(), StoreError> {
        self.memory.close()
    }
}

type Appended = Arc<Mutex<Vec<(u8, usize)>>>;

fn noting(refuses: bool) -> (Subject, Appended) {
    let (memory, clock, appended) = (Memory::default(), TestClock::new(), Appended::default());
    let store = Journaled::start(Start {
        records: Arc::new(memory.clone()),
        medium: Noting {
            memory,
            appended: Arc::clone(&appended),
            refuses,
        },
        state: Arc::default(),
        snapshot: 0,
        clock: clock.clone(),
        health: Arc::default(),
    })
    .unwrap();
    (Subject::new(Arc::new(store), clock, None), appended)
}

/// A state of so many parts that a snapshot of it never fits one record.
fn fill(subject: &Subject, parts: usize) {
    let large = "x".repeat(PART_BYTES);
    for number in 0..parts {
        subject.apply(&[(&format!("large{number}"), &large)]).unwrap();
    }
}

#[test]
fn no_caller_waits_for_more_than_one_part_however_large_the_state_is() {
    let (subject, appended) = noting(false);
    fill(&subject, 200);
    // All wait at once, so that the writer has no time of its own.
    let answers: Vec<_> = (0..2 * SNAPSHOT_EVERY)
        .map(|number| {
            let document = document(number);
            subject.store.submit(apply(&[("small", &document)], false))
        })
        .collect();
    for answer in answers {
        answer.blocking_recv().unwrap().unwrap();
    }
    // An earlier snapshot has fewer parts, and another one may be under way.
    let until = Instant::now() + Duration::from_secs(30);
    let is_complete = || {
        let appended = appended.lock().unwrap();
        let parts = appended.iter().filter(|(kind, _)| *kind != KIND_ENTRY);
        let ends = appended.iter().filter(|(kind, _)| *kind == KIND_SNAPSHOT_END);
        parts.count() >= 200 && ends.count() > 0
    };
    while !is_complete() {
        assert!(Instant::now() < until, "the snapshot is not completed");
        std::thread::yield_now();
    }
    let appended = appended.lock().unwrap();
    let parts = appended.iter().filter(|(kind, _)| *kind != KIND_ENTRY);
    let largest = parts.map(|(_, bytes)| *bytes).max().unwrap();
    assert!(largest <= 3 * PART_BYTES, "{largest}");
}

#[test]
fn a_snapshot_that_cannot_be_written_is_not_tried_with_each_batch() {
    let (subject, appended) = noting(true);
    fill(&subject, 3);
    for key in 0..SNAPSHOT_EVERY + 50 {
        subject.issue(&ask(&format!("a{key}"), u8::try_from(key).unwrap()));
    }
    let appended = appended.lock().unwrap();
    let attempts = appended.iter().filter(|(kind, _)| *kind != KIND_ENTRY);
    assert_eq!(attempts.count(), 1);
    assert_eq!(*subject.store.health().borrow(), None, "entries are recorded");
}
