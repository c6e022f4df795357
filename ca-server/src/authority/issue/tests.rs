//! The whole cycle in memory: replays, races, refusals counted once, callers who hang up.

mod repeats;

use issuance::{AuthorityCsr, AuthorityKeyType, PreparedAuthority, Profile, ProfileName};
use rcgen::KeyPair;
use serde_json::json;

use super::*;
use crate::authority::bench::{A, Ask, B, Bench, NOW, csr, digest, holder, key, leaf, nobody, serial};
use crate::authority::lifecycle;
use crate::store::inventory;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    for (name, id) in [("a", A), ("b", B)] {
        bench
            .apply(name, json!({ "spiffeId": id, "callers": ["token"] }))
            .await;
    }
    bench
}

fn bearer(token: &str) -> Ask<'_> {
    Ask {
        bearer: Some(token),
        ..Ask::default()
    }
}

#[tokio::test]
async fn a_lost_answer_is_given_again_for_the_same_key_and_wish_only() {
    let bench = bench().await;
    let token = bench.token("t", A, "a", |_| ()).await;
    let (mine, other) = (key(), key());
    let plain = csr(&mine, &[]);
    let first = bench.issue(&nobody(), &plain, bearer(&token)).await.unwrap();
    assert_eq!(leaf(&first).key_digest(), digest(&mine));
    bench.renew_authority().await;
    let again = bench.issue(&nobody(), &plain, bearer(&token)).await.unwrap();
    assert_eq!(again.chain, first.chain, "also when another authority is at work");
    assert_eq!(bench.count("signet_replays_total"), 1);
    let (long, named, named_other) = (
        Ask {
            life: Some(Duration::from_secs(60)),
            ..bearer(&token)
        },
        csr(&mine, &["x.example"]),
        Ask {
            spiffe_id: Some(B),
            ..bearer(&token)
        },
    );
    for (csr, ask) in [
        (&csr(&other, &[]), bearer(&token)),
        (&plain, long),
        (&named, bearer(&token)),
        (&plain, named_other),
    ] {
        assert_eq!(bench.refused(&nobody(), csr, ask).await, Reason::TokenSpent);
    }
    bench.revoke(&first).await;
    assert_eq!(
        bench.refused(&nobody(), &plain, bearer(&token)).await,
        Reason::TokenSpent
    );
}

