//! The source over its whole life: first certificate, renewal, outage, lapse, restart; against the fake CA on the wire.

mod clocks;
mod storage;
mod trust;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use identity::Reason;
use proto::Refusal;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::authorize::Authorize;
use crate::dial::{Dial, Dialled, Tcp};
use crate::fake::{FakeCa, WEB, id, td};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

/// A road that can be closed.
#[derive(Debug, Default)]
struct Road {
    closed: AtomicBool,
}

impl Dial for Road {
    fn dial<'a>(&'a self, address: &'a str) -> Dialled<'a> {
        if self.closed.load(Ordering::SeqCst) {
            return Box::pin(async { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) });
        }
        Tcp.dial(address)
    }
}

async fn until(source: &X509Source, what: &str, condition: impl FnMut(&Status) -> bool) {
    let mut status = source.status();
    let reached = tokio::time::timeout(PATIENCE, status.wait_for(condition)).await;
    reached
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
        .unwrap();
}

#[tokio::test]
async fn renewal_comes_by_itself_new_handshakes_use_it_and_an_open_connection_goes_on() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.life = Duration::from_secs(4));
    let source = X509Source::builder(Proof::token(fake.token()))
        .start()
        .await
        .unwrap();
    let peers = Authorize::id(&id(WEB));
    let client = TlsConnector::from(Arc::new(source.client_config(peers.clone())));
    let server = TlsAcceptor::from(Arc::new(source.server_config(peers)));
    let shake = || async {
        let (a, b) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from("web").unwrap();
        tokio::try_join!(client.connect(name, a), server.accept(b)).unwrap()
    };
    let (mut near, mut far) = shake().await;
    let first = source.svid().leaf().serial();
    until(&source, "two rotations", |status| status.rotations >= 2).await;

    let newest = source.svid();
    assert_ne!(newest.leaf().serial(), first);
    let (fresh, fresh_far) = shake().await;
    assert_eq!(fresh.get_ref().1.peer_certificates().unwrap(), newest.chain());
    assert_eq!(fresh_far.get_ref().1.peer_certificates().unwrap(), newest.chain());
    near.write_all(b"still here").await.unwrap();
    near.flush().await.unwrap();
    let mut read = [0; 10];
    far.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"still here");

    let seen = fake.requests();
    assert!(
        seen[0].bearer.is_some()
            && seen[1..]
                .iter()
                .all(|s| s.bearer.is_none() && s.presented.is_some())
    );
    let renewed = &seen[2];
    assert_eq!(
        renewed.presented.as_ref().unwrap().key_digest(),
        seen[1].key,
        "each presents the newest"
    );
    assert_ne!(seen[1].key, seen[0].key, "each has a key of its own");
}

#[tokio::test]
async fn an_outage_of_the_ca_costs_nothing_while_the_certificate_counts_and_renewal_resumes() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.life = Duration::from_secs(6));
    let road = Arc::new(Road::default());
    let builder = X509Source::builder(Proof::token(fake.token())).dialled_by(road.clone());
    let source = builder.start().await.unwrap();
    let first = source.svid().leaf().serial();
    road.closed.store(true, Ordering::SeqCst);
    until(&source, "a failed renewal", |status| {
        status.renewal_error.is_some()
    })
    .await;
    assert_eq!(source.svid().leaf().serial(), first);
    let now = OffsetDateTime::now_utc();
    assert!(source.svid().leaf().validity().contains(now));
    road.closed.store(false, Ordering::SeqCst);
    until(&source, "a rotation after the outage", |s| {
        s.rotations >= 1 && s.renewal_error.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_lapsed_holder_enrols_again_where_the_proof_can_be_used_again() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.life = Duration::from_secs(3));
    let road = Arc::new(Road::default());
    let builder = X509Source::builder(Proof::jwt("a.b.c").unwrap()).server(fake.server());
    let source = builder.dialled_by(road.clone()).start().await.unwrap();
    road.closed.store(true, Ordering::SeqCst);
    let end = source.svid().leaf().validity().not_after();
    let lapsed = |_: &Status| OffsetDateTime::now_utc() > end + time::Duration::seconds(1);
    until(&source, "the end of the life", lapsed).await;
    let asked = fake.requests().len();
    road.closed.store(false, Ordering::SeqCst);
    until(&source, "a second enrolment", |status| status.rotations >= 1).await;
    assert_eq!(fake.requests()[asked].bearer.as_deref(), Some("Bearer a.b.c"));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.lose = 2);
    let source = X509Source::builder(Proof::token(fake.token()))
        .start()
        .await
        .unwrap();
    let seen = fake.requests();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|s| s.key == source.svid().leaf().key_digest()));
}

