//! What the writer does while the time is disputed.

use std::sync::Arc;

use identity::Reason;
use identity::clock::witnessed::Limits;
use time::OffsetDateTime;

use crate::clock::ServerClock;
use crate::clock::tests::ManualTime;
use crate::store::tests::support::{START, Subject, TestClock, ask, token_row};
use crate::store::{AuthorityRow, Command, MemoryStore, Outcome, TokenRow};

const DAYS: i64 = 3 * 24 * 3600;

#[test]
fn what_was_signed_before_a_jump_is_not_recorded_after_it_and_revocations_are() {
    let time = ManualTime::new(OffsetDateTime::from_unix_timestamp(START).unwrap());
    let clock = ServerClock::new(Box::new(Arc::clone(&time)), Limits::default());
    let store = Arc::new(MemoryStore::new(Arc::new(clock)));
    let subject = Subject::new(store, TestClock::new(), None);
    let (serial, _) = subject.issue(&ask("a", 1));
    let (signed, _) = subject.command(&ask("b", 2));
    let token = create_token("t", START);
    let activation = Command::PutAuthority {
        row: AuthorityRow {
            key_id: vec![7],
            ..AuthorityRow::default()
        },
        by: "test".to_owned(),
    };

    time.step(DAYS);
    for command in [signed.clone(), activation.clone(), token.clone()] {
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
    subject.submit(token).unwrap();
    assert!(matches!(subject.submit(signed), Ok(Outcome::Recorded { .. })));
}

fn create_token(id: &str, created_at: i64) -> Command {
    Command::CreateToken {
        token: TokenRow {
            created_at,
            ..token_row(id, created_at + 300)
        },
        registration: None,
        by: "test".to_owned(),
    }
}

#[test]
fn a_token_that_was_created_while_the_clock_was_ahead_expires_as_long_after_the_correction() {
    let time = ManualTime::new(OffsetDateTime::from_unix_timestamp(START).unwrap());
    let clock = ServerClock::new(Box::new(Arc::clone(&time)), Limits::default());
    let store = Arc::new(MemoryStore::new(Arc::new(clock)));
    let subject = Subject::new(store, TestClock::new(), None);
    let now = START - DAYS;
    for (id, created_at) in [("ahead", START), ("before", now - 60), ("unknown", 0)] {
        subject.submit(create_token(id, created_at)).unwrap();
    }
    let accept = Command::AcceptTime {
        at: now,
        dispute: "ahead".to_owned(),
        by: "test".to_owned(),
    };
    subject.submit(accept).unwrap();
    let expiry = |id: &str| subject.store.read().token(id).unwrap().expires_at;
    assert_eq!(expiry("ahead"), now + 300);
    assert_eq!(expiry("before"), now + 240);
    assert_eq!(expiry("unknown"), 300);
    assert_eq!(
        subject.store.read().last_correction(),
        subject.store.head().position
    );
}
