//! A key belongs to one identity.

use identity::Reason;

use crate::store::Outcome;
use crate::store::tests::support::{HOUR, Subject, ask};

pub(in crate::store::tests) fn two_identities_race_for_one_key_and_one_wins(subject: &Subject) {
    let answers: Vec<_> = ["a", "b", "a"]
        .map(|name| subject.store.submit(subject.command(&ask(name, 1)).0))
        .into_iter()
        .map(|answer| answer.blocking_recv().unwrap())
        .collect();
    assert!(matches!(answers[0], Ok(Outcome::Recorded { .. })));
    assert_eq!(answers[1].as_ref().unwrap_err().reason(), Reason::KeyBound);
    assert!(
        matches!(answers[2], Ok(Outcome::Recorded { .. })),
        "its own identity has it again"
    );
    assert_eq!(subject.refused(&ask("b", 1)), Reason::KeyBound);
}

pub(in crate::store::tests) fn a_key_is_free_again_when_its_certificates_are_revoked_or_have_ended(
    subject: &Subject,
) {
    let (serial, _) = subject.issue(&ask("a", 1));
    subject.issue(&ask("a", 2));
    subject.revoke(&[serial], "superseded").unwrap();
    subject.issue(&ask("b", 1));
    subject.pass(HOUR);
    assert_eq!(subject.refused(&ask("b", 2)), Reason::KeyBound);
    subject.pass(1);
    subject.issue(&ask("b", 2));
}

pub(in crate::store::tests) fn a_revoked_newest_certificate_does_not_free_a_key_that_an_older_one_binds(
    subject: &Subject,
) {
    subject.issue(&ask("a", 1).life(5 * HOUR));
    let (newest, _) = subject.issue(&ask("a", 1));
    subject.revoke(&[newest], "superseded").unwrap();
    assert_eq!(subject.refused(&ask("b", 1)), Reason::KeyBound);
    subject.pass(5 * HOUR + 1);
    subject.issue(&ask("b", 1));
}

pub(in crate::store::tests) fn a_key_revoked_for_compromise_is_barred_permanently(subject: &Subject) {
    let (serial, _) = subject.issue(&ask("a", 1));
    subject.revoke(&[serial], "superseded").unwrap();
    let (second, _) = subject.issue(&ask("a", 1));
    assert_eq!(
        subject.revoke(&[serial], "keyCompromise").unwrap(),
        [second],
        "the first was revoked before, for another reason"
    );
    assert_eq!(subject.refused(&ask("a", 1)), Reason::KeyCompromised);
    subject.pass(1000 * 24 * HOUR);
    subject.prune();
    assert_eq!(subject.store.read().revocations().count(), 0);
    assert_eq!(subject.refused(&ask("a", 1)), Reason::KeyCompromised);
}

pub(in crate::store::tests) fn a_key_is_never_freed_by_many_short_certificates_after_a_long_one(
    subject: &Subject,
) {
    subject.issue(&ask("a", 1).life(24 * HOUR));
    for _ in 0..300 {
        subject.issue(&ask("a", 1).life(10));
    }
    subject.pass(11);
    assert_eq!(subject.refused(&ask("b", 1)), Reason::KeyBound);
}

pub(in crate::store::tests) fn a_certificate_that_expires_early_does_not_hide_one_that_binds_the_key(
    subject: &Subject,
) {
    let (first, _) = subject.issue(&ask("a", 1).life(24 * HOUR));
    subject.issue(&ask("a", 1).life(HOUR));
    subject.pass(2 * HOUR);
    assert_eq!(subject.refused(&ask("b", 1)), Reason::KeyBound);
    subject.revoke(&[first], "superseded").unwrap();
    subject.issue(&ask("b", 1));
}
