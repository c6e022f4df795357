//! A disk that does not answer, and a writer that ends by a panic: health reports it, callers are refused, no
//! place among the requests in flight is free before its command was answered, and no close waits without a
//! deadline.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use identity::Reason;
use journal::Record;
use proto::Refusal;
use tokio::sync::Semaphore;

use crate::in_flight::Place;
use crate::metrics::Metrics;
use crate::store::journaled::{QUEUE, Start};
use crate::store::memory::Memory;
use crate::store::tests::support::{Ask, HOUR, Subject, TestClock, ask};
use crate::store::{Command, Journaled, Medium, Outcome, RowKey, RowKind, Store, StoreError};

const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Works,
    Hangs,
    Panics,
}

/// The disk under a store: what it does, and whether an append has begun.
struct Disk {
    state: Mutex<(Behaviour, bool)>,
    changed: Condvar,
}

impl Disk {
    fn set(&self, behaviour: Behaviour) {
        self.state.lock().unwrap().0 = behaviour;
        self.changed.notify_all();
    }

    /// Waits until an append has begun that does not return.
    fn hangs(&self) {
        let state = self.state.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(state, DEADLINE, |(_, hanging)| !*hanging);
        assert!(waited.unwrap().0.1, "no append began");
    }
}

struct OnDisk {
    memory: Memory,
    disk: Arc<Disk>,
}

