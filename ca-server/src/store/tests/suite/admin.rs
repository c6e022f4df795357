//! Documents, revocations, authorities, CRL numbers, the instance.

use identity::Reason;

use crate::store::tests::support::{AUTHORITY, HOUR, Subject, apply, ask, by, resource_name};
use crate::store::{AuthorityRow, Command, InstanceRow, Outcome, Refused, Verb};

pub(in crate::store::tests) fn an_apply_is_all_or_nothing_and_says_what_it_did(subject: &Subject) {
    let verbs = |outcome: Result<Outcome, _>| match outcome {
        Ok(Outcome::Applied { verbs, revision }) => (verbs, revision),
        other => panic!("{other:?}"),
    };
    let (created, first) = verbs(subject.apply(&[("a", "1"), ("b", "1")]));
    assert_eq!(created, [Verb::Created, Verb::Created]);
    subject.pass(HOUR);
    let (mixed, second) = verbs(subject.apply(&[("a", "1"), ("b", "2"), ("c", "1")]));
    assert_eq!(mixed, [Verb::Unchanged, Verb::Configured, Verb::Created]);
    assert_eq!(second, first + 1);
    assert_eq!(*subject.store.changed().borrow(), second);
    let head = subject.store.head().position;
    let (same, third) = verbs(subject.apply(&[("a", "1")]));
    assert_eq!((same, third), (vec![Verb::Unchanged], second));
    assert_eq!(
        subject.store.head().position,
        head,
        "what changes nothing is not recorded"
    );

    let twice = subject.apply(&[("d", "1"), ("a", "2"), ("d", "2")]).unwrap_err();
    assert_eq!(twice.reason(), Reason::ResourceInvalid);
    let state = subject.store.read();
    assert!(state.resource("Registration", "default", "d").is_none());
    let facts: Vec<_> = state
        .resources_of("Registration")
        .map(|row| {
            (
                row.name.as_str(),
                row.created_revision,
                row.revision,
                row.created_at,
            )
        })
        .collect();
    let (early, late) = (subject.now() - HOUR, subject.now());
    assert_eq!(
        facts,
        [
            ("a", first, first, early),
            ("b", first, second, early),
            ("c", second, second, late)
        ]
    );
    assert_eq!(state.resources_of("Regis").count(), 0, "a kind is a whole word");
}

pub(in crate::store::tests) fn a_dry_run_changes_nothing(subject: &Subject) {
    let head = subject.store.head();
    let outcome = subject.submit(apply(&[("a", "1")], true));
    assert_eq!(
        outcome,
        Ok(Outcome::Applied {
            verbs: vec![Verb::Created],
            revision: 0
        })
    );
    assert_eq!(subject.store.head(), head);
    assert!(subject.registration("a").is_none());
}

pub(in crate::store::tests) fn deleting_what_is_not_there_deletes_nothing(subject: &Subject) {
    subject.apply(&[("a", "1")]).unwrap();
    let refusal = subject.delete(&["a", "b"]).unwrap_err();
    assert_eq!(refusal.reason(), Reason::NotFound);
    assert!(refusal.message().contains("default/b"), "{}", refusal.message());
    assert!(subject.registration("a").is_some());
    assert_eq!(subject.delete(&["a"]), Ok(Outcome::Deleted { revision: 2 }));
    assert!(subject.registration("a").is_none());

    subject.apply(&[("a", "1")]).unwrap();
    let which = [vec![resource_name("a")], vec![resource_name("a")]].concat();
    subject.submit(Command::Delete { which, by: by() }).unwrap();
    assert!(subject.registration("a").is_none());
}

pub(in crate::store::tests) fn revoking_says_what_was_revoked_and_keeps_the_first_reason(subject: &Subject) {
    let (one, _) = subject.issue(&ask("a", 1));
    let (two, _) = subject.issue(&ask("b", 2));
    let unknown = "abcdef".parse().unwrap();
    let refusal = subject.revoke(&[unknown], "superseded").unwrap_err();
    assert_eq!(refusal.reason(), Reason::NotFound);
    assert_eq!(subject.store.read().revocations().count(), 0);

    assert_eq!(subject.revoke(&[one, one], "superseded").unwrap(), [one]);
    assert_eq!(
        subject.revoke(&[one, two], "cessationOfOperation").unwrap(),
        [two]
    );
    let state = subject.store.read();
    let row = state.revocation(one).unwrap();
    assert_eq!(
        (row.reason.as_str(), row.at, row.not_after),
        ("superseded", subject.now(), subject.now() + HOUR)
    );
    assert_eq!(row.authority, AUTHORITY);
    assert_eq!(state.revocations().count(), 2);
    assert!(!state.is_compromised(&[1; 32]));
}

