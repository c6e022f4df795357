//! What a caller relies on: what was appended is found again, by position, key and kind, in every segment, and after a
//! restart.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use journal::{
    Head, Journal, JournalError, MAX_BATCH_BYTES, Options, Record, export, generate_signing_key, public_key,
    verify,
};

use crate::support::{ONE_SEGMENT, append_to, new_journal, options, record, segments, stored};

#[test]
fn what_was_appended_is_read_back_beside_the_journal_and_after_it() {
    let (dir, mut journal) = new_journal(ONE_SEGMENT);
    let reader = journal.reader();
    assert_eq!(journal.append(&[record(1), record(2)]).unwrap(), 1);
    assert_eq!(journal.append(&[record(3)]).unwrap(), 3);
    for position in 1..=3 {
        assert_eq!(reader.read(position).unwrap().unwrap(), stored(position));
    }
    assert_eq!((reader.read(0).unwrap(), reader.read(4).unwrap()), (None, None));
    let head = journal.close().unwrap();

    let opened = Journal::open(dir.path(), options(ONE_SEGMENT)).unwrap();
    assert!(opened.clean);
    assert_eq!(opened.cut, None);
    assert_eq!(opened.journal.head(), head);
    let rest: Vec<_> = opened.journal.reader().scan(2).map(Result::unwrap).collect();
    assert_eq!(rest, [stored(2), stored(3)]);
}

#[test]
fn appending_nothing_writes_nothing() {
    let (_dir, mut journal) = new_journal(ONE_SEGMENT);
    append_to(&mut journal, 2, 1);
    let head = journal.head();
    assert_eq!(journal.append(&[]).unwrap(), 3);
    assert_eq!(journal.head(), head);
}

#[test]
fn records_longer_than_one_read_come_back_whole() {
    let (_dir, mut journal) = new_journal(ONE_SEGMENT);
    let long = Record {
        payload: vec![7; 300_000],
        ..record(1)
    };
    journal.append(&[long.clone(), record(2)]).unwrap();
    assert_eq!(journal.reader().read(1).unwrap().unwrap().payload, long.payload);
    assert_eq!(journal.reader().read(2).unwrap().unwrap(), stored(2));
}

#[test]
fn records_that_the_format_has_no_room_for_are_refused_and_the_journal_goes_on() {
    let (_dir, mut journal) = new_journal(ONE_SEGMENT);
    let many_keys = Record {
        keys: vec![(1, 1); 256],
        ..record(1)
    };
    let long = Record {
        payload: vec![1; MAX_BATCH_BYTES],
        ..record(1)
    };
    for record in [many_keys, long] {
        assert!(matches!(
            journal.append(&[record]),
            Err(JournalError::TooLarge { .. })
        ));
    }
    assert_eq!(journal.append(&[record(1)]).unwrap(), 1);
}

#[test]
fn keys_are_found_across_many_segments_newest_first() {
    let (dir, mut journal) = new_journal(4096);
    append_to(&mut journal, 2_000, 7);
    let reader = journal.reader();
    let expected: Vec<u64> = (1..=2_000).rev().filter(|position| position % 7 == 3).collect();
    assert_eq!(reader.find(2, 3).unwrap(), expected);
    assert_eq!(reader.find(1, 1_234).unwrap(), [1_234]);
    assert!(reader.find(1, 2_001).unwrap().is_empty());
    assert!(reader.find(3, 3).unwrap().is_empty());
    journal.close().unwrap();
    let journal = Journal::open(dir.path(), options(4096)).unwrap().journal;
    assert!(segments(dir.path()).len() > 20);
    assert_eq!(journal.reader().find(2, 3).unwrap(), expected);
}

#[test]
fn many_keys_in_one_open_segment_are_found() {
    let (_dir, mut journal) = new_journal(64 << 20);
    let records: Vec<Record> = (1..=6_000).map(record).collect();
    for records in records.chunks(500) {
        journal.append(records).unwrap();
    }
    let reader = journal.reader();
    for position in 1..=6_000 {
        assert_eq!(reader.find(1, position).unwrap(), [position]);
    }
    let expected: Vec<u64> = (1..=6_000).rev().filter(|position| position % 7 == 5).collect();
    assert_eq!(reader.find(2, 5).unwrap(), expected);
}

