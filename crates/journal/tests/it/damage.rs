//! What no crash leaves: the start stops and `verify` names the first bad entry, both with file, byte and position.

use std::fs;
use std::path::Path;

use journal::{Damage, Journal, JournalError, verify};
use tempfile::TempDir;

use crate::support::{
    ONE_SEGMENT, append_to, batches, change, copy, indexes, new_journal, options, segments,
};

fn open(dir: &Path) -> Result<Journal, JournalError> {
    Journal::open(dir, options(ONE_SEGMENT)).map(|opened| opened.journal)
}

fn unclosed(segment_bytes: u64, records: u64) -> TempDir {
    let (dir, mut journal) = new_journal(segment_bytes);
    append_to(&mut journal, records, 3);
    dir
}

fn closed() -> TempDir {
    let (dir, mut journal) = new_journal(ONE_SEGMENT);
    append_to(&mut journal, 20, 3);
    journal.close().unwrap();
    dir
}

#[track_caller]
fn assert_damaged<T>(outcome: Result<T, JournalError>, file: &Path, byte: usize) {
    match outcome.err().expect("damage is refused") {
        error @ JournalError::Damaged { .. } => {
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("{} at byte {byte}: position ", file.display())),
                "{text}"
            );
        }
        other => panic!("damage is named, not {other}"),
    }
}

#[test]
fn a_bit_flip_anywhere_makes_verification_name_file_byte_and_position() {
    let dir = unclosed(800, 15);
    assert!(segments(dir.path()).len() > 1);
    for segment in segments(dir.path()) {
        let sound = fs::read(&segment).unwrap();
        let batches = batches(&segment);
        for byte in 0..sound.len() {
            let mut flipped = sound.clone();
            flipped[byte] ^= 1 << (byte % 8);
            fs::write(&segment, flipped).unwrap();
            let error = verify(dir.path(), None).expect_err("a flip is noticed");
            let JournalError::Damaged {
                path, at, position, ..
            } = error
            else {
                panic!("{byte}: {error}")
            };
            let at = usize::try_from(at).unwrap();
            assert_eq!(path, segment);
            let Some(batch) = batches.iter().find(|batch| batch.bytes.contains(&byte)) else {
                assert_eq!(
                    (at, position),
                    (0, batches[0].first),
                    "flip of the segment's header at {byte}"
                );
                continue;
            };
            assert!(
                batch.bytes.contains(&at) && at <= byte,
                "flip at {byte} named at {at}"
            );
            assert!(
                (batch.first..=batch.first + batch.records).contains(&position),
                "{byte}: {position}"
            );
        }
        fs::write(&segment, sound).unwrap();
    }
    verify(dir.path(), None).unwrap();
}

#[test]
fn a_flip_in_a_record_names_that_record() {
    let dir = unclosed(ONE_SEGMENT, 24);
    let segment = segments(dir.path()).remove(0);
    change(&segment, |bytes| {
        let at = bytes
            .windows(10)
            .position(|window| window == b"record 17 ")
            .unwrap();
        bytes[at] ^= 1;
    });
    let error = verify(dir.path(), None).unwrap_err();
    assert!(matches!(
        error,
        JournalError::Damaged {
            position: 17,
            what: Damage::Checksum { of: "record", .. },
            ..
        }
    ));
}

#[test]
fn a_last_batch_that_is_whole_but_wrong_is_refused() {
    let dir = unclosed(ONE_SEGMENT, 12);
    let segment = segments(dir.path()).remove(0);
    let last = batches(&segment).pop().unwrap();
    for byte in last.bytes {
        let copy = copy(dir.path());
        let segment = segments(copy.path()).remove(0);
        change(&segment, |bytes| bytes[byte] ^= 0x10);
        let error = open(copy.path()).expect_err("a flip is noticed");
        assert!(
            matches!(&error, JournalError::Damaged { path, .. } if *path == segment),
            "{byte}: {error}"
        );
    }
}

#[test]
fn a_batch_that_is_followed_by_another_was_complete_once() {
    let dir = unclosed(ONE_SEGMENT, 60);
    let batches = batches(&segments(dir.path())[0]);
    let middle = &batches[batches.len() / 2].bytes;
    for unwritten in [middle.clone(), middle.start..middle.start + 64] {
        let copy = copy(dir.path());
        let segment = segments(copy.path()).remove(0);
        change(&segment, |bytes| bytes[unwritten].fill(0));
        assert_damaged(verify(copy.path(), None), &segment, middle.start);
        assert_damaged(open(copy.path()), &segment, middle.start);
    }
}

#[test]
fn batches_that_changed_places_are_refused() {
    let dir = unclosed(ONE_SEGMENT, 60);
    let segment = segments(dir.path()).remove(0);
    let batches = batches(&segment);
    let (second, third) = (batches[1].bytes.clone(), batches[2].bytes.clone());
    change(&segment, |bytes| {
        bytes[second.start..third.end].rotate_left(second.len())
    });
    assert_damaged(open(dir.path()), &segment, second.start);
}

