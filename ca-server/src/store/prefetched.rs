//! Decisions without a disk under the lock: the state is locked only while nothing but memory is looked at.
//! What a decision needs of the journal is read between two tries, so that a slow disk holds up the caller
//! that needs it and no other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use identity::Reason;
use journal::Head;
use proto::Refusal;

use super::entry::Entry;
use super::medium::Records;

/// Decides, as often as it takes until all that the decision needs of the journal is in memory.
pub(super) fn decide<T>(
    journal: &dyn Records,
    decide: impl Fn(&dyn Records) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let records = Prefetched {
        head: journal.head(),
        read: Mutex::default(),
    };
    loop {
        let decision = decide(&records);
        let missing = records.read().missing.take();
        match missing {
            None => return decision,
            Some(Missing::Entry(position)) => {
                let entry = journal.entry(position)?;
                records.read().entries.insert(position, entry);
            }
            Some(Missing::Find(field, fingerprint)) => {
                let positions = journal.find(field, fingerprint)?;
                records.read().positions.insert((field, fingerprint), positions);
            }
        }
    }
}

/// What was read of the journal for one decision.
struct Prefetched {
    head: Head,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    entries: HashMap<u64, Option<Entry>>,
    positions: HashMap<(u8, u64), Vec<u64>>,
    /// What the last try lacked.
    missing: Option<Missing>,
}

enum Missing {
    Entry(u64),
    Find(u8, u64),
}

impl Prefetched {
    fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records for Prefetched {
    fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal> {
        let mut read = self.read();
        if let Some(entry) = read.entries.get(&position) {
            return Ok(entry.clone());
        }
        read.missing = Some(Missing::Entry(position));
        Err(not_read())
    }

    fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal> {
        let mut read = self.read();
        if let Some(positions) = read.positions.get(&(field, fingerprint)) {
            return Ok(positions.clone());
        }
        read.missing = Some(Missing::Find(field, fingerprint));
        Err(not_read())
    }

    fn head(&self) -> Head {
        self.head
    }
}

/// Ends a try. No caller sees it.
fn not_read() -> Refusal {
    Refusal::new(Reason::Internal, "the journal is read in between")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A journal that must not be read while the state is locked.
    struct Slow<'a>(&'a AtomicBool);

    impl Records for Slow<'_> {
        fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal> {
            assert!(!self.0.load(Ordering::SeqCst), "read under the lock");
            let at = i64::try_from(position).unwrap();
            Ok((position < 9).then(|| Entry {
                at,
                ..Entry::default()
            }))
        }

        fn find(&self, _: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal> {
            assert!(!self.0.load(Ordering::SeqCst), "read under the lock");
            Ok(vec![fingerprint, 9])
        }

        fn head(&self) -> Head {
            Head::EMPTY
        }
    }

    #[test]
    fn the_journal_is_read_between_tries_and_each_thing_once() {
        let (locked, tries) = (AtomicBool::new(false), Cell::new(0));
        let times = decide(&Slow(&locked), |records| {
            locked.store(true, Ordering::SeqCst);
            tries.set(tries.get() + 1);
            let times = records.find(1, 4).and_then(|positions| {
                let entries = positions.iter().map(|position| records.entry(*position));
                entries.collect::<Result<Vec<_>, _>>()
            });
            locked.store(false, Ordering::SeqCst);
            times
        });
        let times: Vec<_> = times.unwrap().into_iter().map(|e| e.map(|e| e.at)).collect();
        assert_eq!((times, tries.get()), (vec![Some(4), None], 4));
    }
}
