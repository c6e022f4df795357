//! What a revocation selects, also of what is recorded while it is under way.

use identity::{Reason, Serial, SpiffeId};

use crate::store::revocation::MAX_PER_ENTRY;
use crate::store::tests::support::{HOUR, Subject, ask, revoke};
use crate::store::{Outcome, Revocation, revocation};

fn id(name: &str) -> Revocation {
    Revocation::SpiffeId(SpiffeId::new(&format!("spiffe://example.org/{name}")).unwrap())
}

/// Revokes what was selected before `meanwhile` was done.
fn revoke_around(subject: &Subject, which: &Revocation, meanwhile: impl FnOnce()) -> Vec<Serial> {
    let known = revocation::select(subject.store.as_ref(), which, false).unwrap();
    meanwhile();
    match subject.submit(revoke(which, known, "superseded")) {
        Ok(Outcome::Revoked { serials, .. }) => serials,
        other => panic!("{other:?}"),
    }
}

pub(in crate::store::tests) fn a_lineage_is_everything_renewed_from_a_certificate(subject: &Subject) {
    let (root, _) = subject.issue(&ask("a", 1));
    let (left, _) = subject.issue(&ask("a", 2).parent(root));
    let (sibling, _) = subject.issue(&ask("a", 9));
    let (right, _) = subject.issue(&ask("a", 3).parent(root));
    let (leaf, _) = subject.issue(&ask("a", 4).parent(left));
    let lineage = |serial| subject.revoke_which(&Revocation::Lineage(serial), "superseded");
    assert_eq!(lineage(left).unwrap(), [left, leaf]);
    assert_eq!(lineage(root).unwrap(), [root, right]);
    assert!(subject.store.read().revocation(sibling).is_none());
    assert_eq!(
        lineage("ff".parse().unwrap()).unwrap_err().reason(),
        Reason::NotFound
    );
}

pub(in crate::store::tests) fn what_is_renewed_between_selection_and_decision_is_revoked_with_its_lineage(
    subject: &Subject,
) {
    let (root, _) = subject.issue(&ask("a", 1));
    let (child, _) = subject.issue(&ask("a", 2).parent(root));
    let mut late = Vec::new();
    let revoked = revoke_around(subject, &Revocation::Lineage(root), || {
        let (grandchild, _) = subject.issue(&ask("a", 3).parent(child));
        let (descendant, _) = subject.issue(&ask("a", 4).parent(grandchild));
        late.extend([grandchild, descendant]);
    });
    assert_eq!(revoked, [root, child, late[0], late[1]]);
    for parent in revoked {
        assert_eq!(
            subject.refused(&ask("a", 5).parent(parent)),
            Reason::CertificateRevoked
        );
    }
}

pub(in crate::store::tests) fn an_identity_is_revoked_with_what_is_recorded_since_the_selection(
    subject: &Subject,
) {
    let (first, _) = subject.issue(&ask("a", 1));
    let (other, _) = subject.issue(&ask("b", 2));
    subject.issue(&ask("a", 3).life(10));
    subject.pass(2 * HOUR / 3);
    let mut late = None;
    let revoked = revoke_around(subject, &id("a"), || late = Some(subject.issue(&ask("a", 4)).0));
    assert_eq!(
        revoked,
        [first, late.unwrap()],
        "without the one that expired long ago"
    );
    assert!(subject.store.read().revocation(other).is_none());
}

pub(in crate::store::tests) fn a_compromised_key_is_barred_as_key_of_a_request_and_of_a_parent(
    subject: &Subject,
) {
    let (one, _) = subject.issue(&ask("a", 1));
    let (two, _) = subject.issue(&ask("a", 1).life(5 * HOUR));
    let (child, _) = subject.issue(&ask("a", 2).parent(two));
    let revoked = subject.revoke(&[one], "keyCompromise").unwrap();
    assert_eq!(revoked, [one, two], "each certificate of the key");
    for parent in [one, two] {
        assert_eq!(
            subject.refused(&ask("a", 3).parent(parent)),
            Reason::CertificateRevoked
        );
    }
    assert_eq!(subject.refused(&ask("a", 1)), Reason::KeyCompromised);
    subject.issue(&ask("a", 3).parent(child));

    // By identity: the keys of all its certificates, and so what else they have.
    subject.revoke_which(&id("a"), "keyCompromise").unwrap();
    for key in [2, 3] {
        assert_eq!(subject.refused(&ask("b", key)), Reason::KeyCompromised);
    }
}