#[test]
fn after_a_clean_close_any_other_end_is_damage() {
    let sound = closed();
    let segment = segments(sound.path()).remove(0);
    let batches = batches(&segment);
    let whole = fs::metadata(&segment).unwrap().len();
    let last_two = batches[batches.len() - 2].bytes.start;
    for end in last_two..usize::try_from(whole).unwrap() {
        let dir = copy(sound.path());
        let segment = segments(dir.path()).remove(0);
        change(&segment, |bytes| bytes.truncate(end));
        let good_end = batches
            .iter()
            .map(|batch| batch.bytes.end)
            .filter(|batch| *batch <= end)
            .max()
            .unwrap();
        assert_damaged(verify(dir.path(), None), &segment, good_end);
        assert_damaged(open(dir.path()), &segment, good_end);
        assert_eq!(
            fs::metadata(&segment).unwrap().len(),
            end as u64,
            "a refused journal is left as it is"
        );
    }
    open(sound.path()).unwrap();
}

#[test]
fn a_closed_journal_without_its_segments_is_damage_and_not_a_new_journal() {
    let dir = closed();
    let segment = segments(dir.path()).remove(0);
    fs::remove_file(&segment).unwrap();
    assert_damaged(open(dir.path()), &segment, 0);
    assert_damaged(verify(dir.path(), None), &segment, 0);
}

#[test]
fn a_broken_mark_of_a_clean_close_is_named() {
    let dir = closed();
    let mark = dir.path().join("closed");
    for byte in 0..fs::metadata(&mark).unwrap().len() {
        let byte = usize::try_from(byte).unwrap();
        let dir = copy(dir.path());
        let mark = dir.path().join("closed");
        change(&mark, |bytes| bytes[byte] ^= 4);
        assert_damaged(open(dir.path()), &mark, 0);
        fs::remove_file(mark).unwrap();
        assert!(
            !Journal::open(dir.path(), options(ONE_SEGMENT)).unwrap().clean,
            "as after a crash"
        );
    }
}

#[test]
fn a_stale_mark_is_never_left_behind_by_a_crash() {
    let dir = closed();
    let mut journal = open(dir.path()).unwrap();
    append_to(&mut journal, 25, 2);
    drop(journal);
    let opened = Journal::open(dir.path(), options(ONE_SEGMENT)).unwrap();
    assert_eq!((opened.clean, opened.journal.head().position), (false, 25));
}

#[test]
fn a_missing_segment_is_named() {
    let sound = unclosed(1024, 60);
    let number = segments(sound.path()).len();
    for missing in 0..number - 1 {
        let dir = copy(sound.path());
        let segments = segments(dir.path());
        fs::remove_file(&segments[missing]).unwrap();
        assert_damaged(verify(dir.path(), None), &segments[missing], 0);
        assert_damaged(open(dir.path()), &segments[missing], 0);
        let exported = journal::export(dir.path(), 1).unwrap().find_map(Result::err);
        assert_eq!(
            exported.is_some(),
            missing > 0,
            "an export cannot know what came before its first segment"
        );
    }
}

#[test]
fn a_missing_last_segment_is_named_where_something_shows_that_it_was_there() {
    let dir = unclosed(1024, 60);
    let last = segments(dir.path()).pop().unwrap();
    fs::remove_file(&last).unwrap();
    assert_damaged(verify(dir.path(), None), &last, 0);
    assert_damaged(open(dir.path()), &last, 0);
}

#[test]
fn a_sealed_segment_that_ends_early_is_damage_with_or_without_its_index() {
    for with_index in [true, false] {
        let dir = unclosed(1024, 60);
        let segment = segments(dir.path()).remove(1);
        let last = batches(&segment).pop().unwrap().bytes;
        if !with_index {
            indexes(dir.path())
                .iter()
                .for_each(|index| fs::remove_file(index).unwrap());
        }
        change(&segment, |bytes| bytes.truncate(last.end - 1));
        assert_damaged(verify(dir.path(), None), &segment, last.start);
        assert_damaged(open(dir.path()), &segment, last.start);
    }
}

#[test]
fn damage_in_a_sealed_segment_is_never_a_wrong_answer() {
    let dir = unclosed(1024, 60);
    let segment = segments(dir.path()).remove(0);
    let journal = open(dir.path()).unwrap();
    let record = fs::read(&segment)
        .unwrap()
        .windows(9)
        .position(|window| window == b"record 2 ")
        .unwrap();
    change(&segment, |bytes| bytes[record] ^= 1);
    let error = journal.reader().read(2).unwrap_err();
    assert!(
        matches!(&error, JournalError::Damaged { path, position: 2, .. } if *path == segment),
        "{error}"
    );
    let scanned = journal
        .reader()
        .scan(1)
        .find_map(Result::err)
        .expect("the scan meets it");
    assert!(matches!(scanned, JournalError::Damaged { position: 2, .. }));
}

#[test]
fn a_newer_format_is_refused_naming_both_versions() {
    let dir = closed();
    change(&segments(dir.path())[0], |bytes| {
        bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let checksum = crc32fast::hash(&[&bytes[..12], &bytes[16..88]].concat());
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    });
    for refused in [open(dir.path()).map(drop), verify(dir.path(), None).map(drop)] {
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains("format version 2, this program knows versions up to 1"),
            "{text}"
        );
    }
}

#[test]
fn files_that_only_look_like_segments_are_left_alone() {
    let dir = closed();
    for name in [
        "00000000000000000000.seg",
        "1.seg",
        "0000000000000000000x.seg",
        "notes.txt",
    ] {
        fs::write(dir.path().join(name), b"not of the journal").unwrap();
    }
    assert_eq!(verify(dir.path(), None).unwrap().records, 20);
    assert_eq!(open(dir.path()).unwrap().head().position, 20);
}
