//! Each file of a data folder, changed, cut and removed: a start gives the same answers as before, or names
//! that file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::JournalError;
use tempfile::TempDir;

use crate::store::tests::support::{AUTHORITY, HOUR, START, Subject, TestClock, ask, open};
use crate::store::{EmbeddedStore, Entry, State, Store, StoreError};

/// How one file is damaged.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(usize),
    Cut(usize),
    Remove,
}

/// What a store answers.
struct Answers {
    state: State,
    entries: Vec<Option<Entry>>,
}

impl Answers {
    fn of(store: &dyn Store) -> Self {
        let state = store.read().clone();
        let entries = 1..=state.position();
        Self {
            entries: entries.map(|position| store.entry(position).unwrap()).collect(),
            state,
        }
    }
}

/// A store with several segments and something of each kind.
fn fill(dir: &Path, clock: &Arc<TestClock>) -> Subject {
    let subject = Subject::new(Arc::new(open(dir, clock)), clock.clone(), None);
    subject.put_authority(AUTHORITY);
    let made = subject.token_with_registration("t", HOUR);
    let (first, _) = subject.issue(&ask("a", 1).token("t").registration(made));
    subject.issue(&ask("a", 2).parent(first));
    for number in 0..30 {
        let large = format!("document {number} ").repeat(1500);
        subject.apply(&[(&format!("r{}", number % 3), &large)]).unwrap();
    }
    let (other, _) = subject.issue(&ask("b", 3));
    subject.revoke(&[other], "superseded").unwrap();
    subject
}

fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

fn copy(from: &Path) -> TempDir {
    let to = quick_folder();
    for file in files(from) {
        let target = to.path().join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
    to
}

fn damages(length: usize) -> Vec<Damage> {
    let mut all = vec![Damage::Remove];
    if length > 0 {
        all.extend([0, length / 4, length / 2, length - 1].map(Damage::Flip));
        all.extend([0, length / 2, length - 1].map(Damage::Cut));
    }
    all
}

fn apply(file: &Path, damage: Damage) {
    let mut bytes = fs::read(file).unwrap();
    match damage {
        Damage::Remove => return fs::remove_file(file).unwrap(),
        Damage::Flip(at) => bytes[at] ^= 0x10,
        Damage::Cut(length) => bytes.truncate(length),
    }
    fs::write(file, bytes).unwrap();
}

/// Opens a damaged folder and compares all answers.
fn check(dir: &Path, damaged: &Path, before: &Answers, clock: &Arc<TestClock>, case: &str) {
    let name = damaged.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
    let assert_named = |message: &str| assert!(message.contains(&name), "{case}: {message}");
    let store = match EmbeddedStore::open(dir, clock.clone(), |_: Duration| {}) {
        Ok(store) => store,
        // Without its last segment the journal ends early: which file is missing cannot be known.
        Err(StoreError::Journal(JournalError::RolledBack { .. })) if name.ends_with(".seg") => return,
        Err(refused) => return assert_named(&refused.to_string()),
    };
    assert!(store.read().rows().eq(before.state.rows()), "{case}: rows differ");
    for (position, entry) in (1..).zip(&before.entries) {
        match store.entry(position) {
            Ok(found) => assert!(found == *entry, "{case}: entry {position} differs"),
            Err(refused) => assert_named(refused.message()),
        }
    }
    // Without the bindings of a damaged segment each request asks the journal.
    let until = Instant::now() + Duration::from_secs(1);
    while store.read().bindings().is_partial(START) && Instant::now() < until {
        std::thread::yield_now();
    }
    if !store.read().bindings().is_partial(START) {
        assert_eq!(store.read().bindings(), before.state.bindings(), "{case}");
    }
}

fn each_file_damaged(sound: &Path, before: &Answers, clock: &Arc<TestClock>) {
    let names: Vec<PathBuf> = files(sound)
        .iter()
        .map(|file| file.strip_prefix(sound).unwrap().to_owned())
        .collect();
    for part in [
        "journal/00000000000000000001.idx",
        "journal/acknowledged",
        "keys/journal.key",
    ] {
        assert!(names.iter().any(|name| name == Path::new(part)), "{names:?}");
    }
    for name in names {
        let length = usize::try_from(fs::metadata(sound.join(&name)).unwrap().len()).unwrap();
        for damage in damages(length) {
            let dir = copy(sound);
            let file = dir.path().join(&name);
            apply(&file, damage);
            let case = format!("{} {damage:?}", name.display());
            check(dir.path(), &file, before, clock, &case);
        }
    }
}

#[test]
fn after_a_clean_stop_each_damaged_file_is_repaired_or_named() {
    let (dir, clock) = (quick_folder(), TestClock::new());
    let subject = fill(dir.path(), &clock);
    subject.store.close().unwrap();
    drop(subject);
    let sound = copy(dir.path());
    let before = Answers::of(&open(dir.path(), &clock));
    each_file_damaged(sound.path(), &before, &clock);
}

#[test]
fn after_a_crash_each_damaged_file_is_repaired_or_named() {
    let (dir, clock) = (quick_folder(), TestClock::new());
    let subject = fill(dir.path(), &clock);
    let index = dir.path().join("journal/00000000000000000001.idx");
    let until = Instant::now() + Duration::from_secs(30);
    while !index.exists() {
        assert!(
            Instant::now() < until,
            "the index of the first segment is not written"
        );
        std::thread::yield_now();
    }
    let before = Answers::of(subject.store.as_ref());
    let sound = copy(dir.path());
    each_file_damaged(sound.path(), &before, &clock);
}
