//! What only the embedded store has: it comes back as it was, however it stopped, or says why it does not.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use identity::Reason;
use journal::JournalError;
use tempfile::TempDir;

use crate::store::snapshots::SNAPSHOT_EVERY;
use crate::store::tests::suite::authorities::{activation, certificate};
use crate::store::tests::support::{AUTHORITY, HOUR, Subject, TestClock, ask, open};
use crate::store::{EmbeddedStore, State, Store, StoreError};

/// A store with something of each kind in it.
fn filled(dir: &Path, clock: &Arc<TestClock>) -> Subject {
    let subject = Subject::new(Arc::new(open(dir, clock)), clock.clone(), None);
    subject.put_authority(AUTHORITY);
    let made = subject.token_with_registration("t", HOUR);
    let (first, _) = subject.issue(&ask("a", 1).token("t").registration(made));
    subject.issue(&ask("a", 2).parent(first).life(2 * HOUR));
    let (other, _) = subject.issue(&ask("b", 3));
    subject.revoke(&[other], "keyCompromise").unwrap();
    subject.apply(&[("x", "1"), ("y", "1")]).unwrap();
    subject.delete(&["x"]).unwrap();
    subject
}

/// All but the position, which a snapshot moves on.
fn assert_same(state: &State, before: &State) {
    assert!(state.rows().eq(before.rows()));
    assert_eq!(state.bindings(), before.bindings());
}

fn copy(from: &Path) -> TempDir {
    fn copy_into(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy_into(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

#[test]
fn keys_of_authorities_get_no_leaf_after_a_restart_either() {
    let clock = TestClock::new();
    for is_clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (chain, request) = certificate();
        let subject = filled(dir.path(), &clock);
        subject.submit(activation(b"next", &chain, b"root")).unwrap();
        if is_clean {
            subject.store.close().unwrap();
        }
        drop(subject);
        let subject = Subject::new(Arc::new(open(dir.path(), &clock)), clock.clone(), None);
        assert_eq!(subject.refused(&request), Reason::KeyIsAuthority);
    }
}

#[test]
fn a_clean_stop_brings_the_same_state_back_and_leaves_no_mark_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = filled(dir.path(), &clock);
    let before = subject.store.read().clone();
    subject.store.close().unwrap();
    assert!(matches!(subject.store.close(), Err(StoreError::Closed)));
    let mark = dir.path().join("index/closed");
    assert!(mark.exists());
    drop(subject);
    let again = open(dir.path(), &clock);
    assert!(!mark.exists());
    assert_same(&again.read(), &before);
    assert_eq!(again.read().position(), before.position() + 1, "the snapshot");
    assert_eq!(*again.changed().borrow(), before.revision());
}

#[test]
fn a_folder_copied_while_the_store_runs_gives_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = filled(dir.path(), &clock);
    let killed = copy(dir.path());
    let again = open(killed.path(), &clock);
    assert_eq!(*again.read(), *subject.store.read());
}

#[test]
fn a_store_that_runs_for_long_takes_snapshots_and_a_start_that_reads_them_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = filled(dir.path(), &clock);
    let mut changes = 0;
    while subject.store.head().position < 2 * SNAPSHOT_EVERY + 10 {
        changes += 1;
        subject.apply(&[("often", &changes.to_string())]).unwrap();
    }
    let head = subject.store.head().position;
    let snapshots = (1..=head).filter(|position| subject.store.entry(*position).unwrap().is_none());
    assert_eq!(snapshots.count(), 2);
    let before = subject.store.read().clone();
    drop(subject);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(*open(dir.path(), &clock).read(), before);
}

#[test]
fn a_store_dropped_without_a_close_gives_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = filled(dir.path(), &clock);
    let before = subject.store.read().clone();
    drop(subject);
    assert_eq!(*open(dir.path(), &clock).read(), before);
}

#[test]
fn what_happened_after_a_clean_stop_is_not_lost_by_an_unclean_one() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    filled(dir.path(), &clock).store.close().unwrap();
    let subject = Subject::new(Arc::new(open(dir.path(), &clock)), clock.clone(), None);
    subject.apply(&[("late", "1")]).unwrap();
    subject.token("late", HOUR);
    let before = subject.store.read().clone();
    drop(subject);
    assert_eq!(*open(dir.path(), &clock).read(), before);
}

