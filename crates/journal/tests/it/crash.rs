//! What a crash leaves, by process or by power: the journal opens by itself, says what it cut, and holds all that was
//! acknowledged.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use journal::{Durable, Head, Journal, JournalError, export, verify};
use tempfile::TempDir;

use crate::support::{
    BatchAt, ONE_SEGMENT, append_to, batches, change, copy, new_journal, options, record, segments, stored,
};

/// A journal that was not closed, its head before the last batch, and where that batch lies.
struct Crashed {
    dir: TempDir,
    before: Head,
    last: BatchAt,
}

/// Each third batch is signed.
fn crashed(number: u64) -> Crashed {
    let (dir, mut journal) = new_journal(ONE_SEGMENT);
    let heads = append_to(&mut journal, number * 12, 12);
    drop(journal);
    let last = batches(&segments(dir.path())[0]).pop().unwrap();
    assert!(last.bytes.len() > 1_000, "the last batch has several sectors");
    Crashed {
        dir,
        before: heads[heads.len() - 2],
        last,
    }
}

impl Crashed {
    /// A copy whose segment was changed, and that segment, as a power cut leaves it: the note of what was
    /// acknowledged is behind.
    fn changed(&self, how: impl FnOnce(&mut Vec<u8>)) -> (TempDir, PathBuf) {
        let (copy, segment) = self.damaged(how);
        fs::remove_file(copy.path().join("acknowledged")).unwrap();
        (copy, segment)
    }

    /// A copy whose segment was changed, and that segment.
    fn damaged(&self, how: impl FnOnce(&mut Vec<u8>)) -> (TempDir, PathBuf) {
        let copy = copy(self.dir.path());
        let segment = segments(copy.path()).remove(0);
        change(&segment, how);
        (copy, segment)
    }

    /// The parts of the last batch by sectors of 512 bytes.
    fn sectors(&self) -> impl Iterator<Item = Range<usize>> {
        let Range { start, end } = self.last.bytes.clone();
        let first = start / 512 * 512;
        (first..end)
            .step_by(512)
            .map(move |sector| sector.max(start)..(sector + 512).min(end))
    }

    fn assert_cut(&self, dir: &Path, segment: &Path, bytes: usize, case: &str) {
        let verified = verify(dir, None).unwrap();
        let opened = Journal::open(dir, options(ONE_SEGMENT)).unwrap();
        assert!(!opened.clean, "{case}");
        let cut = opened.cut.expect(case);
        assert_eq!(
            (cut.path.as_path(), cut.at),
            (segment, self.last.bytes.start as u64),
            "{case}"
        );
        assert_eq!(
            (cut.bytes, cut.position),
            (bytes as u64, self.last.first),
            "{case}"
        );
        assert_eq!(opened.journal.head(), self.before, "{case}");
        assert_eq!((verified.torn, verified.head), (Some(cut), self.before), "{case}");
        assert_eq!(
            fs::metadata(segment).unwrap().len(),
            self.last.bytes.start as u64,
            "{case}"
        );
    }
}

#[test]
fn a_journal_that_was_not_closed_opens_with_all_it_acknowledged() {
    let (dir, mut journal) = new_journal(2048);
    append_to(&mut journal, 77, 5);
    let head = journal.head();
    drop(journal);
    let mut opened = Journal::open(dir.path(), options(2048)).unwrap();
    assert!(!opened.clean);
    assert_eq!(opened.cut, None);
    assert_eq!(opened.journal.head(), head);
    append_to(&mut opened.journal, 99, 5);
    let all: Vec<_> = opened.journal.reader().scan(1).map(Result::unwrap).collect();
    assert_eq!(all, (1..=99).map(stored).collect::<Vec<_>>());
    assert_eq!(
        verify(dir.path(), Some(head.hash)).unwrap().contains_head,
        Some(true)
    );
}

#[test]
fn a_last_batch_cut_at_any_byte_is_cut_off_and_reported() {
    for crashed in [crashed(2), crashed(3)] {
        for end in crashed.last.bytes.clone().skip(1) {
            let (dir, segment) = crashed.changed(|bytes| bytes.truncate(end));
            crashed.assert_cut(
                dir.path(),
                &segment,
                end - crashed.last.bytes.start,
                &format!("cut at {end}"),
            );
        }
    }
}

#[test]
fn a_last_batch_with_any_sector_unwritten_is_cut_off_and_reported() {
    for crashed in [crashed(2), crashed(3)] {
        for sector in crashed.sectors() {
            let (dir, segment) = crashed.changed(|bytes| bytes[sector.clone()].fill(0));
            crashed.assert_cut(
                dir.path(),
                &segment,
                crashed.last.bytes.len(),
                &format!("zeros in {sector:?}"),
            );
        }
    }
}

#[test]
fn a_file_that_grew_but_was_not_written_is_cut_back() {
    let mut crashed = crashed(5);
    crashed.before = verify(crashed.dir.path(), None).unwrap().head;
    let end = crashed.last.bytes.end;
    crashed.last = BatchAt {
        bytes: end..end,
        first: crashed.last.first + crashed.last.records,
        records: 0,
    };
    for zeros in [1, 63, 64, 5_000] {
        let (dir, segment) = crashed.changed(|bytes| bytes.resize(end + zeros, 0));
        crashed.assert_cut(dir.path(), &segment, zeros, &format!("{zeros} zeros"));
    }
}

