//! The set of registrations follows the store: change by change, once for all requests, and past what cannot
//! be read.

use std::sync::Barrier;

use identity::Reason;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::*;
use crate::authority::bench::{A, Ask, B, Bench, csr, holder, key, nobody};
use crate::config::ServerName;
use crate::store::{Command, NewResource};

async fn put(bench: &Bench, name: &str, document_json: &[u8]) {
    let resource = NewResource {
        kind: KIND.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        document_json: document_json.to_vec(),
    };
    let command = Command::Apply {
        resources: vec![resource],
        dry_run: false,
        by: "test".to_owned(),
    };
    bench.submit(command).await;
}

fn spec(id: &str) -> serde_json::Value {
    json!({ "spiffeId": id, "callers": ["token"] })
}

/// Another set of the same store, compiled from nothing.
fn compiled_from_nothing(bench: &Bench) -> Arc<RegistrationSet> {
    let old = &bench.registrations;
    let none: &[ServerName] = &[];
    Registrations::new(
        old.trust_domain.clone(),
        old.profiles,
        none,
        Arc::clone(&bench.store),
    )
    .current()
}

/// Names and revisions, by name and by path.
fn content(set: &RegistrationSet) -> (Vec<String>, Vec<String>) {
    let mut names: Vec<String> = set.iter().map(|found| format!("{:?}", found.reference)).collect();
    names.sort_unstable();
    let paths = ["/a", "/b"].map(|path| {
        let found = set.with_path(path).iter();
        format!(
            "{path} {:?}",
            found.map(|found| &found.reference.name).collect::<Vec<_>>()
        )
    });
    (names, paths.to_vec())
}

#[tokio::test]
async fn a_registration_that_cannot_be_read_grants_nothing_and_stops_only_what_depends_on_it() {
    let bench = Bench::new().await;
    bench.apply("a", spec(A)).await;
    bench.apply("b", spec(B)).await;
    let certificate = bench.enrol("t1", A, "a").await;
    let token = bench.token("t2", A, "a", |_| ()).await;
    let ask = Ask {
        bearer: Some(&token),
        ..Ask::default()
    };
    let newer = json!({
        "apiVersion": "signet.dev/v1", "kind": "Registration", "metadata": { "name": "a" },
        "spec": { "spiffeId": A, "callers": ["token"], "fieldOfANewerServer": 1 },
    });
    for (document, said) in [("{", "JSON"), (&newer.to_string(), "fieldOfANewerServer")] {
        put(&bench, "a", document.as_bytes()).await;
        let own = holder(&certificate);
        for refused in [
            bench.issue(&nobody(), &csr(&key(), &[]), ask).await,
            bench.issue(&own, &csr(&key(), &[]), Ask::default()).await,
        ] {
            let refusal = refused.unwrap_err();
            assert_eq!(
                (refusal.reason(), refusal.evidence("name")),
                (Reason::Internal, Some("default/a")),
            );
            assert!(refusal.message().contains(said), "{refusal}");
        }
        assert_eq!(bench.count("signet_registrations_unreadable"), 1);
        bench.enrol(&format!("t-{said}"), B, "b").await;
    }
    bench.apply("a", spec(A)).await;
    assert!(bench.issue(&nobody(), &csr(&key(), &[]), ask).await.is_ok());
    assert_eq!(bench.count("signet_registrations_unreadable"), 0);
    put(&bench, "a", b"{").await;
    bench.delete("a").await;
    let (own, request) = (holder(&certificate), csr(&key(), &[]));
    assert_eq!(
        bench.refused(&own, &request, Ask::default()).await,
        Reason::IdentityNotGranted
    );
    assert_eq!(bench.count("signet_registrations_unreadable"), 0);
}

#[tokio::test]
async fn a_name_that_was_accepted_once_grants_nothing_and_the_others_are_granted() {
    let bench = Bench::new().await;
    let document = json!({
        "apiVersion": "signet.dev/v1", "kind": "Registration", "metadata": { "name": "a" },
        "spec": { "spiffeId": A, "callers": ["token"], "dnsNames": ["127.1", "web.shop", "web.shop"] },
    });
    put(&bench, "a", document.to_string().as_bytes()).await;
    let issued = bench.enrol("t", A, "a").await;
    assert_eq!(crate::authority::bench::leaf(&issued).dns_names(), ["web.shop"]);
}

