//! Join tokens: one winner, the same answer again, and the four ways to be refused.

use identity::Reason;

use crate::store::tests::support::{HOUR, Subject, apply, ask, by, token_row};
use crate::store::{Command, Outcome, TokenRow, Verdict};

pub(in crate::store::tests) fn a_token_has_one_winner_among_many_keys(subject: &Subject) {
    subject.token("t", HOUR);
    let answers: Vec<_> = (0..100)
        .map(|key| subject.store.submit(subject.command(&ask("a", key).token("t")).0))
        .collect();
    let outcomes: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.blocking_recv().unwrap())
        .collect();
    assert!(matches!(outcomes[0], Ok(Outcome::Recorded { .. })));
    for loser in &outcomes[1..] {
        assert_eq!(loser.as_ref().unwrap_err().reason(), Reason::TokenSpent);
    }
    assert_eq!(
        subject
            .store
            .read()
            .token("t")
            .unwrap()
            .redeemed
            .as_ref()
            .unwrap()
            .key_digest,
        [0; 32]
    );
}

pub(in crate::store::tests) fn the_same_key_and_wish_get_the_same_certificate_again(subject: &Subject) {
    subject.token("t", HOUR);
    let wanted = ask("a", 1).token("t");
    // Both in one batch: the second is judged against what is not recorded yet.
    let (first, second) = (subject.command(&wanted).0, subject.command(&wanted).0);
    let (first, second) = (subject.store.submit(first), subject.store.submit(second));
    let Ok(Outcome::Recorded {
        position,
        fork: false,
    }) = first.blocking_recv().unwrap()
    else {
        panic!("the first is recorded");
    };
    assert_eq!(second.blocking_recv().unwrap(), Ok(Outcome::Replay { position }));

    assert_eq!(
        subject.try_issue(&wanted).unwrap().0,
        Outcome::Replay { position }
    );
    assert_eq!(subject.judge(&wanted), Ok(Verdict::Replay { position }));
    let issued = subject.store.entry(position).unwrap().unwrap().issued.unwrap();
    assert_eq!(issued.token, "t");
    let row = subject.store.read().token("t").unwrap().clone();
    assert_eq!(row.redeemed.unwrap().serial, issued.serial);
}

pub(in crate::store::tests) fn a_redeemed_token_is_spent_for_another_key_another_wish_and_after_its_time(
    subject: &Subject,
) {
    subject.token("t", HOUR);
    let wanted = ask("a", 1).token("t").life(10 * HOUR);
    subject.issue(&wanted);
    assert_eq!(subject.refused(&ask("a", 2).token("t")), Reason::TokenSpent);
    assert_eq!(subject.refused(&wanted.clone().wish(8)), Reason::TokenSpent);
    subject.pass(HOUR);
    assert!(subject.try_issue(&wanted).is_ok(), "the last second counts");
    subject.pass(1);
    assert_eq!(subject.refused(&wanted), Reason::TokenSpent);
}

pub(in crate::store::tests) fn a_token_whose_certificate_was_revoked_or_has_ended_is_spent(
    subject: &Subject,
) {
    subject.token("revoked", 10 * HOUR);
    subject.token("ended", 10 * HOUR);
    let (revoked, ended) = (ask("a", 1).token("revoked"), ask("b", 2).token("ended"));
    let (serial, _) = subject.issue(&revoked);
    subject.issue(&ended);
    subject.revoke(&[serial], "superseded").unwrap();
    assert_eq!(subject.refused(&revoked), Reason::TokenSpent);
    subject.pass(HOUR + 1);
    assert_eq!(subject.refused(&ended), Reason::TokenSpent);
}