#[test]
fn after_a_cut_the_journal_goes_on_at_the_same_position() {
    let crashed = crashed(5);
    let (dir, _) = crashed.changed(|bytes| bytes.truncate(crashed.last.bytes.end - 1));
    let mut journal = Journal::open(dir.path(), options(ONE_SEGMENT)).unwrap().journal;
    assert_eq!(
        journal.append(&[record(crashed.last.first)]).unwrap(),
        crashed.last.first
    );
    drop(journal);
    let opened = Journal::open(dir.path(), options(ONE_SEGMENT)).unwrap();
    assert_eq!(opened.cut, None);
    let last = opened.journal.reader().read(crashed.last.first).unwrap();
    assert_eq!(last, Some(stored(crashed.last.first)));
}

#[test]
fn a_torn_batch_that_is_known_to_have_been_durable_is_damage_and_stays() {
    let crashed = crashed(5);
    let (dir, segment) = crashed.changed(|bytes| bytes.truncate(crashed.last.bytes.end - 1));
    let known = |position| Durable {
        position,
        evidence: PathBuf::from("/elsewhere/index"),
    };
    let first = crashed.last.first;
    let refused = Journal::open_knowing(dir.path(), options(ONE_SEGMENT), Some(&known(first))).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("was acknowledged, as /elsewhere/index says"),
        "{text}"
    );
    assert!(matches!(refused, JournalError::Damaged { at, .. } if at == crashed.last.bytes.start as u64));
    assert_eq!(
        fs::metadata(segment).unwrap().len(),
        crashed.last.bytes.end as u64 - 1
    );
    Journal::open_knowing(dir.path(), options(ONE_SEGMENT), Some(&known(first - 1))).unwrap();
}

#[test]
fn an_acknowledged_last_batch_that_is_torn_is_damage_and_names_what_says_so() {
    let crashed = crashed(3);
    let sectors: Vec<_> = crashed.sectors().collect();
    for sector in sectors {
        let (dir, segment) = crashed.damaged(|bytes| bytes[sector.clone()].fill(0));
        let evidence = dir.path().join("acknowledged");
        for error in [
            Journal::open(dir.path(), options(ONE_SEGMENT))
                .map(drop)
                .unwrap_err(),
            verify(dir.path(), None).map(drop).unwrap_err(),
        ] {
            let text = error.to_string();
            let place = format!(
                "{} at byte {}: position",
                segment.display(),
                crashed.last.bytes.start
            );
            assert!(text.starts_with(&place), "{text}");
            assert!(
                text.contains(&format!("as {} says", evidence.display())),
                "{text}"
            );
        }
        assert_eq!(
            fs::metadata(&segment).unwrap().len(),
            crashed.last.bytes.end as u64,
            "a refused journal is left as it is"
        );
    }
}

#[test]
fn a_journal_that_lost_an_acknowledged_batch_as_a_whole_is_refused() {
    let crashed = crashed(3);
    let (dir, _) = crashed.damaged(|bytes| bytes.truncate(crashed.last.bytes.start));
    for error in [
        Journal::open(dir.path(), options(ONE_SEGMENT))
            .map(drop)
            .unwrap_err(),
        verify(dir.path(), None).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, JournalError::RolledBack { .. }), "{error}");
    }
}

#[test]
fn a_note_of_what_was_acknowledged_that_is_broken_says_nothing() {
    let crashed = crashed(3);
    for (byte, bit) in [(0, 1), (8, 64), (19, 128)] {
        let (dir, _) = crashed.damaged(|bytes| bytes.truncate(crashed.last.bytes.end - 1));
        change(&dir.path().join("acknowledged"), |bytes| bytes[byte] ^= bit);
        assert!(
            Journal::open(dir.path(), options(ONE_SEGMENT))
                .unwrap()
                .cut
                .is_some()
        );
    }
}

#[test]
fn a_journal_that_was_rolled_back_is_refused_naming_both_positions() {
    let crashed = crashed(5);
    let known = Durable {
        position: 61,
        evidence: PathBuf::from("/elsewhere/index"),
    };
    let refused = Journal::open_knowing(crashed.dir.path(), options(ONE_SEGMENT), Some(&known))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("ends at position 60, but position 61 was durable before, as /elsewhere/index says"),
        "{refused}"
    );
}

#[test]
fn a_crash_between_a_new_segment_and_its_first_batch_is_no_damage() {
    let (dir, mut journal) = new_journal(2048);
    while segments(dir.path()).len() < 2 {
        let next = journal.head().position + 1;
        append_to(&mut journal, next, 1);
    }
    drop(journal);
    fs::remove_file(dir.path().join("acknowledged")).unwrap();
    let newest = segments(dir.path()).pop().unwrap();
    fs::write(newest.with_extension("seg.tmp"), b"half a header").unwrap();
    change(&newest, |bytes| bytes.truncate(88));
    let before = export(dir.path(), 1).unwrap().map(Result::unwrap).count() as u64;
    let opened = Journal::open(dir.path(), options(2048)).unwrap();
    assert_eq!((opened.cut, opened.journal.head().position), (None, before));
    let mut journal = opened.journal;
    append_to(&mut journal, 30, 1);
    let all: Vec<_> = journal.reader().scan(1).map(Result::unwrap).collect();
    assert_eq!(all, (1..=30).map(stored).collect::<Vec<_>>());
    // Its thread may still be writing the index of a segment.
    drop(journal);
    let leftovers = fs::read_dir(dir.path()).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|extension| extension == "tmp")
    });
    assert_eq!(leftovers.count(), 0);
}
