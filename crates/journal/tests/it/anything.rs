//! Property: whatever was appended, in whatever batches, across whatever stops, is what is read.

use journal::{Journal, Record, export, verify};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert_eq, proptest};

use crate::support::{options, quick_folder};

#[derive(Clone, Debug)]
enum Act {
    Append(Vec<Record>),
    Close,
    Crash,
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (
        any::<u8>(),
        any::<i64>(),
        vec((0..3_u8, 0..20_u64), 0..6),
        vec(any::<u8>(), 0..900),
    );
    vec(
        record.prop_map(|(kind, ends, keys, payload)| Record {
            kind,
            ends,
            keys,
            payload,
        }),
        0..8,
    )
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop::strategy::Union::new_weighted(vec![
        (8, records().prop_map(Act::Append).boxed()),
        (1, prop::strategy::Just(Act::Close).boxed()),
        (1, prop::strategy::Just(Act::Crash).boxed()),
    ]);
    vec(act, 1..30)
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_was_appended_is_read_back(acts in acts(), segment_bytes in 100..20_000_u64) {
        let dir = quick_folder();
        let open = || Journal::open(dir.path(), options(segment_bytes)).unwrap();
        let mut journal = open().journal;
        let mut all: Vec<Record> = Vec::new();
        for act in acts {
            match act {
                Act::Append(records) => {
                    prop_assert_eq!(journal.append(&records).unwrap(), all.len() as u64 + 1);
                    all.extend(records);
                }
                Act::Close => {
                    journal.close().unwrap();
                    let opened = open();
                    prop_assert_eq!((opened.clean, opened.cut), (true, None));
                    journal = opened.journal;
                }
                Act::Crash => {
                    drop(journal);
                    let opened = open();
                    prop_assert_eq!((opened.clean, opened.cut), (false, None));
                    journal = opened.journal;
                }
            }
        }
        assert_holds(&journal, &all);
        drop(journal);
        assert_holds(&open().journal, &all);
        let verified = verify(dir.path(), None).unwrap();
        prop_assert_eq!((verified.records, verified.torn), (all.len() as u64, None));
        let exported = export(dir.path(), 1).unwrap().map(Result::unwrap);
        prop_assert_eq!(exported.map(|stored| stored.position).collect::<Vec<_>>(), (1..=verified.records).collect::<Vec<_>>());
    }
}

fn assert_holds(journal: &Journal, all: &[Record]) {
    let reader = journal.reader();
    let numbered = || (1_u64..).zip(all);
    assert_eq!(reader.head().position, all.len() as u64);
    let scanned: Vec<_> = reader.scan(1).map(Result::unwrap).collect();
    assert_eq!(scanned.len(), all.len());
    for ((position, record), scanned) in numbered().zip(scanned) {
        let read = reader.read(position).unwrap().unwrap();
        assert_eq!(
            (read.position, read.kind, read.ends),
            (position, record.kind, record.ends)
        );
        assert_eq!((&read.payload, &read), (&record.payload, &scanned));
    }
    for key in (0..3).flat_map(|field| (0..20).map(move |fingerprint| (field, fingerprint))) {
        let mut expected: Vec<u64> = numbered()
            .filter(|(_, record)| record.keys.contains(&key))
            .map(|(position, _)| position)
            .collect();
        expected.reverse();
        assert_eq!(reader.find(key.0, key.1).unwrap(), expected, "{key:?}");
    }
    for kind in 0..=255 {
        let expected = numbered()
            .filter(|(_, record)| record.kind == kind)
            .map(|(position, _)| position)
            .last();
        assert_eq!(reader.newest_of_kind(kind).unwrap(), expected);
    }
}
