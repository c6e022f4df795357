//! What the writer does while the time is disputed.

use std::sync::Arc;

use identity::Reason;
use identity::clock::witnessed::Limits;
use time::OffsetDateTime;

use crate::clock::ServerClock;
use crate::clock::tests::ManualTime;
use crate::store::tests::support::{START, Subject, TestClock, ask};
use crate::store::{AuthorityRow, Command, MemoryStore, Outcome};

const DAYS: i64 = 3 * 24 * 3600;

#[test]
fn what_was_signed_before_a_jump_is_not_recorded_after_it_and_revocations_are() {
    let time = ManualTime::new(OffsetDateTime::from_unix_timestamp(START).unwrap());
    let clock = ServerClock::new(Box::new(Arc::clone(&time)), Limits::default());
    let store = Arc::new(MemoryStore::new(Arc::new(clock)));
    let subject = Subject::new(store, TestClock::new(), None);
    let (serial, _) = subject.issue(&ask("a", 1));
    let (signed, _) = subject.command(&ask("b", 2));
    let activation = Command::PutAuthority {
        row: AuthorityRow {
            key_id: vec![7],
            ..AuthorityRow::default()
        },
        by: "test".to_owned(),
    };

    time.step(DAYS);
    for command in [signed.clone(), activation.clone()] {
        let refusal = subject.submit(command).unwrap_err();
        assert_eq!(refusal.reason(), Reason::ClockImplausible);
    }
    subject.revoke(&[serial], "superseded").unwrap();
    let crl = Command::PutCrl {
        authority: vec![7],
        number: 1,
    };
    assert_eq!(subject.submit(crl).unwrap(), Outcome::Done);
    let newest = subject.store.entry(subject.store.head().position).unwrap();
    assert_eq!(newest.unwrap().at, START, "the entry has the best known time");

    time.step(-DAYS);
    subject.submit(activation).unwrap();
    assert!(matches!(subject.submit(signed), Ok(Outcome::Recorded { .. })));
}
