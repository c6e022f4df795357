//! What a caller relies on: what was appended is found again, after a clean close and after a crash, and in every segment.

use journal::{Journal, Record, Stored};

use crate::support::{new_journal, options, record};

#[test]
fn what_was_appended_is_read_back_beside_the_journal_and_after_it() {
    let (dir, mut journal) = new_journal(1 << 20);
    let reader = journal.reader();
    assert_eq!(journal.append(&[record(1), record(2)]).unwrap(), 1);
    assert_eq!(journal.append(&[record(3)]).unwrap(), 3);
    for position in 1..=3 {
        assert_eq!(reader.read(position).unwrap().unwrap(), stored(position));
    }
    assert_eq!((reader.read(0).unwrap(), reader.read(4).unwrap()), (None, None));
    let head = journal.close().unwrap();

    let opened = Journal::open(dir.path(), options(1 << 20)).unwrap();
    assert!(opened.clean);
    assert_eq!(opened.cut, None);
    assert_eq!(opened.journal.head(), head);
    assert_eq!(
        opened
            .journal
            .reader()
            .scan(2)
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        [stored(2), stored(3)]
    );
}

fn stored(position: u64) -> Stored {
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
