//! Snapshots of a state that is larger than one record: complete or ignored, at whatever part a crash comes, and no more work for a
//! batch than one part.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use journal::Record;

use crate::store::entry::{KIND_ENTRY, KIND_SNAPSHOT, KIND_SNAPSHOT_END, KIND_SNAPSHOT_PART};
use crate::store::journaled::Start;
use crate::store::memory::Memory;
use crate::store::snapshots::{PART_BYTES, SNAPSHOT_EVERY};
use crate::store::tests::support::{Subject, TestClock, apply, ask, open};
use crate::store::{Journaled, Medium, RowKey, RowKind, Store, StoreError};

/// A document of a few hundred bytes, another for each number.
fn document(number: u64) -> String {
    format!("{{\"text\":\"{}\"}}", format!("{number} ").repeat(100))
}

/// Changes documents among fifty, of which a state has several parts.
fn change(subject: &Subject, number: u64) {
    let name = format!("r{:02}", number % 50);
    subject.apply(&[(&name, &document(number))]).unwrap();
}

/// The end of each batch in the only segment, with the position of its last record.
fn batch_ends(segment: &Path) -> BTreeMap<u64, usize> {
    let bytes = fs::read(segment).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (mut ends, mut at, mut position) = (BTreeMap::new(), 88, 0);
    while at < bytes.len() {
        position += number(at + 12) as u64;
        at += number(at + 8);
        ends.insert(position, at);
    }
    ends
}

#[test]
fn a_state_of_many_parts_is_the_same_after_a_crash_at_any_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = Subject::new(Arc::new(open(dir.path(), &clock)), clock.clone(), None);
    // What the state was at each position that a caller was told of.
    let mut states = BTreeMap::new();
    for number in 0..SNAPSHOT_EVERY + 40 {
        change(&subject, number);
        let state = subject.store.read().clone();
        states.insert(state.position(), state);
    }
    drop(subject);
    let journal = journal::export(&dir.path().join("journal"), 1).unwrap();
    let kinds: Vec<(u64, u8)> = journal
        .map(|stored| stored.map(|stored| (stored.position, stored.kind)).unwrap())
        .collect();
    let parts: Vec<u64> = kinds
        .iter()
        .filter(|(_, kind)| [KIND_SNAPSHOT_PART, KIND_SNAPSHOT_END].contains(kind))
        .map(|(position, _)| *position)
        .collect();
    assert!(parts.len() > 3, "{parts:?}");
    assert!(kinds.iter().any(|(_, kind)| *kind == KIND_SNAPSHOT_END));
    assert!(kinds.iter().all(|(_, kind)| *kind != KIND_SNAPSHOT));

    let segment = |dir: &Path| -> PathBuf { dir.join("journal/00000000000000000001.seg") };
    let ends = batch_ends(&segment(dir.path()));
    let around = parts[0] - 1..=parts[parts.len() - 1] + 3;
    for (position, end) in ends.range(around) {
        let crashed = tempfile::tempdir().unwrap();
        for folder in ["journal", "keys"] {
            fs::create_dir(crashed.path().join(folder)).unwrap();
        }
        fs::copy(
            dir.path().join("keys/journal.key"),
            crashed.path().join("keys/journal.key"),
        )
        .unwrap();
        let bytes = fs::read(segment(dir.path())).unwrap();
        fs::write(segment(crashed.path()), &bytes[..*end]).unwrap();
        let again = open(crashed.path(), &clock);
        let (_, expected) = states.range(..=*position).next_back().unwrap();
        assert!(again.read().rows().eq(expected.rows()), "crash after {position}");
        assert_eq!(again.read().position(), *position);
    }
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
    let until = Instant::now() + Duration::from_secs(30);
    while !appended
        .lock()
        .unwrap()
        .iter()
        .any(|(kind, _)| *kind == KIND_SNAPSHOT_END)
    {
        assert!(Instant::now() < until, "the snapshot is not completed");
        std::thread::yield_now();
    }
    let appended = appended.lock().unwrap();
    let parts = appended.iter().filter(|(kind, _)| *kind != KIND_ENTRY);
    let largest = parts.clone().map(|(_, bytes)| *bytes).max().unwrap();
    assert!(largest <= 3 * PART_BYTES, "{largest}");
    assert!(parts.count() >= 200);
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