#[test]
fn a_key_given_twice_to_one_record_is_one_hit() {
    let (_dir, mut journal) = new_journal(ONE_SEGMENT);
    journal
        .append(&[Record {
            keys: vec![(1, 5), (1, 5)],
            ..record(1)
        }])
        .unwrap();
    assert_eq!(journal.reader().find(1, 5).unwrap(), [1]);
}

#[test]
fn the_newest_record_of_a_kind_is_known_in_whatever_segment_it_lies() {
    let (dir, mut journal) = new_journal(2048);
    let snapshot = |text: &[u8]| Record {
        kind: 200,
        payload: text.to_vec(),
        ..Record::default()
    };
    journal.append(&[snapshot(b"first")]).unwrap();
    let newest = journal.append(&[record(2), snapshot(b"second")]).unwrap() + 1;
    append_to(&mut journal, 500, 5);
    assert_eq!(journal.reader().newest_of_kind(200).unwrap(), Some(newest));
    assert_eq!(journal.reader().newest_of_kind(201).unwrap(), None);
    drop(journal);
    let reader = Journal::open(dir.path(), options(2048)).unwrap().journal.reader();
    assert_eq!(reader.newest_of_kind(200).unwrap(), Some(newest));
    assert_eq!(reader.read(newest).unwrap().unwrap().payload, b"second");
    assert_eq!(reader.newest_of_kind(0).unwrap(), Some(500));
}

#[test]
fn segments_tell_their_positions_and_latest_expiry() {
    let (_dir, mut journal) = new_journal(2048);
    append_to(&mut journal, 100, 4);
    let facts = journal.reader().segments();
    assert!(facts.len() > 2);
    assert_eq!((facts[0].first, facts[facts.len() - 1].last), (1, 100));
    for pair in facts.windows(2) {
        assert_eq!(pair[0].last + 1, pair[1].first);
    }
    for segment in facts {
        assert_eq!(
            segment.latest_expiry,
            1_000 + i64::try_from(segment.last).unwrap()
        );
    }
}

#[test]
fn a_scan_and_an_export_give_the_same_records_from_any_position() {
    let (dir, mut journal) = new_journal(1024);
    append_to(&mut journal, 60, 4);
    for from in 0..=62 {
        let expected: Vec<_> = (from.max(1)..=60).map(stored).collect();
        let scanned: Vec<_> = journal.reader().scan(from).map(Result::unwrap).collect();
        assert_eq!(scanned, expected, "scan from {from}");
        let exported: Vec<_> = export(dir.path(), from).unwrap().map(Result::unwrap).collect();
        assert_eq!(exported, expected, "export from {from}");
    }
}

#[test]
fn a_scan_goes_on_with_what_is_appended_before_it_ends() {
    let (_dir, mut journal) = new_journal(1024);
    append_to(&mut journal, 10, 4);
    let mut scan = journal.reader().scan(1);
    let mut positions: Vec<u64> = scan
        .by_ref()
        .take(9)
        .map(|stored| stored.unwrap().position)
        .collect();
    append_to(&mut journal, 30, 4);
    positions.extend(scan.map(|stored| stored.unwrap().position));
    assert_eq!(positions, (1..=30).collect::<Vec<_>>());
}

#[test]
fn a_second_opener_is_refused_until_the_first_has_gone() {
    let (dir, journal) = new_journal(ONE_SEGMENT);
    let second = Journal::open(dir.path(), options(ONE_SEGMENT));
    assert!(matches!(second, Err(JournalError::InUse { .. })));
    drop(journal);
    Journal::open(dir.path(), options(ONE_SEGMENT)).unwrap();
}