pub(in crate::store::tests) fn unknown_expired_and_revoked_tokens_are_told_apart(subject: &Subject) {
    assert_eq!(subject.refused(&ask("a", 1).token("t")), Reason::TokenInvalid);
    subject.token("expired", HOUR);
    subject.token("revoked", 2 * HOUR);
    let revoke = |id: &str| {
        subject.submit(Command::RevokeToken {
            id: id.to_owned(),
            by: by(),
        })
    };
    assert_eq!(revoke("revoked"), Ok(Outcome::Done));
    assert_eq!(revoke("revoked"), Ok(Outcome::Done));
    assert_eq!(revoke("absent").unwrap_err().reason(), Reason::NotFound);
    subject.pass(HOUR + 1);
    assert_eq!(
        subject.refused(&ask("a", 1).token("expired")),
        Reason::TokenExpired
    );
    assert_eq!(
        subject.refused(&ask("a", 1).token("revoked")),
        Reason::TokenRevoked
    );
}

pub(in crate::store::tests) fn a_token_id_is_given_once_and_its_registration_comes_with_it(
    subject: &Subject,
) {
    let before = subject.store.read().revision();
    let made = subject.token_with_registration("t", HOUR);
    assert_eq!((made.created_revision, made.revision), (before + 1, before + 1));
    assert_eq!(*subject.store.changed().borrow(), before + 1);
    let again = Command::CreateToken {
        token: token_row("t", subject.now()),
        registration: None,
        by: by(),
    };
    assert_eq!(subject.submit(again).unwrap_err().reason(), Reason::Conflict);
    let ids: Vec<_> = {
        subject.token("s", HOUR);
        subject.token("u", HOUR);
        let state = subject.store.read();
        state.tokens_after("s").map(|row| row.id.clone()).collect()
    };
    assert_eq!(ids, ["t", "u"]);
}

pub(in crate::store::tests) fn a_registration_made_for_a_token_goes_with_its_last_certificate(
    subject: &Subject,
) {
    let unredeemed = "token-unredeemed";
    subject.token_with_registration("unredeemed", HOUR);
    let made = subject.token_with_registration("redeemed", HOUR);
    let wanted = ask("a", 1).token("redeemed").registration(made.clone());
    let (first, _) = subject.issue(&wanted);
    subject.pass(HOUR / 2);
    subject.prune();
    assert!(subject.registration(unredeemed).is_some());
    subject.issue(
        &ask("a", 2)
            .parent(first)
            .registration(made.clone())
            .life(4 * HOUR),
    );

    subject.pass(2 * HOUR);
    subject.prune();
    assert!(
        subject.registration(unredeemed).is_none(),
        "it expired unredeemed"
    );
    assert!(
        subject.registration(&made.name).is_some(),
        "a renewal is still valid"
    );
    subject.pass(4 * HOUR);
    subject.prune();
    assert!(
        subject.registration(&made.name).is_none(),
        "the last renewal expired an hour ago"
    );
    assert!(
        subject.store.read().token("redeemed").is_some(),
        "lists still show it"
    );
    subject.pass(8 * 24 * HOUR);
    subject.prune();
    assert_eq!(subject.store.read().tokens_after("").count(), 0);
}

pub(in crate::store::tests) fn a_registration_that_somebody_changed_outlives_its_token(subject: &Subject) {
    let made = subject.token_with_registration("t", HOUR);
    subject
        .submit(apply(&[(&made.name, "{\"changed\":1}")], false))
        .unwrap();
    subject.pass(2 * HOUR);
    subject.prune();
    assert!(subject.registration(&made.name).is_some());
}

pub(in crate::store::tests) fn a_registration_that_a_later_token_stands_on_outlives_the_token_that_brought_it(
    subject: &Subject,
) {
    let made = subject.token_with_registration("first", HOUR);
    let token = TokenRow {
        registration: format!("default/{}", made.name),
        ..token_row("second", subject.now() + 3 * HOUR)
    };
    let by = by();
    subject
        .submit(Command::CreateToken {
            token,
            registration: None,
            by,
        })
        .unwrap();
    subject.pass(2 * HOUR);
    subject.prune();
    subject.issue(
        &ask("a", 1)
            .token("second")
            .registration(made.clone())
            .life(4 * HOUR),
    );
    subject.pass(3 * HOUR);
    subject.prune();
    assert!(
        subject.registration(&made.name).is_some(),
        "its certificate is valid"
    );
    subject.pass(3 * HOUR);
    subject.prune();
    assert!(subject.registration(&made.name).is_none());
}
