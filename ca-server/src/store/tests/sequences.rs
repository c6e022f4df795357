//! Whatever is asked in whatever order: both kinds of stores answer the same, and what comes back after any stop is what was there.

use std::sync::Arc;

use identity::Serial;
use proptest::prelude::*;

use crate::store::tests::support::{HOUR, Subject, TestClock, apply, ask, by, memory, open, resource_name};
use crate::store::{AuthorityRow, Command, Outcome, Revocation, Store};

#[derive(Clone, Debug)]
enum Step {
    Issue {
        name: u8,
        key: u8,
        wish: u8,
        hours: i64,
        parent: Option<prop::sample::Index>,
        token: Option<u8>,
        granted: bool,
    },
    CreateToken(u8, bool),
    RevokeToken(u8),
    Apply(Vec<(u8, u8)>),
    Delete(u8),
    Revoke(prop::sample::Index, bool),
    PutAuthority(bool),
    PutCrl(u64),
    Pass(i64),
    Prune,
}

fn step() -> impl Strategy<Value = Step> {
    let issue = (
        0..3_u8,
        0..5_u8,
        0..2_u8,
        1..4_i64,
        prop::option::of(any::<prop::sample::Index>()),
        prop::option::of(0..3_u8),
        any::<bool>(),
    )
        .prop_map(|(name, key, wish, hours, parent, token, granted)| Step::Issue {
            name,
            key,
            wish,
            hours,
            parent,
            token,
            granted,
        });
    prop_oneof![
        8 => issue,
        2 => (0..3_u8, any::<bool>()).prop_map(|(id, made)| Step::CreateToken(id, made)),
        1 => (0..3_u8).prop_map(Step::RevokeToken),
        2 => prop::collection::vec((0..3_u8, 0..2_u8), 0..3).prop_map(Step::Apply),
        1 => (0..3_u8).prop_map(Step::Delete),
        2 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, bars)| Step::Revoke(i, bars)),
        1 => any::<bool>().prop_map(Step::PutAuthority),
        1 => (0..4_u64).prop_map(Step::PutCrl),
        2 => (1..3 * HOUR).prop_map(Step::Pass),
        1 => Just(Step::Prune),
    ]
}

/// The answer in a form that two stores can be compared by.
fn play(subject: &Subject, step: &Step, issued: &mut Vec<Serial>) -> String {
    let answer = match step {
        Step::Issue { .. } => {
            let (answer, serial) = issue(subject, step, issued);
            if let Ok(Outcome::Recorded { .. }) = answer {
                issued.push(serial);
            }
            answer
        }
        Step::CreateToken(id, true) => {
            if subject.store.read().token(&id.to_string()).is_none()
                && subject.registration(&format!("token-{id}")).is_none()
            {
                subject.token_with_registration(&id.to_string(), HOUR);
            }
            Ok(Outcome::Done)
        }
        Step::CreateToken(id, false) => subject.submit(Command::CreateToken {
            token: crate::store::tests::support::token_row(&id.to_string(), subject.now() + HOUR),
            registration: None,
            by: by(),
        }),
        Step::RevokeToken(id) => subject.submit(Command::RevokeToken {
            id: id.to_string(),
            by: by(),
        }),
        Step::Apply(documents) => {
            let documents: Vec<_> = documents
                .iter()
                .map(|(name, content)| (name.to_string(), content.to_string()))
                .collect();
            let documents: Vec<_> = documents.iter().map(|(n, c)| (n.as_str(), c.as_str())).collect();
            subject.submit(apply(&documents, false))
        }
        Step::Delete(name) => subject.submit(Command::Delete {
            which: vec![resource_name(&name.to_string())],
            by: by(),
        }),
        Step::Revoke(which, bars) if !issued.is_empty() => {
            let reason = if *bars { "keyCompromise" } else { "superseded" };
            let which = Revocation::Serial(*which.get(issued));
            let revoked = subject.revoke_which(&which, reason);
            revoked.map(|serials| Outcome::Revoked {
                serials,
                is_complete: true,
            })
        }
        Step::Revoke(..) => Ok(Outcome::Done),
        Step::PutAuthority(first) => subject.submit(Command::PutAuthority {
            row: AuthorityRow {
                key_id: if *first {
                    b"authority".to_vec()
                } else {
                    b"other".to_vec()
                },
                ..AuthorityRow::default()
            },
            by: by(),
        }),
        Step::PutCrl(number) => subject.submit(Command::PutCrl {
            authority: b"authority".to_vec(),
            number: *number,
        }),
        Step::Pass(seconds) => {
            subject.pass(*seconds);
            Ok(Outcome::Done)
        }
        Step::Prune => subject.submit(Command::Prune),
    };
    format!("{answer:?}")
}

fn issue(subject: &Subject, step: &Step, issued: &[Serial]) -> (Result<Outcome, proto::Refusal>, Serial) {
    let Step::Issue {
        name,
        key,
        wish,
        hours,
        parent,
        token,
        granted,
    } = step
    else {
        unreachable!("only called for an issue");
    };
    let mut wanted = ask(&name.to_string(), *key).wish(*wish).life(hours * HOUR);
    if let Some(parent) = parent.filter(|_| !issued.is_empty()) {
        wanted = wanted.parent(*parent.get(issued));
    }
    if let Some(token) = token {
        wanted = wanted.token(&token.to_string());
        if let Some(seen) = subject.registration(&format!("token-{token}")) {
            wanted = wanted.registration(seen);
        }
    } else if let Some(seen) = subject.registration(&name.to_string()).filter(|_| *granted) {
        wanted = wanted.registration(seen);
    }
    let (command, serial) = subject.command(&wanted);
    (subject.submit(command), serial)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_sequence_gives_the_same_state_in_memory_and_after_every_kind_of_stop(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
        let embedded = Subject::new(Arc::new(open(dir.path(), &clock)), clock, None);
        let measure = memory();
        let (mut issued, mut others) = (Vec::new(), Vec::new());
        for step in &steps {
            let answer = play(&embedded, step, &mut issued);
            prop_assert_eq!(&answer, &play(&measure, step, &mut others), "{:?}", step);
        }
        // What a start would remove is removed now, so that all can be compared.
        embedded.prune();
        measure.prune();
        let before = embedded.store.read().clone();
        prop_assert_eq!(&before, &*measure.store.read());

        // The clock of the beginning, for which nothing has ended.
        let early = TestClock::new();
        drop(embedded);
        let rebuilt = open(dir.path(), &early);
        prop_assert_eq!(&before, &*rebuilt.read());
        rebuilt.close().unwrap();
        drop(rebuilt);
        let reopened = open(dir.path(), &early);
        let state = reopened.read();
        prop_assert!(state.rows().eq(before.rows()));
        prop_assert_eq!(state.bindings(), before.bindings());
    }

    #[test]
    fn every_answer_is_the_same_while_a_start_is_still_reading_what_was_recorded(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
        let store = Arc::new(open(dir.path(), &clock));
        let started = Subject::new(store.clone(), clock, None);
        let measure = memory();
        let (mut issued, mut others) = (Vec::new(), Vec::new());
        for step in &steps {
            store.forget_bindings();
            let answer = play(&started, step, &mut issued);
            prop_assert_eq!(&answer, &play(&measure, step, &mut others), "{:?}", step);
        }
    }
}
