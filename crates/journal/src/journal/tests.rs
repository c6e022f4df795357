//! Files that refuse: `/dev/full` takes no byte, `/dev/null` takes every byte and cannot be synced. They stand in for the
//! open segment's descriptor, so that the failure is the system's own.

use std::fs;
use std::fs::OpenOptions;
use std::path::Path;

use super::{BLOCK_BYTES, Journal};
use crate::segment::{self, SegmentHeader};
use crate::{JournalError, Options, Record, generate_signing_key, key, verify};

fn new_journal(dir: &Path) -> Journal {
    let key = generate_signing_key().unwrap().to_vec();
    Journal::open(
        dir,
        Options {
            sign_every: 1000,
            ..Options::new(key)
        },
    )
    .unwrap()
    .journal
}

fn record(text: &str) -> Record {
    Record {
        kind: 1,
        payload: text.as_bytes().to_vec(),
        ..Record::default()
    }
}

fn replace_descriptor(journal: &mut Journal, device: &str) {
    journal.tail.file = OpenOptions::new().read(true).write(true).open(device).unwrap();
}

#[test]
fn an_append_that_cannot_be_written_or_synced_fails_and_the_next_one_succeeds() {
    for (device, failed) in [("/dev/full", "write"), ("/dev/null", "sync")] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = new_journal(dir.path());
        journal.append(&[record("one")]).unwrap();
        let head = journal.head();
        replace_descriptor(&mut journal, device);
        let error = journal.append(&[record("lost")]).unwrap_err();
        assert!(
            matches!(error, JournalError::Io { action, .. } if action == failed),
            "{error}"
        );
        assert_eq!((journal.head(), journal.reader().head()), (head, head));
        assert_eq!(journal.append(&[record("two")]).unwrap(), 2);
        assert_eq!(journal.reader().read(2).unwrap().unwrap().payload, b"two");
        assert_eq!(verify(dir.path(), None).unwrap().records, 2);
    }
}

#[test]
fn a_journal_that_cannot_be_mended_refuses_appends_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = new_journal(dir.path());
    journal.append(&[record("one")]).unwrap();
    let segment = journal.tail.segment.path.clone();
    let away = dir.path().join("away");
    fs::rename(&segment, &away).unwrap();
    replace_descriptor(&mut journal, "/dev/full");
    for _ in 0..3 {
        journal.append(&[record("lost")]).unwrap_err();
    }
    assert!(matches!(
        journal.seal(),
        Err(JournalError::Io { action: "open", .. })
    ));
    fs::rename(&away, &segment).unwrap();
    assert_eq!(journal.append(&[record("two")]).unwrap(), 2);
    assert_eq!(verify(dir.path(), None).unwrap().records, 2);
}

#[test]
fn what_a_failed_write_left_behind_or_spoiled_is_put_right() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = new_journal(dir.path());
    // The durable end passes several blocks, in steps smaller and larger than one.
    for length in [10, 100, 5_000, 30, 4_096, 700, 9_000, 1] {
        journal.append(&[record(&"x".repeat(length))]).unwrap();
        let segment = journal.tail.segment.path.clone();
        let sound = fs::read(&segment).unwrap();
        let block = usize::try_from(journal.tail.length / BLOCK_BYTES * BLOCK_BYTES).unwrap();
        let mut spoiled = sound.clone();
        spoiled[block..].fill(0xaa);
        spoiled.extend_from_slice(b"half of a batch");
        fs::write(&segment, spoiled).unwrap();
        replace_descriptor(&mut journal, "/dev/full");
        journal.append(&[record("lost")]).unwrap_err();
        assert!(fs::read(&segment).unwrap() == sound, "after {length}");
    }
    assert_eq!(verify(dir.path(), None).unwrap().records, 8);
}

#[test]
fn a_segment_that_cannot_be_made_fails_the_append_and_is_made_later() {
    let dir = tempfile::tempdir().unwrap();
    let key = generate_signing_key().unwrap().to_vec();
    let options = Options {
        segment_bytes: 100,
        ..Options::new(key)
    };
    let mut journal = Journal::open(dir.path(), options).unwrap().journal;
    journal.append(&[record("one")]).unwrap();
    // A folder stands where the unfinished segment would be written.
    let obstacle = dir.path().join("00000000000000000002.seg.tmp");
    fs::create_dir(&obstacle).unwrap();
    for _ in 0..2 {
        let error = journal.append(&[record("lost")]).unwrap_err();
        assert!(
            matches!(error, JournalError::Io { action: "create", .. }),
            "{error}"
        );
    }
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(journal.append(&[record("two")]).unwrap(), 2);
    let verified = verify(dir.path(), None).unwrap();
    assert_eq!((verified.segments, verified.records), (2, 2));
}

#[test]
fn a_close_after_a_roll_whose_folder_could_not_be_synced_opens_again_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(generate_signing_key().unwrap().to_vec());
    let mut journal = Journal::open(dir.path(), options.clone()).unwrap().journal;
    journal.append(&[record("one")]).unwrap();
    journal.seal().unwrap();
    // What such a roll leaves: the file has its place, and the journal went on without it.
    let header = SegmentHeader {
        first: 2,
        before: journal.head().hash,
        public_key: key::public_key_of(&journal.key),
    };
    segment::create(dir.path(), &header).unwrap();
    journal.close().unwrap();
    assert_eq!(verify(dir.path(), None).unwrap().records, 1);
    let opened = Journal::open(dir.path(), options.clone()).unwrap();
    assert!(opened.clean);
    let mut journal = opened.journal;
    assert_eq!(journal.append(&[record("two")]).unwrap(), 2);
    journal.close().unwrap();
    let journal = Journal::open(dir.path(), options).unwrap().journal;
    assert_eq!(journal.reader().read(2).unwrap().unwrap().payload, b"two");
}

#[test]
fn what_another_key_signed_is_named_and_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(generate_signing_key().unwrap().to_vec());
    let mut journal = Journal::open(dir.path(), options.clone()).unwrap().journal;
    journal.append(&[record("one")]).unwrap();
    journal.key = key::parse(&generate_signing_key().unwrap()).unwrap();
    journal.seal().unwrap();
    drop(journal);
    for refused in [
        verify(dir.path(), None).err(),
        Journal::open(dir.path(), options).err(),
    ] {
        let error = refused.expect("it is refused").to_string();
        assert!(
            error.contains("its signature was not made by the journal key"),
            "{error}"
        );
    }
}
