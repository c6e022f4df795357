//! How much of the journal a decision reads: no more for a caller with very many certificates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use identity::Reason;
use journal::Head;
use proto::Refusal;

use crate::store::bindings::Bindings;
use crate::store::entry::Entry;
use crate::store::journaled::Start;
use crate::store::memory::Memory;
use crate::store::tests::support::{HOUR, Subject, TestClock, ask};
use crate::store::{Journaled, Records, State, Verdict};

/// Counts what is read.
struct Counted {
    memory: Memory,
    reads: Arc<AtomicUsize>,
}

impl Records for Counted {
    fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.memory.entry(position)
    }

    fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal> {
        panic!("field {field} is looked up for {fingerprint}: what is valid is in memory");
    }

    fn head(&self) -> Head {
        self.memory.head()
    }
}

#[test]
fn a_decision_reads_the_same_whatever_the_number_of_a_callers_certificates() {
    let (memory, clock) = (Memory::default(), TestClock::new());
    let reads = Arc::new(AtomicUsize::new(0));
    let mut state = State::default();
    *state.bindings_mut() = Bindings::complete();
    let store = Journaled::start(Start {
        records: Arc::new(Counted {
            memory: memory.clone(),
            reads: Arc::clone(&reads),
        }),
        medium: memory,
        state: Arc::new(std::sync::RwLock::new(state)),
        snapshot: 0,
        clock: clock.clone(),
        health: Arc::default(),
    })
    .unwrap();
    let subject = Subject::new(Arc::new(store), clock, None);
    let (parent, _) = subject.issue(&ask("a", 1).life(24 * HOUR));
    let renewal = |request: u64, life: i64| {
        let mut renewal = ask("a", 2).parent_of(parent, 1, 24 * HOUR).life(life);
        renewal.facts.wish[..8].copy_from_slice(&request.to_be_bytes());
        renewal
    };
    let read = |work: &dyn Fn()| {
        let before = reads.load(Ordering::SeqCst);
        work();
        reads.load(Ordering::SeqCst) - before
    };
    for request in 0..3000 {
        // All sorts of lifetimes, most of which end before the others.
        let life = 10 + i64::try_from(request % 100).unwrap();
        subject.issue(&renewal(request, life));
    }
    subject.issue(&renewal(3000, HOUR));
    subject.pass(60);
    let judged = read(&|| {
        assert_eq!(
            subject.judge(&renewal(9999, HOUR)),
            Ok(Verdict::New { fork: false })
        );
        assert_eq!(
            subject.judge(&ask("b", 2)).unwrap_err().reason(),
            Reason::KeyBound
        );
    });
    assert!(judged <= 4, "{judged} records are read for two decisions");
}
