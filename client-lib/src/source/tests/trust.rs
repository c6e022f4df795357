//! Which bundles a source takes, and what it does when its certificate is refused.

use std::sync::Mutex;

use identity::TrustBundle;

use super::*;
use crate::error::AnswerError;
use crate::fake::root;

fn bundle_of(roots: &[&crate::fake::Signer], sequence: u64) -> TrustBundle {
    let roots = roots.iter().map(|root| root.der.clone()).collect();
    TrustBundle::new(td(), roots).unwrap().with_sequence(sequence)
}

/// Waits until the source has refused a bundle for a reason.
async fn refuses(source: &X509Source, what: &str, reason: impl Fn(&AnswerError) -> bool) {
    until(
        source,
        what,
        |status| matches!(status.bundle_error.as_deref(), Some(Error::Answer(why)) if reason(why)),
    )
    .await;
}

async fn has_sequence(source: &X509Source, sequence: u64) {
    let mut identities = source.identities().clone();
    while source.bundle().sequence() != sequence {
        tokio::time::timeout(PATIENCE, identities.changed())
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn a_bundle_that_steps_back_is_empty_or_excludes_the_ca_is_not_taken_and_the_next_good_one_is() {
    let fake = FakeCa::start().await;
    let place = tempfile::tempdir().unwrap();
    let builder = X509Source::builder(Proof::token(fake.token())).folder(place.path().join("web"));
    let source = builder.clone().start().await.unwrap();
    let other = root();
    let both = bundle_of(&[&fake.root, &other], 5);
    fake.bundle.send_replace(both.clone());
    has_sequence(&source, 5).await;
    for (bundle, what) in [
        (bundle_of(&[&fake.root], 4), "older"),
        (bundle_of(&[&fake.root], 5), "other of the same sequence"),
    ] {
        fake.bundle.send_replace(bundle);
        refuses(&source, what, |why| {
            matches!(why, AnswerError::OlderBundle { .. })
        })
        .await;
        fake.bundle.send_replace(both.clone());
        until(&source, "the known bundle again", |s| s.bundle_error.is_none()).await;
    }
    fake.bundle.send_replace(bundle_of(&[], 6));
    refuses(&source, "empty", |why| matches!(why, AnswerError::EmptyBundle)).await;
    fake.bundle.send_replace(bundle_of(&[&other], 7));
    refuses(&source, "excluding the CA", |why| {
        matches!(why, AnswerError::SelfExcludingBundle { .. })
    })
    .await;
    assert_eq!(*source.bundle(), both);
    assert_eq!(source.status().borrow().rotations, 0);
    fake.bundle.send_replace(bundle_of(&[&fake.root], 8));
    has_sequence(&source, 8).await;
}

#[tokio::test]
async fn a_restart_does_not_take_an_older_bundle_either_nor_does_a_renewal() {
    let fake = FakeCa::start().await;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("web");
    let builder = X509Source::builder(Proof::token(fake.token())).folder(&path);
    let source = builder
        .clone()
        .life(Duration::from_secs(10))
        .start()
        .await
        .unwrap();
    let other = root();
    fake.bundle.send_replace(bundle_of(&[&fake.root, &other], 5));
    has_sequence(&source, 5).await;
    let folder = Folder::new(&path).unwrap();
    let stored = || folder.read().unwrap().unwrap().bundle.sequence();
    let deadline = Instant::now() + PATIENCE;
    while stored() != 5 {
        assert!(Instant::now() < deadline, "the bundle was not stored");
        tokio::task::yield_now().await;
    }
    drop(source);
    fake.bundle.send_replace(bundle_of(&[&fake.root], 3));
    let source = builder.start().await.unwrap();
    refuses(&source, "older", |why| {
        matches!(why, AnswerError::OlderBundle { .. })
    })
    .await;
    until(&source, "a rotation", |status| status.rotations >= 1).await;
    assert_eq!((source.bundle().sequence(), stored()), (5, 5));
}

#[tokio::test]
async fn a_bundle_that_does_not_admit_the_own_certificate_is_taken_with_the_next_certificate() {
    let fake = FakeCa::start().await;
    let old = Arc::new(root());
    fake.bundle.send_replace(bundle_of(&[&fake.root, &old], 1));
    fake.set(|state| {
        state.signer = Some(old.clone());
        state.life = Duration::from_secs(10);
    });
    let source = X509Source::builder(Proof::token(fake.token()))
        .start()
        .await
        .unwrap();
    assert_eq!(source.bundle().roots().len(), 2);
    fake.set(|state| state.signer = None);
    fake.bundle.send_replace(bundle_of(&[&fake.root], 2));
    refuses(&source, "orphaning", |why| {
        matches!(why, AnswerError::OrphaningBundle { .. })
    })
    .await;
    let started = Instant::now();
    until(&source, "a rotation", |status| {
        status.rotations == 1 && status.bundle_error.is_none()
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(4), "it was not hurried");
    assert_eq!(source.bundle().sequence(), 2);
}

/// Leads to a CA whose address is set later.
#[derive(Debug)]
struct Moved(Mutex<String>);

impl Dial for Moved {
    fn dial<'a>(&'a self, _: &'a str) -> Dialled<'a> {
        let address = self.0.lock().unwrap().clone();
        Box::pin(async move { Tcp.dial(&address).await })
    }
}

#[tokio::test]
async fn a_bundle_by_hand_takes_precedence_over_that_of_the_folder() {
    let (before, after) = (FakeCa::start().await, FakeCa::start().await);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("web");
    let builder = X509Source::builder(Proof::token(before.token())).folder(&path);
    drop(builder.start().await.unwrap());
    // The root was replaced while this client was off.
    let moved = Arc::new(Moved(Mutex::new(after.address.to_string())));
    let resumed = X509Source::resume(&path).unwrap().dialled_by(moved);
    let source = resumed.bundle(after.root.bundle()).start().await.unwrap();
    assert_eq!(source.bundle().roots(), after.root.bundle().roots());
    assert_eq!(after.requests().len(), 1, "renewed under the new root");
    let stored = Folder::new(&path).unwrap().read().unwrap().unwrap();
    assert_eq!(stored.bundle.roots(), after.root.bundle().roots());
}

#[tokio::test]
async fn a_stream_that_ends_early_is_opened_again_after_pauses_that_grow() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.end_streams = true);
    let source = X509Source::builder(Proof::token(fake.token()))
        .start()
        .await
        .unwrap();
    let started = Instant::now();
    let streams = || fake.state.lock().unwrap().streams;
    while streams() < 5 {
        assert!(started.elapsed() < PATIENCE, "{} streams", streams());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Half of 250 ms, 500 ms, 1 s and 2 s at the least.
    assert!(started.elapsed() > Duration::from_millis(1_800));
    drop(source);
}

#[tokio::test]
async fn a_refused_renewal_enrols_again_with_a_proof_that_can_be_used_again() {
    for reason in [
        Reason::CertificateUntrusted,
        Reason::CertificateExpired,
        Reason::CertificateNotYetValid,
        Reason::IdentityNotGranted,
    ] {
        let fake = FakeCa::start().await;
        fake.set(|state| {
            state.life = Duration::from_secs(4);
            state.refuse_renewals = Some(Refusal::new(reason, "enrol again"));
        });
        let builder = X509Source::builder(Proof::jwt("a.b.c").unwrap()).server(fake.server());
        let source = builder.start().await.unwrap();
        until(&source, "an enrolment", |status| status.rotations >= 1).await;
        let seen = fake.requests();
        assert!(
            seen[1].presented.is_some() && seen[1].bearer.is_none(),
            "{reason}"
        );
        assert_eq!(seen[2].bearer.as_deref(), Some("Bearer a.b.c"), "{reason}");
    }
}

#[tokio::test]
async fn a_refused_renewal_does_not_spend_a_token_again() {
    let fake = FakeCa::start().await;
    fake.set(|state| {
        state.life = Duration::from_secs(3);
        state.refuse_renewals = Some(Refusal::new(Reason::CertificateUntrusted, "enrol again"));
    });
    let source = X509Source::builder(Proof::token(fake.token()))
        .start()
        .await
        .unwrap();
    until(&source, "a refusal", |status| status.renewal_error.is_some()).await;
    let error = source.status().borrow().renewal_error.clone().unwrap();
    assert_eq!(error.reason(), Reason::CertificateUntrusted);
    let bearers = fake.requests().iter().filter(|s| s.bearer.is_some()).count();
    assert_eq!(bearers, 1);
}

#[tokio::test]
async fn a_revoked_identity_enrols_again_only_with_a_new_proof() {
    let fake = FakeCa::start().await;
    fake.set(|state| {
        state.life = Duration::from_secs(4);
        state.refuse_renewals = Some(Refusal::new(Reason::CertificateRevoked, "revoked"));
    });
    let place = tempfile::tempdir().unwrap();
    let jwt = place.path().join("jwt");
    std::fs::write(&jwt, "a.b.c").unwrap();
    let builder = X509Source::builder(Proof::jwt_file(&jwt)).server(fake.server());
    let source = builder.start().await.unwrap();
    until(&source, "a refusal", |status| status.renewal_error.is_some()).await;
    let bearers = || fake.requests().iter().filter(|s| s.bearer.is_some()).count();
    let end = source.svid().leaf().validity().not_after();
    let lapsed = |_: &Status| OffsetDateTime::now_utc() > end + time::Duration::seconds(2);
    until(&source, "the expiry", lapsed).await;
    assert_eq!(bearers(), 1, "the old proof was used again");
    std::fs::write(&jwt, "d.e.f").unwrap();
    until(&source, "an enrolment", |status| status.rotations >= 1).await;
    assert_eq!(bearers(), 2);
}