impl Medium for OnDisk {
    fn append(&mut self, records: &[Record]) -> Result<(), String> {
        let mut state = self.disk.state.lock().unwrap();
        while state.0 == Behaviour::Hangs {
            state.1 = true;
            self.disk.changed.notify_all();
            state = self.disk.changed.wait(state).unwrap();
        }
        state.1 = false;
        let behaviour = state.0;
        drop(state);
        assert_ne!(behaviour, Behaviour::Panics, "on purpose");
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

fn subject() -> (Subject, Arc<Disk>) {
    let (memory, clock) = (Memory::default(), TestClock::new());
    let disk = Arc::new(Disk {
        state: Mutex::new((Behaviour::Works, false)),
        changed: Condvar::new(),
    });
    let store = Journaled::start(Start {
        records: Arc::new(memory.clone()),
        medium: OnDisk {
            memory,
            disk: Arc::clone(&disk),
        },
        state: Arc::default(),
        snapshot: 0,
        clock: clock.clone(),
        health: Arc::default(),
    })
    .unwrap();
    (Subject::new(Arc::new(store), clock, None), disk)
}

fn command(subject: &Subject, ask: &Ask) -> Command {
    subject.command(ask).0
}

/// Waits until health says that the journal does not answer.
async fn stalled(store: &dyn Store) -> String {
    let mut health = store.health();
    let trouble = tokio::time::timeout(DEADLINE, health.wait_for(Option::is_some));
    trouble.await.unwrap().unwrap().clone().unwrap()
}

async fn recovered(store: &dyn Store) {
    let mut health = store.health();
    let recovered = tokio::time::timeout(DEADLINE, health.wait_for(Option::is_none));
    recovered.await.unwrap().unwrap();
}

fn assert_unavailable(refusal: &Refusal, part: &str) {
    assert_eq!(refusal.reason(), Reason::StoreUnavailable, "{refusal}");
    assert!(refusal.message().contains(part), "{refusal}");
    assert!(refusal.delay().is_some(), "{refusal}");
}

#[tokio::test]
async fn while_the_disk_hangs_callers_are_refused_and_after_it_answers_the_recorded_certificate_is_returned()
{
    let (subject, disk) = subject();
    let store = &subject.store;
    store
        .submit(Command::CreateToken {
            token: super::support::token_row("t", subject.now() + HOUR),
            registration: None,
            by: super::support::by(),
        })
        .settled()
        .await
        .unwrap();
    disk.set(Behaviour::Hangs);
    let request = ask("a", 1).token("t");
    let mut writing = store.submit(command(&subject, &request));
    disk.hangs();
    let mut waiting = store.submit(command(&subject, &ask("b", 2)));

    let trouble = stalled(store.as_ref()).await;
    assert!(
        trouble.starts_with("the journal has not answered for "),
        "{trouble}"
    );
    assert_unavailable(
        &writing.decided().await.unwrap_err(),
        "unknown whether this request was recorded",
    );
    assert!(writing.is_open(), "the answer is still to come");
    assert_unavailable(&waiting.decided().await.unwrap_err(), "nothing was done");
    let refusal = store
        .submit(command(&subject, &ask("c", 3)))
        .decided()
        .await
        .unwrap_err();
    assert_unavailable(&refusal, "nothing was done");
    assert_unavailable(&store.judge(&ask("c", 3).facts).unwrap_err(), "nothing was done");

    disk.set(Behaviour::Works);
    recovered(store.as_ref()).await;
    let Outcome::Recorded { position, .. } = writing.settled().await.unwrap() else {
        panic!("the certificate was written when the disk answered");
    };
    let again = store.submit(command(&subject, &request)).settled().await.unwrap();
    assert_eq!(again, Outcome::Replay { position });
    store
        .submit(command(&subject, &ask("c", 3)))
        .settled()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_caller_that_hangs_up_keeps_its_place_until_the_writer_has_answered() {
    let (subject, disk) = subject();
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let places = Arc::new(Semaphore::new(2));
    let place = || {
        let permit = Arc::clone(&places).try_acquire_owned().ok();
        permit.map(|permit| Place::new(Some(permit), metrics.in_flight()))
    };
    disk.set(Behaviour::Hangs);
    for key in 1..=2 {
        let (store, command) = (Arc::clone(&subject.store), command(&subject, &ask("a", key)));
        let request = async move { store.submit(command).await };
        let served = tokio::time::timeout(Duration::ZERO, place().unwrap().serve(request));
        served.await.expect_err("the caller has hung up");
        disk.hangs();
    }
    assert!(place().is_none(), "both commands still hold their places");
    disk.set(Behaviour::Works);
    let both = tokio::time::timeout(DEADLINE, places.acquire_many(2));
    drop(both.await.expect("the places are free again").unwrap());
}

#[tokio::test]
async fn a_close_and_a_drop_do_not_wait_for_a_disk_that_hangs() {
    let (subject, disk) = subject();
    disk.set(Behaviour::Hangs);
    let _writing = subject.store.submit(command(&subject, &ask("a", 1)));
    stalled(subject.store.as_ref()).await;
    let began = Instant::now();
    assert!(matches!(subject.store.close(), Err(StoreError::Stalled)));
    drop(subject);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    disk.set(Behaviour::Works);
}

#[tokio::test]
async fn commands_do_not_pile_up_without_bound_behind_a_disk_that_hangs() {
    let (subject, disk) = subject();
    disk.set(Behaviour::Hangs);
    let _writing = subject.store.submit(command(&subject, &ask("a", 1)));
    disk.hangs();
    let mut waiting = Vec::new();
    let refusal = loop {
        let mut answer = subject.store.submit(Command::Prune);
        match tokio::time::timeout(Duration::ZERO, answer.decided()).await {
            Ok(refused) => break refused.unwrap_err(),
            Err(_) => waiting.push(answer),
        }
        assert!(waiting.len() <= QUEUE);
    };
    // Either the queue is full, or a slow machine has found the stall before.
    assert_unavailable(&refusal, "nothing was done");
    disk.set(Behaviour::Works);
}

#[tokio::test]
async fn a_writer_that_panics_is_reported_and_the_process_is_to_end() {
    let (subject, disk) = subject();
    disk.set(Behaviour::Panics);
    let refusal = subject
        .store
        .submit(command(&subject, &ask("a", 1)))
        .decided()
        .await
        .unwrap_err();
    assert_eq!(refusal.reason(), Reason::StoreUnavailable);
    assert!(refusal.message().contains("unknown whether"), "{refusal}");
    let mut failure = subject.store.failure();
    let why = tokio::time::timeout(DEADLINE, failure.wait_for(Option::is_some));
    let why = why.await.unwrap().unwrap().clone().unwrap();
    assert!(why.contains("\"store\" ended by a panic"), "{why}");
    assert_eq!(stalled(subject.store.as_ref()).await, why);
    let refusal = subject
        .store
        .submit(command(&subject, &ask("a", 2)))
        .decided()
        .await
        .unwrap_err();
    assert_unavailable(&refusal, "ended by a panic");
    assert!(matches!(subject.store.close(), Err(StoreError::Closed)));
}