pub(in crate::store::tests) fn keys_of_expired_certificates_are_barred_with_their_lineage_and_identity(
    subject: &Subject,
) {
    let (stolen, _) = subject.issue(&ask("a", 1));
    let (twin, _) = subject.issue(&ask("a", 1).life(24 * HOUR));
    subject.issue(&ask("a", 2).parent(stolen).life(5 * HOUR));
    let (old, _) = subject.issue(&ask("b", 3));
    subject.pass(2 * HOUR);
    let lineage = Revocation::Lineage(stolen);
    let revoked = subject.revoke_which(&lineage, "keyCompromise").unwrap();
    assert!(revoked.contains(&twin), "it has the stolen key: {revoked:?}");
    assert_eq!(
        subject.refused(&ask("a", 4).parent(twin)),
        Reason::CertificateRevoked
    );
    assert_eq!(subject.refused(&ask("a", 1)), Reason::KeyCompromised);

    // No certificate of this identity is valid any more, which does not make its key safe.
    assert_eq!(subject.revoke_which(&id("b"), "keyCompromise").unwrap(), [old]);
    assert_eq!(subject.refused(&ask("b", 3)), Reason::KeyCompromised);
}

pub(in crate::store::tests) fn what_was_renewed_with_another_certificate_of_a_stolen_key_belongs_to_its_lineage(
    subject: &Subject,
) {
    let (first, _) = subject.issue(&ask("a", 1));
    // The owner renews and keeps the key; the thief renews the first certificate with a key of its own.
    let (in_use, _) = subject.issue(&ask("a", 1).parent(first).wish(8));
    let (thief, _) = subject.issue(&ask("a", 9).parent(first));
    let (later, _) = subject.issue(&ask("a", 10).parent(thief));
    let revoked = subject.revoke_which(&Revocation::Lineage(in_use), "keyCompromise");
    assert_eq!(revoked.unwrap(), [first, in_use, thief, later]);
    for key in [1, 9, 10] {
        assert_eq!(subject.refused(&ask("a", key)), Reason::KeyCompromised);
    }
}

pub(in crate::store::tests) fn more_certificates_than_one_entry_revokes_are_revoked_by_several(
    subject: &Subject,
) {
    let number = 3 * MAX_PER_ENTRY + 1;
    let (parent, _) = subject.issue(&ask("a", 1));
    for request in 0..number {
        let request = u8::try_from(request).unwrap();
        subject.issue(&ask("a", 2).parent(parent).wish(100 + request));
    }
    let lineage = Revocation::Lineage(parent);
    let known = revocation::select(subject.store.as_ref(), &lineage, true).unwrap();
    let first = subject.submit(revoke(&lineage, known, "keyCompromise"));
    let Ok(Outcome::Revoked {
        serials,
        is_complete: false,
    }) = first
    else {
        panic!("{first:?}");
    };
    assert_eq!(serials.len(), MAX_PER_ENTRY);
    assert_eq!(
        subject.refused(&ask("a", 2).parent(parent)),
        Reason::KeyCompromised,
        "the first entry bars the keys"
    );
    let rest = subject.revoke_which(&lineage, "keyCompromise").unwrap();
    assert_eq!(serials.len() + rest.len(), number + 1);
    assert_eq!(subject.store.read().revocations().count(), number + 1);
}

pub(in crate::store::tests) fn where_no_certificate_is_valid_none_is_revoked_and_the_caller_learns_it(
    subject: &Subject,
) {
    let refused = |which: &Revocation| {
        let refusal = subject.revoke_which(which, "superseded").unwrap_err();
        assert_eq!(refusal.reason(), Reason::NotFound);
    };
    refused(&id("a"));
    let (first, _) = subject.issue(&ask("a", 1));
    subject.pass(HOUR + 1);
    refused(&id("a"));
    refused(&Revocation::Lineage(first));
    assert_eq!(subject.revoke(&[first], "superseded").unwrap(), [first]);
    assert_eq!(subject.store.read().revocations().count(), 1);
}
