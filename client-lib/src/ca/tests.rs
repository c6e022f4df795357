//! Enrolment and bootstrap against a CA that is real on the wire, and against what only poses as one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use identity::{Fingerprint, Reason};

use super::*;
use crate::dial::{Dialled, Tcp};
use crate::fake::{FakeCa, WEB, id, root, td, uri};
use crate::key::KeyType;

fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::P256).unwrap()
}

#[tokio::test]
async fn a_token_enrols_after_the_fingerprint_was_checked() {
    let fake = FakeCa::start().await;
    let key = key();
    let wish = Wish {
        dns_names: vec!["web.example".to_owned()],
        life: Some(Duration::from_secs(600)),
        ..Wish::default()
    };
    let proof = Proof::token(fake.token());
    let got = fake.client().enrol(&proof, &key, &wish).await.unwrap();
    assert_eq!(got.svid().id(), &id(WEB));
    assert_eq!(got.svid().leaf().dns_names(), ["web.example"]);
    assert_eq!(got.svid().leaf().key_digest(), key.digest());
    let validity = got.svid().leaf().validity();
    assert_eq!(
        validity.not_after() - validity.not_before(),
        time::Duration::seconds(660)
    );
    assert_eq!(
        got.bundle().root(&Fingerprint::of(&fake.root.der)),
        Some(&fake.root.der)
    );
    let bearer = fake.requests()[0].bearer.clone();
    assert_eq!(bearer, Some(format!("Bearer {}", *fake.token().text())));
}

#[tokio::test]
async fn a_wrong_fingerprint_is_refused_before_anything_secret_is_sent() {
    let fake = FakeCa::start().await;
    let other = Fingerprint::of(b"other");
    let proof = Proof::token(fake.token_with(other));
    let error = Ca::new(proof.server().unwrap())
        .enrol(&proof, &key(), &Wish::default())
        .await
        .unwrap_err();
    let Error::Fingerprint { expected, found, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (*expected, found.as_slice()),
        (other, &[Fingerprint::of(&fake.root.der)][..])
    );
    assert_eq!(error.reason(), Reason::CertificateUntrusted);
    assert!(!error.may_pass());
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn a_relay_that_adds_its_own_root_gets_no_secret() {
    let (honest, own) = (root(), root());
    let both = TrustBundle::new(td(), vec![honest.der.clone(), own.der.clone()]).unwrap();
    let relay = FakeCa::start_with(own, both, "spiffe://td/server/ca", "127.0.0.1").await;
    let proof = Proof::token(relay.token_with(Fingerprint::of(&honest.der)));
    let error = Ca::new(proof.server().unwrap())
        .enrol(&proof, &key(), &Wish::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Relay { .. }), "{error}");
    assert!(relay.requests().is_empty());
}

/// Leads the first connection to one place and all others to another.
#[derive(Debug)]
struct Detour {
    first: String,
    then: String,
    count: AtomicUsize,
}

impl Dial for Detour {
    fn dial<'a>(&'a self, _: &'a str) -> Dialled<'a> {
        let first = self.count.fetch_add(1, Ordering::SeqCst) == 0;
        Tcp.dial(if first { &self.first } else { &self.then })
    }
}

#[tokio::test]
async fn a_root_that_was_shown_before_the_server_was_verified_is_not_kept() {
    let honest = FakeCa::start().await;
    let own = root();
    let stranger = own.der.clone();
    let both = TrustBundle::new(td(), vec![stranger.clone(), honest.root.der.clone()]).unwrap();
    let relay = FakeCa::start_with(own, both.clone(), "spiffe://td/server/ca", "127.0.0.1").await;
    let detour = Arc::new(Detour {
        first: relay.address.to_string(),
        then: honest.address.to_string(),
        count: AtomicUsize::new(0),
    });
    let bundle = honest.client().dialled_by(detour).bundle().await.unwrap();
    assert_eq!(bundle.roots(), std::slice::from_ref(&honest.root.der));
    assert_eq!(
        bootstrap::strangers(both.roots(), &bundle),
        [Fingerprint::of(&stranger)]
    );
}

#[tokio::test]
async fn a_server_of_another_name_role_or_trust_domain_is_not_the_ca() {
    for (server_id, host, expected) in [
        ("spiffe://td/server/ca", "elsewhere.example", "expected 127.0.0.1"),
        (
            "spiffe://td/ns/a/sa/web",
            "127.0.0.1",
            "expected spiffe://td/server/",
        ),
        ("spiffe://td/server/ca", "127.0.0.2", "expected 127.0.0.1"),
        ("spiffe://staging/server/ca", "127.0.0.1", "expected td"),
    ] {
        let root = root();
        let bundle = root.bundle();
        let fake = FakeCa::start_with(root, bundle, server_id, host).await;
        let proof = Proof::token(fake.token());
        let error = fake
            .client()
            .enrol(&proof, &key(), &Wish::default())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Relay { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(fake.requests().is_empty());
    }
}

#[tokio::test]
async fn jwt_and_factory_certificate_enrol_too() {
    let fake = FakeCa::start().await;
    let jwt = Proof::jwt("a.b.c").unwrap();
    fake.client().enrol(&jwt, &key(), &Wish::default()).await.unwrap();
    let factory = root();
    let (leaf, factory_key) = factory.leaf(vec![uri("urn:device:7")], Duration::from_secs(60));
    let proof = Proof::certificate(vec![leaf], &factory_key).unwrap();
    let issued = fake
        .client()
        .issue(&proof, &key().request(None, &[]).unwrap(), &Wish::default())
        .await;
    assert_eq!(issued.unwrap().chain.len(), 1);
    let seen = fake.requests();
    assert_eq!(seen[0].bearer.as_deref(), Some("Bearer a.b.c"));
    assert!(seen[0].presented.is_none());
    assert_eq!(seen[1].bearer, None);
    assert_eq!(
        seen[1].presented.as_ref().unwrap().key_digest(),
        factory_key.digest()
    );
}

#[tokio::test]
async fn a_renewal_presents_the_own_certificate_and_no_bearer() {
    let fake = FakeCa::start().await;
    let mut ca = fake.client();
    let first = ca
        .enrol(&Proof::token(fake.token()), &key(), &Wish::default())
        .await
        .unwrap();
    let second = ca.renew(first.svid(), &key(), &Wish::default()).await.unwrap();
    assert_ne!(second.svid().leaf().serial(), first.svid().leaf().serial());
    let seen = fake.requests().pop().unwrap();
    assert_eq!(seen.bearer, None);
    assert_eq!(seen.presented.unwrap().serial(), first.svid().leaf().serial());
}

#[tokio::test]
async fn a_refusal_of_the_ca_keeps_its_reason_and_delay() {
    let fake = FakeCa::start().await;
    let refusal = Refusal::new(Reason::TooManyInFlight, "busy").retry_after(Duration::from_secs(3));
    fake.set(|state| state.refuse = Some(refusal));
    let proof = Proof::token(fake.token());
    let error = fake
        .client()
        .enrol(&proof, &key(), &Wish::default())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::TooManyInFlight);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    assert!(error.may_pass());
}

#[tokio::test]
async fn nobody_at_the_address_is_said_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let server = CaServer::new(address.clone(), Fingerprint::of(b""), td()).unwrap();
    let error = Ca::new(server).bundle().await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { address: a, .. } if *a == address),
        "{error}"
    );
    assert!(error.may_pass());
}