#[tokio::test]
async fn the_first_fetch_waits_for_the_ca_and_gives_up_at_the_deadline() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.refuse = Some(Refusal::new(Reason::NotReady, "not yet")));
    let builder = X509Source::builder(Proof::token(fake.token()));
    let started = Instant::now();
    let error = builder
        .clone()
        .first_fetch_within(Duration::from_millis(700))
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert_eq!(error.reason(), Reason::NotReady);
    assert!(started.elapsed() >= Duration::from_millis(700));
    let waiting = tokio::spawn(builder.start());
    let asked = fake.requests().len();
    while fake.requests().len() == asked {
        tokio::task::yield_now().await;
    }
    fake.set(|state| state.refuse = None);
    assert_eq!(waiting.await.unwrap().unwrap().id(), id(WEB));
}

#[tokio::test]
async fn a_refusal_that_cannot_pass_is_returned_at_once() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.refuse = Some(Refusal::new(Reason::TokenExpired, "token expired")));
    let error = X509Source::builder(Proof::token(fake.token()))
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::TokenExpired);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_certificate_that_peers_would_refuse_is_never_put_to_use() {
    let fake = FakeCa::start().await;
    fake.set(|state| state.life = Duration::from_secs(6));
    let source = X509Source::builder(Proof::token(fake.token()))
        .start()
        .await
        .unwrap();
    let first = source.svid().leaf().serial();
    fake.set(|state| state.spoil = true);
    until(&source, "a certificate refused", |s| {
        s.renewal_error
            .as_ref()
            .is_some_and(|e| matches!(**e, Error::Svid(_)))
    })
    .await;
    assert_eq!(source.svid().leaf().serial(), first);
    fake.set(|state| state.spoil = false);
    until(&source, "a rotation", |s| {
        s.rotations == 1 && s.renewal_error.is_none()
    })
    .await;
}

#[tokio::test]
async fn the_delay_that_the_ca_asks_for_is_kept() {
    let fake = FakeCa::start().await;
    let busy = Refusal::new(Reason::TooManyInFlight, "busy").retry_after(Duration::from_secs(60));
    fake.set(|state| state.refuse = Some(busy));
    let builder = X509Source::builder(Proof::token(fake.token()));
    let error = builder
        .first_fetch_within(Duration::from_secs(1))
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_restart_during_an_outage_starts_from_the_folder() {
    let fake = FakeCa::start().await;
    let place = tempfile::tempdir().unwrap();
    let road = Arc::new(Road::default());
    let builder = X509Source::builder(Proof::token(fake.token()))
        .dialled_by(road.clone())
        .folder(place.path().join("web"));
    let first = builder.clone().start().await.unwrap().svid().leaf().serial();
    road.closed.store(true, Ordering::SeqCst);
    let again = builder
        .first_fetch_within(Duration::from_millis(100))
        .start()
        .await
        .unwrap();
    assert_eq!(again.svid().leaf().serial(), first);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_folder_alone_is_enough_to_go_on_renewing() {
    let fake = FakeCa::start().await;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("web");
    let builder = X509Source::builder(Proof::token(fake.token())).folder(&path);
    let first = builder
        .dns_name("web.example")
        .life(Duration::from_secs(4))
        .start()
        .await
        .unwrap();
    drop(first);
    let source = X509Source::resume(&path).unwrap().start().await.unwrap();
    until(&source, "a rotation", |status| status.rotations >= 1).await;
    let leaf = source.svid().leaf().clone();
    assert_eq!(leaf.dns_names(), ["web.example"]);
    let validity = leaf.validity();
    assert!(validity.not_after() - validity.not_before() < time::Duration::seconds(10));
    let stored = Folder::new(&path).unwrap().read().unwrap().unwrap();
    assert_eq!(stored.chain, source.svid().chain());
    let nothing = X509Source::resume(place.path().join("none"))
        .unwrap()
        .start()
        .await;
    assert!(matches!(nothing, Err(Error::NoServer)));
}

#[tokio::test]
async fn a_configuration_keeps_its_source_alive_and_the_last_holder_ends_it() {
    let fake = FakeCa::start().await;
    let source = X509Source::builder(Proof::token(fake.token()))
        .start()
        .await
        .unwrap();
    let mut status = source.status();
    let config = source.server_config(Authorize::trust_domain(&td()));
    drop(source);
    tokio::task::yield_now().await;
    assert!(status.has_changed().is_ok());
    drop(config);
    let ended = async { while status.changed().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn a_proof_that_names_no_ca_asks_for_one() {
    let error = X509Source::builder(Proof::jwt("a.b.c").unwrap())
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoServer), "{error}");
}
