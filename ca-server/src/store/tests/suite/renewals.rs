//! Renewals: lost answers, forks, and what happened between the judgement and the commit.

use identity::{Reason, Serial};

use crate::store::tests::support::{HOUR, Subject, ask};
use crate::store::{Outcome, Verdict};

pub(in crate::store::tests) fn a_repeated_renewal_gets_the_same_certificate(subject: &Subject) {
    let (parent, _) = subject.issue(&ask("a", 1));
    let renewal = ask("a", 2).parent(parent);
    let (child, position) = subject.issue(&renewal);
    assert_eq!(
        subject.try_issue(&renewal).unwrap().0,
        Outcome::Replay { position }
    );
    assert_eq!(subject.judge(&renewal), Ok(Verdict::Replay { position }));

    let other_wish = renewal.clone().wish(9);
    assert!(matches!(
        subject.try_issue(&other_wish).unwrap().0,
        Outcome::Recorded { fork: false, .. }
    ));
    assert_eq!(
        subject.try_issue(&renewal).unwrap().0,
        Outcome::Replay { position },
        "the older of two children is found too"
    );

    subject.revoke(&[child], "superseded").unwrap();
    let (_, next) = subject.issue(&renewal);
    assert_ne!(next, position, "a revoked certificate is not given again");
}

pub(in crate::store::tests) fn another_key_of_the_same_parent_is_a_fork_and_refused_where_forks_are(
    subject: &Subject,
) {
    let (parent, _) = subject.issue(&ask("a", 1));
    let (first, _) = subject.issue(&ask("a", 2).parent(parent));
    let second = ask("a", 3).parent(parent);
    assert_eq!(
        subject.refused(&second.clone().refuse_forks()),
        Reason::LineageFork
    );
    assert_eq!(subject.judge(&second), Ok(Verdict::New { fork: true }));
    let (outcome, fork) = subject.try_issue(&second).unwrap();
    assert!(matches!(outcome, Outcome::Recorded { fork: true, .. }));

    subject.revoke(&[first, fork], "superseded").unwrap();
    assert_eq!(
        subject.refused(&ask("a", 4).parent(parent).refuse_forks()),
        Reason::LineageFork,
        "that the other children are revoked does not make it the first"
    );
    let own = ask("a", 2).parent(parent).wish(9).refuse_forks();
    assert!(
        matches!(
            subject.try_issue(&own).unwrap().0,
            Outcome::Recorded { fork: false, .. }
        ),
        "the key of the first child is the lineage's own"
    );
}

pub(in crate::store::tests) fn a_fork_is_recognised_after_the_first_child_has_expired(subject: &Subject) {
    let (parent, _) = subject.issue(&ask("a", 1).life(24 * HOUR));
    let (child, _) = subject.issue(&ask("a", 2).parent(parent).life(10));
    subject.issue(&ask("a", 2).parent(child).life(24 * HOUR));
    subject.pass(2 * HOUR);
    let owner = ask("a", 3).parent(parent);
    assert_eq!(
        subject.refused(&owner.clone().refuse_forks()),
        Reason::LineageFork
    );
    assert_eq!(subject.judge(&owner), Ok(Verdict::New { fork: true }));
}

pub(in crate::store::tests) fn an_expired_parent_renews_nothing(subject: &Subject) {
    let (parent, _) = subject.issue(&ask("a", 1));
    subject.pass(HOUR + 1);
    assert_eq!(
        subject.refused(&ask("a", 2).parent(parent)),
        Reason::CertificateExpired
    );
}

pub(in crate::store::tests) fn a_parent_that_is_revoked_or_unknown_renews_nothing(subject: &Subject) {
    let (parent, _) = subject.issue(&ask("a", 1));
    subject.revoke(&[parent], "superseded").unwrap();
    assert_eq!(
        subject.refused(&ask("a", 2).parent(parent)),
        Reason::CertificateRevoked
    );
    let foreign: Serial = "abcd".parse().unwrap();
    assert_eq!(
        subject.refused(&ask("a", 2).parent(foreign)),
        Reason::CertificateUntrusted
    );
}

pub(in crate::store::tests) fn what_is_revoked_between_judgement_and_commit_is_not_recorded(
    subject: &Subject,
) {
    let (parent, _) = subject.issue(&ask("a", 1));
    let renewal = ask("a", 2).parent(parent);
    assert_eq!(subject.judge(&renewal), Ok(Verdict::New { fork: false }));
    subject.revoke(&[parent], "superseded").unwrap();
    let before = subject.store.head().position;
    let refusal = subject.try_issue(&renewal).unwrap_err();
    assert_eq!(refusal.reason(), Reason::CertificateRevoked);
    assert_eq!(subject.store.head().position, before);
}

pub(in crate::store::tests) fn a_registration_made_anew_does_not_renew_and_a_changed_one_is_asked_again(
    subject: &Subject,
) {
    subject.apply(&[("r", "1")]).unwrap();
    let seen = subject.registration("r").unwrap();
    let wanted = ask("a", 1).registration(seen.clone());
    subject.issue(&wanted);

    subject.apply(&[("r", "2")]).unwrap();
    assert_eq!(subject.refused(&wanted), Reason::Conflict);
    let changed = subject.registration("r").unwrap();
    assert_eq!(changed.created_revision, seen.created_revision);
    subject.issue(&ask("a", 1).registration(changed.clone()));

    subject.delete(&["r"]).unwrap();
    assert_eq!(subject.refused(&wanted), Reason::IdentityNotGranted);
    subject.apply(&[("r", "2")]).unwrap();
    assert_eq!(
        subject.refused(&ask("a", 1).registration(changed)),
        Reason::IdentityNotGranted,
        "the same name and content, and yet another registration"
    );
}
