//! What goes on without a failed handshake while certificates and authorities are replaced under it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use client_lib::{Proof, X509Source};
use serde_json::Value;

use crate::support::{Mesh, Server, Settings, run};

const MEMBERS: usize = 20;
const CHANGES: usize = 3;
/// Each authority is replaced at half of its life.
const AUTHORITY_LIFE: Duration = Duration::from_secs(40);
const LIVES: &str = "profiles:\n  \
    intermediate: { life: 40s, maxLife: 1h }\n  \
    workload: { life: 20s, maxLife: 1h }\n  \
    server: { life: 20s, maxLife: 1h }\n";

/// Adds the key ids on record to those seen before; authorities whose leaves have ended go.
fn see_authorities(server: &Server, seen: &mut BTreeSet<String>) {
    let listed = run(&mut server.signet(&["authority", "list", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let items = listed["items"].as_array().expect("a list").iter();
    seen.extend(items.map(|item| item["keyId"].as_str().expect("a key id").to_owned()));
}

async fn enrol(server: &Server, number: usize) -> X509Source {
    let token = server.token_file(
        &format!("spiffe://example.org/ns/default/sa/member-{number}"),
        &[],
    );
    let proof = Proof::token_file(token).expect("a token");
    X509Source::builder(proof).start().await.expect("an identity")
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_workloads_talk_through_three_changes_of_the_authority_without_a_failure() {
    let server = Server::start(Settings {
        config: Some(LIVES.to_owned()),
        ..Settings::default()
    });
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        members.push(enrol(&server, number).await);
    }
    let mut seen = BTreeSet::new();
    see_authorities(&server, &mut seen);
    let before = seen.len();

    let mesh = Mesh::start(&members).await;
    let until = Instant::now() + AUTHORITY_LIFE * 4;
    while seen.len() < before + CHANGES {
        assert!(
            Instant::now() < until,
            "{} changes of the authority",
            seen.len() - before
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| see_authorities(&server, &mut seen));
    }
    // Everybody has a certificate of the last one before it ends.
    let last = newest_authority(&server);
    while members.iter().any(|member| issuer_key_id(member) != last) {
        assert!(
            Instant::now() < until,
            "not everybody has come over to the last authority"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let tally = mesh.stop().await;
    println!("{} authorities, {tally}", seen.len());
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::SeqCst);
    assert_eq!(*tally.failures(), Vec::<String>::new());
    assert!(count(&tally.attempts) > 1_000, "{tally}");
    assert!(
        count(&tally.across) > 0,
        "no two authorities met, so nothing was shown: {tally}"
    );
    assert!(count(&tally.sent) > 0);
    assert_eq!(count(&tally.sent), count(&tally.returned));
    for member in &members {
        let rotations = member.status().borrow().rotations;
        assert!(
            rotations >= CHANGES as u64,
            "{}: {rotations} rotations",
            member.id()
        );
    }
}

fn newest_authority(server: &Server) -> Vec<u8> {
    let listed = run(&mut server.signet(&["authority", "list", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let items = listed["items"].as_array().expect("a list");
    let active = items.iter().find(|item| item["state"] == "ACTIVE");
    let key_id = active.expect("an authority is active")["keyId"].as_str();
    identity::hex::decode(key_id.expect("a key id")).expect("hex")
}

fn issuer_key_id(member: &X509Source) -> Vec<u8> {
    let svid = member.svid();
    svid.leaf().authority_key_id().expect("a key id").to_vec()
}
