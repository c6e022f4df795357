//! A disk that refuses: nothing is done, everybody is told, and it comes back by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use identity::Reason;
use journal::Record;

use crate::store::journaled::Start;
use crate::store::memory::Memory;
use crate::store::tests::support::{HOUR, START, Subject, TestClock, apply, ask};
use crate::store::{Journaled, Medium, RowKey, RowKind, StoreError};

/// Refuses to write while it is told to.
struct Faulty {
    memory: Memory,
    is_full: Arc<AtomicBool>,
}

impl Medium for Faulty {
    fn append(&mut self, records: &[Record]) -> Result<(), String> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(String::from("no space left on device"));
        }
        self.memory.append(records)
    }

    fn note(&mut self, position: u64, changes: HashMap<RowKey, Option<RowKind>>) {
        self.memory.note(position, changes);
    }

    fn has_ended(&self, now: i64) -> impl Fn(u64) -> bool {
        self.memory.has_ended(now)
    }

    fn close(self) -> Result<(), StoreError> {
        self.memory.close()
    }
}

fn faulty() -> (Subject, Arc<AtomicBool>) {
    let (memory, clock, is_full) = (
        Memory::default(),
        TestClock::new(),
        Arc::new(AtomicBool::new(false)),
    );
    let store = Journaled::start(Start {
        records: Arc::new(memory.clone()),
        medium: Faulty {
            memory,
            is_full: Arc::clone(&is_full),
        },
        state: Arc::default(),
        snapshot: 0,
        clock: clock.clone(),
        health: Arc::default(),
    })
    .unwrap();
    (Subject::new(Arc::new(store), clock, None), is_full)
}

#[test]
fn what_cannot_be_written_is_not_done_and_said() {
    let (subject, is_full) = faulty();
    subject.token("t", HOUR);
    let before = subject.store.read().clone();
    is_full.store(true, Ordering::SeqCst);
    let refusal = subject.try_issue(&ask("a", 1).token("t")).unwrap_err();
    assert_eq!(refusal.reason(), Reason::StoreUnavailable);
    assert!(
        refusal.message().contains("no space left"),
        "{}",
        refusal.message()
    );
    assert!(refusal.delay().is_some());
    assert_eq!(*subject.store.read(), before);
    assert_eq!(
        subject.store.health().borrow().as_deref(),
        Some("no space left on device")
    );

    is_full.store(false, Ordering::SeqCst);
    subject.issue(&ask("a", 2).token("t"));
    assert_eq!(*subject.store.health().borrow(), None);
}

#[tokio::test]
async fn it_recovers_by_itself_when_nobody_asks() {
    let (subject, is_full) = faulty();
    is_full.store(true, Ordering::SeqCst);
    let (command, _) = subject.command(&ask("a", 1));
    subject.store.submit(command).await.unwrap().unwrap_err();
    let mut health = subject.store.health();
    is_full.store(false, Ordering::SeqCst);
    tokio::time::timeout(Duration::from_secs(20), health.wait_for(Option::is_none))
        .await
        .unwrap()
        .unwrap();
    let head = subject.store.head().position;
    let entry = subject.store.entry(head).unwrap().unwrap();
    assert_eq!((entry.action.as_str(), entry.at), ("recording again", START));
}

#[test]
fn a_change_that_is_too_large_for_the_journal_is_refused_alone() {
    let (subject, _) = faulty();
    let large = "x".repeat(journal::MAX_BATCH_BYTES);
    let documents = [("large", large.as_str())];
    let too_large = subject.store.submit(apply(&documents, false));
    let (command, _) = subject.command(&ask("a", 1));
    let other = subject.store.submit(command);
    let refusal = too_large.blocking_recv().unwrap().unwrap_err();
    assert_eq!(refusal.reason(), Reason::TooLarge, "{refusal}");
    other.blocking_recv().unwrap().unwrap();
    assert_eq!(*subject.store.health().borrow(), None);
}

#[test]
fn a_closed_store_answers_that_it_is_closed_and_goes_on_being_read() {
    let (subject, _) = faulty();
    let (serial, position) = subject.issue(&ask("a", 1));
    subject.store.close().unwrap();
    assert_eq!(
        subject.try_issue(&ask("a", 1)).unwrap_err().reason(),
        Reason::StoreUnavailable
    );
    let entry = subject.store.entry(position).unwrap().unwrap();
    assert_eq!(entry.issued.unwrap().serial, serial.as_bytes());
}
