//! The time of the last entry, which a server's clock is compared with.

use std::path::Path;
use std::sync::Arc;

use identity::clock::witnessed::Limits;
use identity::{Clock as _, Witness};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::clock::ServerClock;
use crate::clock::tests::ManualTime;
use crate::store::{Command, EmbeddedStore, InstanceRow, Store};

const NOON: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
const DAY: time::Duration = time::Duration::DAY;

fn open(dir: &Path, wall: OffsetDateTime) -> (EmbeddedStore, Arc<ServerClock>) {
    let time = Box::new(ManualTime::new(wall));
    let clock = Arc::new(ServerClock::new(time, Limits::default()));
    let store = EmbeddedStore::open(dir, clock.clone(), |_| {}).unwrap();
    (store, clock)
}

fn write_entry(store: &EmbeddedStore, server_name: &str) {
    let row = InstanceRow {
        trust_domain: "example.org".to_owned(),
        server_names: vec![server_name.to_owned()],
    };
    let answer = store.submit(Command::Instance(row));
    answer.blocking_recv().unwrap().unwrap();
}

#[test]
fn a_wall_clock_before_the_last_entry_is_disputed_after_a_clean_stop_and_after_a_crash() {
    for is_clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (store, clock) = open(dir.path(), NOON);
        assert!(clock.dispute().is_none(), "an empty journal is no witness");
        write_entry(&store, "a.example.org");
        if is_clean {
            store.close().unwrap();
        }
        drop(store);

        let (_store, clock) = open(dir.path(), NOON - DAY);
        let dispute = clock.dispute().unwrap();
        assert_eq!((dispute.witness, dispute.expected), (Witness::LastEntry, NOON));
        assert_eq!(clock.now(), NOON);
    }
}

#[test]
fn an_entry_that_is_written_before_the_time_is_known_is_dated_after_the_one_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), NOON);
    write_entry(&store, "a.example.org");
    drop(store);
    let (store, _) = open(dir.path(), NOON - DAY);
    write_entry(&store, "b.example.org");
    let entry = store.entry(store.head().position).unwrap().unwrap();
    assert_eq!(entry.at, NOON.unix_timestamp());
    drop(store);
    let (_store, clock) = open(dir.path(), NOON + DAY);
    assert!(clock.dispute().is_none());
}
