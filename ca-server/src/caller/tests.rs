//! What a caller brought, judged: tokens, certificates, both, and none.

use std::sync::RwLockReadGuard;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::authority::bench::{A, Ask, B, Bench, csr, holder, key, nobody, serial, with_chain};
use crate::store::{
    Answer, Command, Entry, IssueFacts, Outcome, Revocation, Selection, State, StoreError, TokenRow, Verdict,
};
use identity::SpiffeId;
use issuance::{AuthorityCsr, AuthorityKeyType, Draft, PreparedAuthority, Profile, ProfileName, VerifiedCsr};
use serde_json::json;
use tokio::sync::watch;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    for (name, id) in [("a", A), ("b", B)] {
        bench
            .apply(name, json!({ "spiffeId": id, "callers": ["token"] }))
            .await;
    }
    bench
}

fn attest(
    bench: &Bench,
    connection: &Connection,
    bearer: Option<&str>,
    lenient_bearer: bool,
) -> Result<Attestation, Reason> {
    let evidence = Evidence {
        connection,
        bearer,
        lenient_bearer,
    };
    bench
        .callers
        .attest(evidence, bench.now())
        .map_err(|refusal| refusal.reason())
}

fn reason(bench: &Bench, connection: &Connection, bearer: Option<&str>) -> Reason {
    attest(bench, connection, bearer, false).unwrap_err()
}

#[tokio::test]
async fn who_brings_nothing_is_told_so_and_the_kernel_speaks_for_its_socket() {
    let bench = bench().await;
    assert_eq!(reason(&bench, &nobody(), None), Reason::NoProof);
    let socket = Connection::over_socket(1000, 7);
    let caller = attest(&bench, &socket, None, false).unwrap().attested;
    assert_eq!(
        (caller.method(), caller.to_string().as_str()),
        ("admin", "unix:uid=1000,pid=7")
    );
    // There too a bearer decides.
    let token = bench.token("t", A, "a", |_| ()).await;
    let caller = attest(&bench, &socket, Some(&token), false).unwrap().attested;
    assert_eq!(caller.to_string(), "token:t");
    assert_eq!(reason(&bench, &socket, Some("sgt1.x")), Reason::TokenInvalid);
}

#[tokio::test]
async fn a_token_that_was_changed_anywhere_is_invalid_and_the_true_one_goes_on() {
    let bench = bench().await;
    let token = bench.token("t", A, "a", |_| ()).await;
    for at in [5, 9, token.len() / 2, token.len() - 1] {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert_eq!(
            reason(&bench, &nobody(), Some(&forged)),
            Reason::TokenInvalid,
            "{at}"
        );
    }
    assert!(attest(&bench, &nobody(), Some(&token), false).is_ok());
}

#[tokio::test]
async fn a_token_that_has_ended_says_how_though_its_registration_is_gone() {
    let bench = bench().await;
    let made = |row: &mut TokenRow| row.made_registration = true;
    bench
        .apply("token-late", json!({ "spiffeId": A, "callers": ["token"] }))
        .await;
    let late = bench.token("late", A, "token-late", made).await;
    let revoked = bench
        .token("revoked", A, "token-revoked", |row| row.revoked = true)
        .await;
    bench.later(Duration::from_secs(601 + 3600));
    bench.submit(Command::Prune).await;
    assert!(
        bench
            .registrations
            .current()
            .get("default", "token-late")
            .is_none()
    );
    let csr = csr(&key(), &[]);
    for (token, expected) in [(&late, Reason::TokenExpired), (&revoked, Reason::TokenRevoked)] {
        let ask = Ask {
            bearer: Some(token),
            ..Ask::default()
        };
        assert_eq!(bench.refused(&nobody(), &csr, ask).await, expected);
    }
}

