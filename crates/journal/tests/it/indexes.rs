//! Index files hold nothing that the segments do not: missing or broken ones are made again, and never answer wrongly.

use std::fs;
use std::path::Path;

use journal::{Journal, JournalError, Reader};
use tempfile::TempDir;

use crate::support::{append_to, batches, change, copy, indexes, new_journal, options, segments, stored};

const RECORDS: u64 = 150;

/// A journal of several sealed segments, all with their index.
fn sealed() -> TempDir {
    let (dir, mut journal) = new_journal(4096);
    append_to(&mut journal, RECORDS, 10);
    journal.close().unwrap();
    assert!(indexes(dir.path()).len() >= 3);
    dir
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, options(4096)).unwrap().journal
}

fn assert_answers(reader: &Reader, case: &str) {
    for position in (1..=RECORDS).step_by(7) {
        assert_eq!(reader.find(1, position).unwrap(), [position], "{case}");
        assert_eq!(
            reader.read(position).unwrap().unwrap(),
            stored(position),
            "{case}"
        );
    }
    let expected: Vec<u64> = (1..=RECORDS).rev().filter(|position| position % 7 == 4).collect();
    assert_eq!(reader.find(2, 4).unwrap(), expected, "{case}");
    assert_eq!(reader.newest_of_kind(3).unwrap(), Some(RECORDS - 2), "{case}");
}

#[test]
fn each_sealed_segment_has_an_index_once_the_journal_is_closed() {
    let dir = sealed();
    let names = |files: Vec<std::path::PathBuf>| -> Vec<_> {
        files
            .iter()
            .map(|path| path.file_stem().unwrap().to_owned())
            .collect()
    };
    let mut sealed = names(segments(dir.path()));
    sealed.pop();
    assert_eq!(names(indexes(dir.path())), sealed);
}

#[test]
fn all_keys_of_a_field_are_listed_from_sealed_segments_and_the_open_one() {
    let dir = sealed();
    let reader = open(dir.path()).reader();
    for segment in reader.segments() {
        let expected: Vec<(u64, u64)> = (segment.first..=segment.last)
            .map(|position| (position, position))
            .collect();
        assert_eq!(reader.keys_of_segment(segment.last, 1).unwrap(), expected);
        let by_remainder = reader.keys_of_segment(segment.first, 2).unwrap();
        assert_eq!(by_remainder.len(), expected.len());
        assert!(by_remainder.is_sorted() && by_remainder.iter().all(|(key, position)| position % 7 == *key));
        assert!(reader.keys_of_segment(segment.first, 0).unwrap().is_empty());
    }
    assert!(reader.keys_of_segment(RECORDS + 1, 1).unwrap().is_empty());
}

#[test]
fn missing_indexes_are_made_again_at_the_start() {
    let dir = sealed();
    let before: Vec<_> = indexes(dir.path())
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    indexes(dir.path())
        .iter()
        .for_each(|path| fs::remove_file(path).unwrap());
    let journal = open(dir.path());
    let after: Vec<_> = indexes(dir.path())
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    assert!(before == after, "the same bytes");
    assert_answers(&journal.reader(), "made again");
}

#[test]
fn an_index_broken_at_any_byte_never_answers_wrongly_and_is_made_again() {
    let sound = sealed();
    let index = indexes(sound.path()).remove(1);
    let bytes = fs::read(&index).unwrap();
    for byte in (0..bytes.len()).step_by(37) {
        let dir = copy(sound.path());
        let index = indexes(dir.path()).remove(1);
        change(&index, |bytes| bytes[byte] ^= 1 << (byte % 8));
        let journal = open(dir.path());
        assert_answers(&journal.reader(), &format!("flip at {byte}"));
    }
    for length in [0, 100, 1024, bytes.len() - 1] {
        let dir = copy(sound.path());
        let index = indexes(dir.path()).remove(1);
        change(&index, |bytes| bytes.truncate(length));
        let journal = open(dir.path());
        assert_answers(&journal.reader(), &format!("cut at {length}"));
        assert!(fs::read(&index).unwrap() == bytes, "made again");
    }
}

#[test]
fn an_index_that_breaks_under_a_live_journal_is_made_again() {
    let dir = sealed();
    let journal = open(dir.path());
    let reader = journal.reader();
    let index = indexes(dir.path()).remove(0);
    let sound = fs::read(&index).unwrap();
    change(&index, |bytes| bytes[1024..].fill(0xff));
    assert_answers(&reader, "overwritten");
    assert!(fs::read(&index).unwrap() == sound);
    fs::remove_file(&index).unwrap();
    assert_answers(&reader, "removed");
    assert!(fs::read(&index).unwrap() == sound);
}

#[test]
fn an_index_made_again_from_a_segment_that_lost_its_end_answers_with_damage() {
    let dir = sealed();
    let journal = open(dir.path());
    let last = journal.reader().segments()[0].last;
    let segment = segments(dir.path()).remove(0);
    let records = batches(&segment)
        .into_iter()
        .rfind(|batch| batch.records > 0)
        .unwrap();
    change(&segment, |bytes| bytes.truncate(records.bytes.start));
    fs::remove_file(indexes(dir.path()).remove(0)).unwrap();
    let error = journal.reader().read(last).unwrap_err();
    assert!(
        matches!(&error, JournalError::Damaged { path, .. } if *path == segment),
        "{error}"
    );
    let scanned = journal
        .reader()
        .scan(1)
        .find_map(Result::err)
        .expect("the scan meets it");
    assert!(matches!(scanned, JournalError::Damaged { .. }), "{scanned}");
}

#[test]
fn a_stale_index_is_rebuilt_and_not_blamed_on_the_journal() {
    let dir = sealed();
    // An index with the right length and checksums that ends with another batch, as a copy of another time
    // leaves it.
    for (number, segment) in segments(dir.path()).iter().enumerate().take(2) {
        let index = segment.with_extension("idx");
        let sound = fs::read(&index).unwrap();
        change(&index, |bytes| {
            // The hash of the last batch: after checksum, magic, version and four numbers.
            bytes[48] ^= 1;
            let checksum = crc32fast::hash(&[&0_u64.to_le_bytes(), &bytes[4..1024]].concat());
            bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        });
        assert_answers(&open(dir.path()).reader(), &format!("stale index {number}"));
        assert!(fs::read(&index).unwrap() == sound, "rebuilt");
    }
}

#[test]
fn an_index_of_another_segment_is_not_believed() {
    let dir = sealed();
    let indexes = indexes(dir.path());
    fs::copy(&indexes[0], &indexes[1]).unwrap();
    assert_answers(&open(dir.path()).reader(), "swapped");
}