#[tokio::test]
async fn only_a_change_of_registrations_is_compiled_and_only_what_changed() {
    let bench = Bench::new().await;
    bench.apply("a", spec(A)).await;
    let issued = bench.enrol("t", A, "a").await;
    let before = bench.registrations.current();
    bench.revoke(&issued).await;
    bench.renew_authority().await;
    bench.token("unused", A, "a", |_| ()).await;
    assert!(Arc::ptr_eq(&before, &bench.registrations.current()));
    bench.apply("b", spec(B)).await;
    let after = bench.registrations.current();
    let of_a = [&before, &after].map(|set| Arc::clone(set.get("default", "a").unwrap()));
    assert!(Arc::ptr_eq(&of_a[0], &of_a[1]), "compiled once");
    assert!(before.get("default", "b").is_none() && after.get("default", "b").is_some());
}

#[tokio::test]
async fn requests_that_meet_a_change_share_one_compilation() {
    let bench = Bench::new().await;
    for round in 0..20 {
        bench.apply(&format!("r{round}"), spec(A)).await;
        let barrier = Barrier::new(8);
        let current = || {
            barrier.wait();
            bench.registrations.current()
        };
        let sets: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(current)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(sets.iter().all(|set| Arc::ptr_eq(set, &sets[0])), "round {round}");
    }
}

#[test]
fn after_any_history_the_set_is_the_one_that_a_start_would_compile() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let step = (0..4_u8, 0..5_u8, any::<bool>());
    let history = prop::collection::vec(step, 1..40);
    let mut runner = TestRunner::new(Config::with_cases(32));
    let check = |steps: Vec<(u8, u8, bool)>| {
        runtime.block_on(async {
            let bench = Bench::new().await;
            for (act, name, is_read) in steps {
                let name = format!("r{name}");
                match act {
                    0 => bench.apply(&name, spec("/a")).await,
                    1 => bench.apply(&name, spec("/b")).await,
                    2 => put(&bench, &name, b"{").await,
                    _ if bench.store.read().resource(KIND, "default", &name).is_some() => {
                        bench.delete(&name).await;
                    }
                    _ => {}
                }
                if is_read {
                    bench.registrations.current();
                }
            }
            let (followed, other) = (bench.registrations.current(), compiled_from_nothing(&bench));
            prop_assert_eq!(content(&followed), content(&other));
            prop_assert_eq!(followed.unreadable(), other.unreadable());
            Ok(())
        })
    };
    runner.run(&history, check).unwrap();
}

#[tokio::test]
async fn a_set_that_missed_more_changes_than_are_remembered_catches_up_all_the_same() {
    let bench = Bench::new().await;
    bench.apply("kept", spec(A)).await;
    let before = bench.registrations.current();
    for round in 0..3 {
        let resources = (0..2000).map(|number| NewResource {
            kind: KIND.to_owned(),
            namespace: "default".to_owned(),
            name: format!("n{number}"),
            document_json: json!({
                "apiVersion": "signet.dev/v1", "kind": "Registration", "metadata": { "name": format!("n{number}") },
                "spec": spec(if round % 2 == 0 { A } else { B }),
            })
            .to_string()
            .into_bytes(),
        });
        let command = Command::Apply {
            resources: resources.collect(),
            dry_run: false,
            by: "test".to_owned(),
        };
        bench.submit(command).await;
        bench.delete("n7").await;
    }
    let changes = bench.store.read().registration_changes().count();
    assert!(
        bench
            .store
            .read()
            .registration_changes()
            .since(before.changes)
            .is_none(),
        "{changes}"
    );
    let after = bench.registrations.current();
    assert_eq!(content(&after), content(&compiled_from_nothing(&bench)));
    assert_eq!(after.iter().count(), 2000);
    let kept = [&before, &after].map(|set| Arc::clone(set.get("default", "kept").unwrap()));
    assert!(Arc::ptr_eq(&kept[0], &kept[1]), "compiled once");
}