#[tokio::test]
async fn two_proofs_must_name_one_identity() {
    let bench = bench().await;
    let a = holder(&bench.enrol("a", A, "a").await);
    let (for_a, for_b) = (
        bench.token("t1", A, "a", |_| ()).await,
        bench.token("t2", B, "b", |_| ()).await,
    );
    for lenient in [false, true] {
        let [agreed, disagreed] =
            [&for_a, &for_b].map(|token| attest(&bench, &a, Some(token), lenient).unwrap());
        assert_eq!(
            (agreed.attested.method(), agreed.bearer_ignored),
            ("token", false)
        );
        assert!(bench.registrations.agree(&agreed.attested).is_ok());
        let refusal = bench.registrations.agree(&disagreed.attested).unwrap_err();
        assert_eq!(refusal.reason(), Reason::ProofsDisagree);
        assert_eq!(
            (refusal.evidence("found"), refusal.evidence("expected")),
            (Some(B), Some(A))
        );
    }
}

#[tokio::test]
async fn a_bearer_that_does_not_verify_is_refused_or_passed_over_where_proxies_send_it_unseen() {
    let bench = bench().await;
    let a = holder(&bench.enrol("a", A, "a").await);
    for bad in ["sgt1.x", "e30.e30.e30", ""] {
        assert!(attest(&bench, &a, Some(bad), false).is_err(), "{bad}");
        let passed = attest(&bench, &a, Some(bad), true).unwrap();
        assert_eq!(
            (passed.attested.method(), passed.bearer_ignored),
            ("renewal", true)
        );
        assert!(attest(&bench, &nobody(), Some(bad), true).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_proxy_that_goes_on_sending_its_spent_token_renews_by_its_certificate() {
    let bench = bench().await;
    let token = bench.token("t", A, "a", |_| ()).await;
    let proxy = Ask {
        bearer: Some(&token),
        lenient: true,
        ..Ask::default()
    };
    let first = bench.issue(&nobody(), &csr(&key(), &[]), proxy).await.unwrap();
    let (connection, renewed) = (holder(&first), csr(&key(), &[]));
    bench.issue(&connection, &renewed, proxy).await.unwrap();
    let strict = Ask {
        lenient: false,
        ..proxy
    };
    assert_eq!(
        bench.refused(&connection, &csr(&key(), &[]), strict).await,
        Reason::TokenSpent
    );
    bench.later(Duration::from_secs(1200));
    bench.issue(&connection, &csr(&key(), &[]), proxy).await.unwrap();
    assert_eq!(bench.count("signet_ignored_bearers_total"), 2);
}

#[tokio::test]
async fn a_bearer_that_verifies_decides_beside_a_certificate_that_does_not() {
    let bench = bench().await;
    let issuance = bench.enrol("a", A, "a").await;
    bench.revoke(&issuance).await;
    let token = bench.token("t", A, "a", |_| ()).await;
    let caller = attest(&bench, &holder(&issuance), Some(&token), false)
        .unwrap()
        .attested;
    assert_eq!(caller.method(), "token");
}

#[tokio::test]
async fn a_certificate_is_judged_at_each_call_of_its_connection() {
    let bench = bench().await;
    let issuance = bench.enrol("a", A, "a").await;
    let connection = holder(&issuance);
    let begins = issuance.validity.not_before() - bench.now();
    assert!(attest(&bench, &connection, None, false).is_ok());
    let early = Evidence {
        connection: &connection,
        bearer: None,
        lenient_bearer: false,
    };
    let refusal = bench
        .callers
        .attest(early, bench.now() + begins - Duration::from_secs(1))
        .unwrap_err();
    assert_eq!(refusal.reason(), Reason::CertificateNotYetValid);
    bench.later(Duration::from_secs(3600));
    assert!(attest(&bench, &connection, None, false).is_ok());
    bench.later(Duration::from_secs(1));
    assert_eq!(reason(&bench, &connection, None), Reason::CertificateExpired);

    let other = bench.enrol("a2", A, "a").await;
    let connection = holder(&other);
    assert!(attest(&bench, &connection, None, false).is_ok());
    bench.revoke(&other).await;
    assert_eq!(reason(&bench, &connection, None), Reason::CertificateRevoked);
}

#[tokio::test]
async fn an_authority_that_was_replaced_stands_behind_its_leaves_and_ended_ones_say_so_when_it_is_gone() {
    let bench = bench().await;
    let issuance = bench.enrol("a", A, "a").await;
    bench.renew_authority().await;
    assert!(attest(&bench, &holder(&issuance), None, false).is_ok());
    bench.later(Duration::from_secs(2 * 3600 + 100));
    bench.submit(Command::Prune).await;
    assert_eq!(bench.store.read().authorities().count(), 1);
    assert_eq!(
        reason(&bench, &holder(&issuance), None),
        Reason::CertificateExpired
    );
}

#[tokio::test]
async fn a_certificate_whose_key_was_compromised_proves_nothing() {
    let bench = bench().await;
    let (shared, token) = (key(), bench.token("t1", A, "a", |_| ()).await);
    let mut issued = Vec::new();
    for token in [token, bench.token("t2", A, "a", |_| ()).await] {
        let ask = Ask {
            bearer: Some(&token),
            ..Ask::default()
        };
        issued.push(bench.issue(&nobody(), &csr(&shared, &[]), ask).await.unwrap());
    }
    let connection = holder(&issued[1]);
    assert!(attest(&bench, &connection, None, false).is_ok());
    bench
        .submit(Command::Revoke {
            which: Revocation::Serial(serial(&issued[0])),
            known: Selection::default(),
            reason: "keyCompromise".to_owned(),
            by: "test".to_owned(),
        })
        .await;
    assert_eq!(reason(&bench, &connection, None), Reason::CertificateRevoked);
    let renewal = bench.issue(&connection, &csr(&key(), &[]), Ask::default()).await;
    assert_eq!(renewal.unwrap_err().reason(), Reason::CertificateRevoked);
}

#[tokio::test]
async fn a_sibling_under_the_same_root_mints_nothing() {
    let bench = bench().await;
    let prepared =
        PreparedAuthority::generate(bench.signers.trust_domain().clone(), AuthorityKeyType::P256).unwrap();
    let request = AuthorityCsr::parse(&prepared.csr().unwrap()).unwrap();
    let life = Duration::from_secs(3600);
    let signed = bench
        .root
        .sign_intermediate(
            &request,
            &Profile::default_of(ProfileName::Intermediate),
            life,
            bench.now(),
        )
        .unwrap();
    let sibling = prepared
        .activate(&[signed.der], bench.root.certificate(), bench.now())
        .unwrap();
    for id in ["spiffe://example.org/admin/x", A] {
        let draft = Draft {
            profile: Profile::default_of(ProfileName::Workload),
            spiffe_id: SpiffeId::new(id).unwrap(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            subject_serial_number: None,
            key: VerifiedCsr::parse(&csr(&key(), &[]))
                .unwrap()
                .public_key()
                .clone(),
            life,
            now: bench.now(),
        };
        let mut chain = vec![sibling.sign(draft.check().unwrap()).unwrap().der];
        chain.extend_from_slice(sibling.chain());
        let connection = with_chain(chain);
        assert_eq!(reason(&bench, &connection, None), Reason::CertificateUntrusted);
    }
}

#[tokio::test]
async fn the_journal_is_read_once_for_a_connection_with_our_certificate_and_never_for_a_stranger() {
    let bench = bench().await;
    let counted = Arc::new(Counted {
        store: Arc::clone(&bench.store),
        look_ups: AtomicUsize::new(0),
    });
    let judge = CertificateJudge::new(Arc::clone(&counted) as Arc<dyn Store>, Vec::new());
    let issuance = bench.enrol("a", A, "a").await;
    let stranger = rcgen::CertificateParams::default().self_signed(&key()).unwrap();
    for (connection, expected, reads) in [
        (holder(&issuance), None, 1),
        (
            with_chain(vec![stranger.der().clone()]),
            Some(Reason::CertificateUntrusted),
            0,
        ),
    ] {
        let before = counted.look_ups.load(Ordering::Relaxed);
        for _ in 0..3 {
            let verdict = judge.judge(&connection, Purpose::Issuance, bench.now());
            assert_eq!(verdict.err().map(|refusal| refusal.reason()), expected);
        }
        assert_eq!(counted.look_ups.load(Ordering::Relaxed), before + reads);
    }
}

#[tokio::test]
async fn what_was_issued_while_the_clock_was_ahead_renews_after_its_correction_and_administers_nothing() {
    let bench = bench().await;
    let id = "spiffe://example.org/admin/x";
    bench
        .apply(
            "x",
            json!({ "spiffeId": id, "role": "admin", "callers": ["token"] }),
        )
        .await;
    let days = Duration::from_secs(3 * 24 * 3600);
    bench.later(days);
    let (ahead, revoked) = (bench.enrol("x", id, "x").await, bench.enrol("y", id, "x").await);
    let (admin, other) = (holder(&ahead), holder(&revoked));
    let renewed = csr(&key(), &[id]);
    let outdated = bench.issue(&admin, &renewed, Ask::default()).await.unwrap();
    bench.earlier(days);
    assert_eq!(reason(&bench, &admin, None), Reason::CertificateNotYetValid);

    bench.revoke(&revoked).await;
    bench
        .submit(Command::AcceptTime {
            at: bench.now().unix_timestamp(),
            dispute: "ahead".to_owned(),
            by: "test".to_owned(),
        })
        .await;
    assert!(attest(&bench, &admin, None, false).is_ok());
    assert_eq!(reason(&bench, &other, None), Reason::CertificateRevoked);
    let administers = bench.callers.certificate(&admin, bench.now());
    assert_eq!(administers.unwrap_err().reason(), Reason::CertificateNotYetValid);
    // The same request as before gets another certificate: the recorded one cannot be used yet.
    bench.renew_authority().await;
    let next = bench.issue(&admin, &renewed, Ask::default()).await.unwrap();
    assert_ne!(serial(&next), serial(&outdated));
    assert!(next.validity.contains(bench.now()));

    bench.later(days);
    let late = bench.enrol("z", A, "a").await;
    bench.earlier(days);
    assert_eq!(
        reason(&bench, &holder(&late), None),
        Reason::CertificateNotYetValid,
        "it was recorded after the correction"
    );
}

/// A store that counts what is read of its journal.
struct Counted {
    store: Arc<dyn Store>,
    look_ups: AtomicUsize,
}

impl Store for Counted {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.store.read()
    }
    fn submit(&self, command: Command) -> Answer<Outcome> {
        self.store.submit(command)
    }
    fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal> {
        self.look_ups.fetch_add(1, Ordering::Relaxed);
        self.store.entry(position)
    }
    fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal> {
        self.look_ups.fetch_add(1, Ordering::Relaxed);
        self.store.find(field, fingerprint)
    }
    fn judge(&self, facts: &IssueFacts) -> Result<Verdict, Refusal> {
        self.store.judge(facts)
    }
    fn head(&self) -> journal::Head {
        self.store.head()
    }
    fn changed(&self) -> watch::Receiver<u64> {
        self.store.changed()
    }
    fn health(&self) -> watch::Receiver<Option<String>> {
        self.store.health()
    }
    fn failure(&self) -> watch::Receiver<Option<String>> {
        self.store.failure()
    }
    fn close(&self) -> Result<(), StoreError> {
        self.store.close()
    }
}

#[test]
fn a_bearer_is_not_in_debug() {
    let connection = nobody();
    let evidence = Evidence {
        connection: &connection,
        bearer: Some("sgt1.secret"),
        lenient_bearer: false,
    };
    assert!(!format!("{evidence:?}").contains("secret"));
}
