//! Many at once: one token, one key, one revocation, and always one outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use client_lib::PrivateKey;
use identity::Reason;
use proto::v1::revoke_certificates_request::Which;
use serde_json::Value;
use tokio::sync::Notify;

use super::{admin, at_once, configured};
use crate::support::wire::{Pair, answered, csr, key};
use crate::support::{Server, Wire, run};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";
const SHOP: &str = "spiffe://example.org/ns/default/sa/shop";
const ISSUED: &str = "signet_certificates_issued_total{profile=\"workload\",method=\"token\"}";

fn journal(server: &Server) -> Vec<Value> {
    let exported = run(&mut server.signet(&["journal", "export"]));
    let lines = exported.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON")
}

fn position(entry: &Value) -> u64 {
    let position = entry["position"].as_str().expect("a position");
    position.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_keys_with_one_token_at_once_get_one_certificate_and_cost_one_signature() {
    const RACERS: usize = 1000;
    const CONNECTIONS: usize = 8;
    let server = configured("limits: { inFlight: 0 }\n");
    let (token, id) = admin(&server).await.create_token(WEB).await.expect("a token");
    let mut wires = Vec::new();
    for _ in 0..CONNECTIONS {
        wires.push(Wire::connect(&server, None).await);
    }
    let racers = wires.iter().cycle().take(RACERS).map(|wire| {
        let (wire, csr, token) = (wire.clone(), csr(&key(), WEB), token.clone());
        async move { wire.issue(csr, Some(&token)).await }
    });
    let answers = at_once(racers).await;

    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1);
    for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refusal.reason(), Reason::TokenSpent, "{refusal}");
    }
    assert_eq!(server.metric(ISSUED), 1.0, "signatures");
    let of_token = journal(&server);
    let of_token = of_token
        .iter()
        .filter(|entry| entry["issued"]["token"] == id.as_str());
    assert_eq!(of_token.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_identities_that_race_for_one_key_one_gets_it() {
    let server = Server::up();
    let wire = Wire::connect(&server, None).await;
    let admin = admin(&server).await;
    for _ in 0..20 {
        let key = key();
        let mut racers = Vec::new();
        for id in [WEB, SHOP] {
            let (token, _) = admin.create_token(id).await.expect("a token");
            let (wire, csr) = (wire.clone(), csr(&key, id));
            racers.push(async move { wire.issue(csr, Some(&token)).await });
        }
        let answers = at_once(racers).await;
        let refused: Vec<_> = answers
            .iter()
            .filter_map(|answer| answer.as_ref().err())
            .collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].reason(), Reason::KeyBound, "{}", refused[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_sent_beside_its_own_revocation_is_recorded_before_it_or_refused() {
    const RENEWALS: usize = 200;
    let server = configured("limits: { inFlight: 0 }\n");
    let admin = admin(&server).await;
    let (token, _) = admin.create_token(WEB).await.expect("a token");
    let first_key = key();
    let enrolling = Wire::connect(&server, None).await;
    let first = enrolling.issue(csr(&first_key, WEB), Some(&token)).await;
    let first = first.expect("a certificate");
    let wire = Wire::connect(&server, Some(answered(&first, &first_key))).await;
    let leaf = identity::Leaf::parse(&first.chain[0]).expect("a certificate");
    let serial = leaf.serial().to_string();

    // The first that is answered sends the revocation, while the others are under way.
    let answered_one = Arc::new(Notify::new());
    let revoking = {
        let (admin, answered_one) = (admin.clone(), Arc::clone(&answered_one));
        tokio::spawn(async move {
            answered_one.notified().await;
            admin.revoke(&serial).await.expect("it is revoked");
        })
    };
    let pipelined = (0..RENEWALS).map(|_| {
        let (wire, csr, answered_one) = (wire.clone(), csr(&key(), WEB), Arc::clone(&answered_one));
        async move {
            let answer = wire.issue(csr, None).await;
            answered_one.notify_one();
            answer
        }
    });
    let mut answers = at_once(pipelined).await;
    revoking.await.expect("it was revoked");
    answers.push(wire.issue(csr(&key(), WEB), None).await);

    let entries = journal(&server);
    let revoked = entries.iter().find(|entry| {
        entry["action"]
            .as_str()
            .is_some_and(|action| action.starts_with("revoke"))
    });
    let revoked = position(revoked.expect("the revocation is recorded"));
    let recorded: BTreeMap<_, _> = entries
        .iter()
        .filter_map(|entry| Some((entry["issued"]["serial"].as_str()?, position(entry))))
        .collect();
    let mut refused = 0;
    for answer in &answers {
        match answer {
            Ok(answer) => {
                let leaf = identity::Leaf::parse(&answer.chain[0]).expect("a certificate");
                assert!(recorded[leaf.serial().to_string().as_str()] < revoked);
            }
            Err(refusal) => {
                assert_eq!(refusal.reason(), Reason::CertificateRevoked, "{refusal}");
                refused += 1;
            }
        }
    }
    println!("{} renewed, {refused} refused", answers.len() - refused);
    assert!(refused > 0 && refused < answers.len());
    let last = recorded.values().max().expect("certificates are recorded");
    assert!(
        *last < revoked,
        "renewed at {last}, after the revocation at {revoked}"
    );
}

/// Clients that renew one lineage in loops, until they are refused.
struct Loops {
    server: Server,
    identity: String,
    /// All renew with this key, where the loops are to share one.
    shared_key: Option<PrivateKey>,
    renewed: AtomicUsize,
    /// The revocation has been answered.
    revoked: AtomicBool,
}

impl Loops {
    async fn renew(self: Arc<Self>, mut pair: Pair) {
        loop {
            let wire = Wire::connect(&self.server, Some(pair)).await;
            let key = self.shared_key.clone().unwrap_or_else(key);
            let is_late = self.revoked.load(Ordering::SeqCst);
            match wire.issue(csr(&key, &self.identity), None).await {
                Ok(answer) => {
                    assert!(!is_late, "renewed after the answer to the revocation");
                    self.renewed.fetch_add(1, Ordering::SeqCst);
                    pair = answered(&answer, &key);
                }
                Err(refusal) => {
                    let reasons = [Reason::CertificateRevoked, Reason::KeyCompromised];
                    assert!(reasons.contains(&refusal.reason()), "{refusal}");
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_renews_after_the_answer_to_a_revocation_that_ran_while_it_renewed() {
    const ROUNDS: usize = 50;
    const CLIENTS: usize = 20;
    let mut server = configured("limits: { inFlight: 0 }\n");
    let admin = admin(&server).await;
    for round in 0..ROUNDS {
        let identity = format!("spiffe://example.org/ns/default/sa/round-{round}");
        let (token, _) = admin.create_token(&identity).await.expect("a token");
        let first_key = key();
        let enrolling = Wire::connect(&server, None).await;
        let first = enrolling.issue(csr(&first_key, &identity), Some(&token)).await;
        let first = first.expect("a certificate");
        let leaf = identity::Leaf::parse(&first.chain[0]).expect("a certificate");
        let serial = leaf.serial().to_string();
        let (which, reason) = match round % 3 {
            0 => (Which::Lineage(serial), "superseded"),
            1 => (Which::SpiffeId(identity.clone()), "superseded"),
            _ => (Which::Serial(serial), "keyCompromise"),
        };
        let loops = Arc::new(Loops {
            server,
            identity: identity.clone(),
            shared_key: (reason == "keyCompromise").then(|| first_key.clone()),
            renewed: AtomicUsize::new(0),
            revoked: AtomicBool::new(false),
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| tokio::spawn(Arc::clone(&loops).renew(answered(&first, &first_key))))
            .collect();
        while loops.renewed.load(Ordering::SeqCst) < CLIENTS {
            tokio::task::yield_now().await;
            assert!(
                !clients.iter().any(tokio::task::JoinHandle::is_finished),
                "a loop ended early"
            );
        }
        admin.revoke_which(which, reason).await.expect("it is revoked");
        loops.revoked.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.expect("no client renews after the answer");
        }
        server = Arc::into_inner(loops).expect("all clients have ended").server;
        let listed = run(&mut server.signet(&["cert", "list", "--spiffe-id", &identity, "-o", "json"]));
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let certificates = listed["items"].as_array().expect("certificates");
        // With one key the same request is answered by the same certificate.
        let fewest = if reason == "keyCompromise" { 2 } else { CLIENTS };
        assert!(certificates.len() >= fewest, "{}", certificates.len());
        for certificate in certificates {
            assert!(
                certificate["revokedAt"].is_string(),
                "valid after all: {certificate}"
            );
        }
    }
}