#[test]
fn journals_in_two_folders_do_not_meet() {
    let (first_dir, mut first) = new_journal(1024);
    let (second_dir, mut second) = new_journal(1024);
    thread::scope(|scope| {
        scope.spawn(|| append_to(&mut first, 200, 3));
        scope.spawn(|| append_to(&mut second, 300, 5));
    });
    let heads = [first.close().unwrap(), second.close().unwrap()];
    for (dir, head, records) in [(first_dir, heads[0], 200), (second_dir, heads[1], 300)] {
        let verified = verify(dir.path(), Some(head.hash)).unwrap();
        assert_eq!((verified.records, verified.contains_head), (records, Some(true)));
    }
}

#[test]
fn another_key_is_refused_and_no_key_too() {
    let (dir, journal) = new_journal(ONE_SEGMENT);
    journal.close().unwrap();
    let other = Options::new(generate_signing_key().unwrap().to_vec());
    assert!(matches!(
        Journal::open(dir.path(), other),
        Err(JournalError::OtherKey { .. })
    ));
    let none = Options::new(b"no key".to_vec());
    assert!(matches!(
        Journal::open(dir.path(), none),
        Err(JournalError::BadKey { .. })
    ));
}

#[test]
fn verification_counts_and_names_the_key_and_the_heads_that_were() {
    let (dir, mut journal) = new_journal(2048);
    let heads = append_to(&mut journal, 90, 3);
    for head in heads.iter().chain([&Head::EMPTY]) {
        assert_eq!(
            verify(dir.path(), Some(head.hash)).unwrap().contains_head,
            Some(true)
        );
    }
    assert_eq!(
        verify(dir.path(), Some([9; 32])).unwrap().contains_head,
        Some(false)
    );
    let head = journal.close().unwrap();
    let verified = verify(dir.path(), None).unwrap();
    assert_eq!(
        (verified.records, verified.head, verified.contains_head),
        (90, head, None)
    );
    assert_eq!((verified.signed_to, verified.torn), (90, None));
    assert_eq!(verified.segments, segments(dir.path()).len() as u64);
    assert_eq!(
        verified.public_key,
        public_key(&options(0).signing_key_pkcs8).unwrap()
    );
}

#[test]
fn a_batch_is_signed_as_often_as_asked() {
    let (dir, mut journal) = new_journal(ONE_SEGMENT);
    append_to(&mut journal, 8, 1);
    let verified = verify(dir.path(), None).unwrap();
    assert_eq!((verified.signatures, verified.signed_to), (2, 6));
    journal.seal().unwrap();
    assert_eq!(verify(dir.path(), None).unwrap().signed_to, 8);
}

#[test]
fn verification_beside_a_live_journal_finds_no_damage() {
    let (dir, mut journal) = new_journal(8192);
    thread::scope(|scope| {
        let writer = scope.spawn(|| append_to(&mut journal, 3_000, 5));
        while !writer.is_finished() {
            verify(dir.path(), None).unwrap();
            export(dir.path(), 1)
                .unwrap()
                .for_each(|stored| drop(stored.unwrap()));
        }
    });
    assert_eq!(verify(dir.path(), None).unwrap().records, 3_000);
}

#[test]
fn readers_see_whole_batches_only_while_appends_go_on() {
    let (_dir, mut journal) = new_journal(8192);
    let reader = journal.reader();
    thread::scope(|scope| {
        let writer = scope.spawn(|| append_to(&mut journal, 3_000, 5));
        while !writer.is_finished() {
            let position = reader.head().position;
            assert_eq!(position % 5, 0);
            if position > 0 {
                assert_eq!(reader.read(position).unwrap().unwrap(), stored(position));
                assert_eq!(reader.find(1, position).unwrap(), [position]);
            }
        }
    });
}

#[test]
fn a_journal_is_its_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("journal");
    let journal = Journal::open(&dir, options(ONE_SEGMENT)).unwrap().journal;
    journal.close().unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.clone()), 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        assert_eq!(mode(entry.unwrap().path()), 0o600);
    }
}