#[tokio::test]
async fn a_csr_that_is_refused_leaves_the_token_offered() {
    let bench = bench().await;
    let token = bench.token("t", A, "a", |_| ()).await;
    let mut broken = csr(&key(), &[]);
    *broken.last_mut().unwrap() ^= 1;
    for (csr, expected) in [
        (vec![0; issuance::MAX_BYTES + 1], Reason::TooLarge),
        (vec![0x30, 0], Reason::CsrMalformed),
        (broken, Reason::CsrSignature),
        (csr(&key(), &["x.example"]), Reason::NameNotGranted),
        (csr(&key(), &[B]), Reason::IdentityNotGranted),
    ] {
        assert_eq!(bench.refused(&nobody(), &csr, bearer(&token)).await, expected);
    }
    assert!(
        bench
            .issue(&nobody(), &csr(&key(), &[]), bearer(&token))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn of_racers_for_one_token_one_wins_for_one_signature() {
    let bench = Arc::new(bench().await);
    let token = bench.token("t", A, "a", |_| ()).await;
    let before = bench.store.head().position;
    let racers: Vec<_> = (0..20)
        .map(|_| {
            let (bench, token) = (Arc::clone(&bench), token.clone());
            tokio::spawn(async move {
                let ask = bearer(&token);
                bench
                    .issue(&nobody(), &csr(&key(), &[]), ask)
                    .await
                    .map(|_| ())
                    .map_err(|r| r.reason())
            })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Ok(()) => won += 1,
            Err(reason) => assert_eq!(reason, Reason::TokenSpent),
        }
    }
    assert_eq!((won, bench.store.head().position), (1, before + 1));
}

#[tokio::test]
async fn who_hangs_up_while_it_is_recorded_gets_the_same_certificate_and_the_line_is_written() {
    let bench = bench().await;
    let token = bench.token("t", A, "a", |_| ()).await;
    let request = csr(&key(), &[]);
    {
        // The writer cannot make anything known, and so not answer, while somebody reads.
        let reading = bench.store.read();
        let (connection, ask) = (nobody(), bearer(&token));
        let mut call = std::pin::pin!(bench.issue(&connection, &request, ask));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending(), "the writer has it");
        drop(reading);
    }
    let issuance = bench.issue(&nobody(), &request, bearer(&token)).await.unwrap();
    let found = inventory::by_serial(bench.store.as_ref(), serial(&issuance)).unwrap();
    assert_eq!(found.unwrap().issued.der, issuance.chain[0].to_vec());
    let deadline = Instant::now() + Duration::from_secs(10);
    let issued = "signet_certificates_issued_total{profile=\"workload\",method=\"token\"}";
    while bench.count(issued) == 0 && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    assert_eq!((bench.count(issued), bench.count("signet_replays_total")), (1, 1));
    let decisions: Vec<_> = bench
        .audit_lines()
        .iter()
        .map(|line| line["decision"].clone())
        .collect();
    assert!(decisions.contains(&json!("issued")) && decisions.contains(&json!("replayed")));
}

#[tokio::test]
async fn each_refusal_counts_once() {
    let bench = bench().await;
    let token = bench.token("t", A, "a", |_| ()).await;
    let fine = csr(&key(), &[]);
    for (csr, ask, expected) in [
        (&fine, Ask::default(), Reason::NoProof),
        (&fine, bearer("sgt1.x"), Reason::TokenInvalid),
        (&vec![], bearer(&token), Reason::CsrMalformed),
        (&csr(&key(), &[B]), bearer(&token), Reason::IdentityNotGranted),
    ] {
        let before = bench.refusals();
        assert_eq!(bench.refused(&nobody(), csr, ask).await, expected);
        assert_eq!(bench.refusals(), before + 1, "{expected}");
        let word = format!("signet_refusals_total{{reason=\"{}\"}}", expected.word());
        assert_eq!(bench.count(&word), 1);
    }
}

#[tokio::test]
async fn a_key_belongs_to_one_identity() {
    let bench = bench().await;
    let (for_a, for_b) = (
        bench.token("a", A, "a", |_| ()).await,
        bench.token("b", B, "b", |_| ()).await,
    );
    let request = csr(&key(), &[]);
    assert!(bench.issue(&nobody(), &request, bearer(&for_a)).await.is_ok());
    assert_eq!(
        bench.refused(&nobody(), &request, bearer(&for_b)).await,
        Reason::KeyBound
    );
}

#[tokio::test]
async fn a_renewal_is_repeated_for_the_same_key_and_refused_once_the_parent_is_revoked() {
    let bench = bench().await;
    let first = bench.enrol("t", A, "a").await;
    let (connection, request) = (holder(&first), csr(&key(), &[]));
    let renewed = bench.issue(&connection, &request, Ask::default()).await.unwrap();
    let again = bench.issue(&connection, &request, Ask::default()).await.unwrap();
    assert_eq!(renewed.chain, again.chain);
    assert_ne!(renewed.chain[0], first.chain[0]);
    bench.revoke(&first).await;
    for request in [request, csr(&key(), &[])] {
        assert_eq!(
            bench.refused(&connection, &request, Ask::default()).await,
            Reason::CertificateRevoked
        );
    }
    assert!(
        bench
            .issue(&holder(&renewed), &csr(&key(), &[]), Ask::default())
            .await
            .is_ok()
    );
}

#[test]
fn a_device_carries_its_own_serial_number_and_no_other() {
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 5]), "D-1");
    let request = params.serialize_request(&key()).unwrap();
    let csr = VerifiedCsr::parse(request.der()).unwrap();
    let number = |id: &str| serial_number(&csr, &SpiffeId::new(id).unwrap());
    assert_eq!(number("spiffe://example.org/device/D-1").as_deref(), Some("D-1"));
    for other in [
        "spiffe://example.org/device/D-2",
        "spiffe://example.org/ns/D-1",
        A,
    ] {
        assert_eq!(number(other), None);
    }
}