pub(in crate::store::tests) fn a_crl_number_never_falls(subject: &Subject) {
    let put = |authority: &[u8], number| {
        subject.submit(Command::PutCrl {
            authority: authority.to_vec(),
            number,
        })
    };
    assert_eq!(put(b"a", 5), Ok(Outcome::Done));
    assert_eq!(
        put(b"b", 1),
        Ok(Outcome::Done),
        "each authority counts for itself"
    );
    for old in [5, 4, 0] {
        assert_eq!(put(b"a", old).unwrap_err().reason(), Reason::Conflict);
    }
    assert_eq!(subject.store.read().crl_number(b"a"), 5);
    assert_eq!(put(b"a", 6), Ok(Outcome::Done));
}

pub(in crate::store::tests) fn another_trust_domain_is_refused_and_names_may_change(subject: &Subject) {
    let instance = |trust_domain: &str, name: &str| {
        subject.submit(Command::Instance(InstanceRow {
            trust_domain: trust_domain.to_owned(),
            server_names: vec![name.to_owned()],
        }))
    };
    assert_eq!(instance("example.org", "localhost"), Ok(Outcome::Done));
    let refusal = instance("example.com", "localhost").unwrap_err();
    assert_eq!(refusal.reason(), Reason::Conflict);
    assert!(refusal.message().contains("example.org") && refusal.message().contains("example.com"));
    assert_eq!(instance("example.org", "ca.example.org"), Ok(Outcome::Done));
    assert_eq!(
        subject.store.read().instance().unwrap().server_names,
        ["ca.example.org"]
    );
}

pub(in crate::store::tests) fn a_new_authority_replaces_the_old_which_goes_after_its_last_leaf(
    subject: &Subject,
) {
    subject.put_authority(AUTHORITY);
    subject.issue(&ask("a", 1).life(3 * HOUR));
    subject.issue(&ask("a", 2));
    subject.pass(HOUR);
    subject.put_authority(b"next");
    {
        let state = subject.store.read();
        assert_eq!(state.active_authority().unwrap().key_id, b"next");
        let old = state.authority(AUTHORITY).unwrap();
        assert_eq!(old.replaced_at, subject.now());
        assert_eq!(old.last_leaf_ends, subject.now() + 2 * HOUR);
    }
    subject.pass(2 * HOUR);
    subject.prune();
    assert!(subject.store.read().authority(AUTHORITY).is_some());
    let before = subject.store.read().revision();
    subject.pass(HOUR + 1);
    subject.prune();
    let state = subject.store.read();
    assert_eq!(state.authorities().count(), 1);
    assert_eq!(state.revision(), before + 1, "the bundle follows");
}

pub(in crate::store::tests) fn refusals_are_recorded(subject: &Subject) {
    let refused = Refused {
        reason: String::from("NAME_NOT_GRANTED"),
        message: String::from("db.example.org is not granted"),
        count: 3,
    };
    let by = by();
    subject
        .submit(Command::Refused {
            by: by.clone(),
            refused: refused.clone(),
        })
        .unwrap();
    let entry = subject
        .store
        .entry(subject.store.head().position)
        .unwrap()
        .unwrap();
    assert_eq!(
        (entry.refused, entry.by, entry.at),
        (Some(refused), by, subject.now())
    );
    assert_eq!(subject.store.entry(0), Ok(None));
    assert_eq!(subject.store.entry(1000), Ok(None));
}

pub(in crate::store::tests) fn a_leaf_recorded_together_with_the_next_authority_keeps_its_own_in_place(
    subject: &Subject,
) {
    subject.put_authority(AUTHORITY);
    subject.issue(&ask("a", 1));
    let (issue, _) = subject.command(&ask("a", 2).life(3 * HOUR));
    let next = Command::PutAuthority {
        row: AuthorityRow {
            key_id: b"next".to_vec(),
            ..AuthorityRow::default()
        },
        by: by(),
    };
    // The writer waits for the reader with its first batch, so that the two others are in the next one.
    let reading = subject.store.read();
    let answers = [apply(&[("x", "{}")], false), issue, next].map(|command| subject.store.submit(command));
    drop(reading);
    for answer in answers {
        answer.blocking_recv().unwrap().unwrap();
    }
    subject.pass(2 * HOUR);
    subject.prune();
    let state = subject.store.read();
    let old = state.authority(AUTHORITY).unwrap();
    assert_eq!(old.last_leaf_ends, subject.now() + HOUR);
}