#[test]
fn a_lost_or_broken_index_is_made_again_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = filled(dir.path(), &clock);
    let before = subject.store.read().clone();
    subject.store.close().unwrap();
    drop(subject);

    let lost = copy(dir.path());
    fs::remove_dir_all(lost.path().join("index")).unwrap();
    assert_same(&open(lost.path(), &clock).read(), &before);

    let broken = copy(dir.path());
    for entry in fs::read_dir(broken.path().join("index/state"))
        .unwrap()
        .map(Result::unwrap)
    {
        if entry.file_type().unwrap().is_file() {
            let mut bytes = fs::read(entry.path()).unwrap();
            bytes.iter_mut().step_by(3).for_each(|byte| *byte ^= 0x55);
            fs::write(entry.path(), bytes).unwrap();
        }
    }
    let again = open(broken.path(), &clock);
    assert_same(&again.read(), &before);
    again.close().unwrap();
    drop(again);
    assert_same(&open(broken.path(), &clock).read(), &before);
}

#[test]
fn an_index_whose_rows_are_not_those_put_away_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = filled(dir.path(), &clock);
    let before = subject.store.read().clone();
    subject.store.close().unwrap();
    drop(subject);
    let table = sled::open(dir.path().join("index/state")).unwrap();
    let (key, _) = table.scan_prefix(b"k").next().unwrap().unwrap();
    table.remove(key).unwrap();
    table.flush().unwrap();
    drop(table);
    assert_same(&open(dir.path(), &clock).read(), &before);
}

#[test]
fn a_journal_that_was_rolled_back_is_refused_naming_both_positions() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = Subject::new(Arc::new(open(dir.path(), &clock)), clock.clone(), None);
    subject.apply(&[("x", "1")]).unwrap();
    subject.store.close().unwrap();
    drop(subject);
    let old = copy(dir.path());
    let subject = Subject::new(Arc::new(open(dir.path(), &clock)), clock.clone(), None);
    subject.issue(&ask("a", 1));
    subject.store.close().unwrap();
    let known = subject.store.head().position;
    drop(subject);

    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    fs::rename(old.path().join("journal"), dir.path().join("journal")).unwrap();
    let mark = fs::read(dir.path().join("index/closed")).unwrap();
    match EmbeddedStore::open(dir.path(), clock, |_| {}) {
        Err(StoreError::Journal(JournalError::RolledBack {
            found, known: named, ..
        })) => {
            assert_eq!((found, named), (2, known));
        }
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(
        fs::read(dir.path().join("index/closed")).unwrap(),
        mark,
        "the next try says the same"
    );
}

#[test]
fn a_lost_journal_key_is_named_and_no_other_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    drop(open(dir.path(), &clock));
    let key = dir.path().join("keys/journal.key");
    fs::remove_file(&key).unwrap();
    let error = EmbeddedStore::open(dir.path(), clock, |_| {}).err().unwrap();
    assert!(matches!(error, StoreError::KeyMissing { .. }), "{error}");
    assert!(error.to_string().contains("keys/journal.key"), "{error}");
    assert!(!key.exists());
}

#[test]
fn a_folder_in_use_is_refused_and_its_owner_is_not_harmed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let subject = filled(dir.path(), &clock);
    let error = EmbeddedStore::open(dir.path(), clock.clone(), |_| {})
        .err()
        .unwrap();
    assert!(
        matches!(error, StoreError::Journal(JournalError::InUse { .. })),
        "{error}"
    );
    subject.apply(&[("z", "1")]).unwrap();
    let before = subject.store.read().clone();
    subject.store.close().unwrap();
    drop(subject);
    assert_same(&open(dir.path(), &clock).read(), &before);
}

#[test]
fn keys_and_folders_are_closed_to_others_and_syncs_are_told() {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&syncs);
    let store = EmbeddedStore::open(dir.path(), clock.clone(), move |took: Duration| {
        assert!(!took.is_zero());
        counted.fetch_add(1, Ordering::SeqCst);
    })
    .unwrap();
    let subject = Subject::new(Arc::new(store), clock, None);
    subject.issue(&ask("a", 1));
    assert_eq!(syncs.load(Ordering::SeqCst), 1);
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("keys/journal.key"), 0o600);
    assert_eq!([mode("keys"), mode("journal"), mode("index")], [0o700; 3]);
}