#[tokio::test]
async fn the_key_of_a_root_and_of_an_authority_at_work_gets_no_leaf() {
    let bench = bench().await;
    let trust_domain = bench.signers.trust_domain();
    let active = bench.signers.current().active().unwrap().public_key().digest();
    let at_work = bench.signers.keys().load(trust_domain, active).unwrap().unwrap();
    let token = bench.token("t", A, "a", |_| ()).await;
    let pem = at_work.to_pkcs8_pem(None).unwrap();
    for pem in [pem, bench.root.to_pkcs8_pem(None).unwrap()] {
        let of_authority = csr(&KeyPair::from_pem(&pem).unwrap(), &[]);
        let refused = bench.refused(&nobody(), &of_authority, bearer(&token)).await;
        assert_eq!(refused, Reason::KeyIsAuthority);
    }
    bench
        .issue(&nobody(), &csr(&key(), &[]), bearer(&token))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_prepared_key_that_got_a_leaf_is_no_authority_any_more() {
    let bench = bench().await;
    let trust_domain = bench.signers.trust_domain();
    let prepared = PreparedAuthority::generate(trust_domain.clone(), AuthorityKeyType::P256).unwrap();
    bench.signers.keys().save(&prepared).unwrap();
    let request = AuthorityCsr::parse(&prepared.csr().unwrap()).unwrap();
    let signed = bench
        .root
        .sign_intermediate(
            &request,
            &Profile::default_of(ProfileName::Intermediate),
            Duration::from_secs(86_400),
            NOW,
        )
        .unwrap();
    let token = bench.token("t", A, "a", |_| ()).await;
    let pem = prepared.to_pkcs8_pem(None).unwrap();
    let leaf = csr(&KeyPair::from_pem(&pem).unwrap(), &[]);
    bench.issue(&nobody(), &leaf, bearer(&token)).await.unwrap();
    let (chain, root) = ([signed.der], bench.root.certificate());
    let refusal = lifecycle::activate(&chain, root, &bench.signers, bench.store.as_ref(), "test", NOW)
        .await
        .unwrap_err();
    assert_eq!(refusal.reason(), Reason::KeyBound);
    assert!(refusal.message().contains(A), "{refusal}");
}

#[tokio::test]
async fn the_audit_line_of_a_revoked_certificates_renewal_names_whose_it_was() {
    let bench = bench().await;
    let issuance = bench.enrol("t", A, "a").await;
    bench.revoke(&issuance).await;
    let connection = holder(&issuance);
    let refused = bench
        .refused(&connection, &csr(&key(), &[]), Ask::default())
        .await;
    assert_eq!(refused, Reason::CertificateRevoked);
    // A bearer's fault is not that of the certificate beside it.
    bench
        .refused(&connection, &csr(&key(), &[]), bearer("sgt1.x"))
        .await;
    let lines = bench.audit_lines();
    let [.., renewal, forged] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (&renewal["reason"], &renewal["method"], &renewal["identity"]),
        (&"CERTIFICATE_REVOKED".into(), &"renewal".into(), &A.into())
    );
    assert_eq!(renewal["parent"], serial(&issuance).to_string());
    assert_eq!(
        (&forged["reason"], &forged["method"], forged.get("identity")),
        (&"TOKEN_INVALID".into(), &"unproven".into(), None)
    );
}
