//! What becomes of open connections and calls while the server drains, and while its certificate is replaced.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client_lib::{Authorize, Proof, X509Source};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use proto::v1;
use proto::v1::certificate_authority_client::CertificateAuthorityClient;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::support::{Server, Settings, wait_for};

/// Longest that a drain takes.
const DRAIN: Duration = Duration::from_secs(10);

async fn administrator(server: &Server) -> Channel {
    let socket = PathBuf::from(server.fact("adminSocket"));
    let dial = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://admin.sock");
    endpoint.connect_with_connector(dial).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_when_the_drain_begins_is_answered_and_a_watch_ends() {
    let server = Server::up();
    let channel = administrator(&server).await;
    // A call whose request comes when the test says so.
    let (request, requests) = mpsc::channel(1);
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("a connection");
    let call = tokio::spawn(async move {
        let path = PathAndQuery::from_static("/signet.v1.Authorities/ListAuthorities");
        let codec = ProstCodec::<v1::ListAuthoritiesRequest, v1::ListAuthoritiesResponse>::default();
        let messages = tonic::Request::new(ReceiverStream::new(requests));
        grpc.client_streaming(messages, path, codec).await
    });
    block_in_place(|| {
        wait_for("the call to be in flight", || {
            (server.metric("signet_requests_in_flight") >= 1.0).then_some(())
        });
    });
    let watched = CertificateAuthorityClient::new(channel)
        .watch_bundle(v1::GetBundleRequest::default())
        .await;
    let mut bundles = watched.expect("a stream").into_inner();
    assert!(bundles.message().await.expect("a bundle").is_some());

    let ready = server.data().join("ready.json");
    let began = Instant::now();
    server.signal("TERM");
    block_in_place(|| {
        wait_for("ready.json to go", || (!ready.exists()).then_some(()));
    });
    let end = tokio::time::timeout(DRAIN, bundles.message()).await;
    assert!(end.expect("the watch ends").expect("in order").is_none());
    request
        .send(v1::ListAuthoritiesRequest {})
        .await
        .expect("the call waits for it");
    drop(request);
    let answer = call.await.expect("it does not panic").expect("an answer");
    assert_eq!(answer.into_inner().authorities.len(), 1);

    let (code, _) = block_in_place(|| server.ended());
    assert_eq!(code, 0);
    assert!(began.elapsed() < DRAIN, "the drain was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_while_the_servers_certificate_is_replaced() {
    let server = Server::start(Settings {
        config: Some("profiles:\n  server: { life: 12s, maxLife: 1h }\n".to_owned()),
        ..Settings::default()
    });
    let token = server.token_file("spiffe://example.org/ns/default/sa/web", &[]);
    let source = X509Source::builder(Proof::token_file(token).expect("a token"))
        .start()
        .await
        .expect("an identity");
    let dials = Arc::new(AtomicUsize::new(0));
    let presented = Arc::new(std::sync::Mutex::new(Vec::new()));
    let open = || channel(&server, &source, &dials, &presented);
    let mut kept = CertificateAuthorityClient::new(open().await);
    let get = v1::GetBundleRequest::default;
    kept.get_bundle(get()).await.expect("a bundle");

    let until = Instant::now() + Duration::from_secs(12);
    loop {
        let mut fresh = CertificateAuthorityClient::new(open().await);
        fresh.get_bundle(get()).await.expect("a bundle");
        let certificates = presented.lock().expect("nobody panicked").clone();
        if certificates.first() != certificates.last() {
            break;
        }
        assert!(Instant::now() < until, "the certificate was not replaced");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let before = dials.load(Ordering::SeqCst);
    kept.get_bundle(get())
        .await
        .expect("the same connection still works");
    assert_eq!(dials.load(Ordering::SeqCst), before, "it was dialled anew");
}

/// A connection with the certificate of `source`; counts how often it is dialled, and notes what the server presents.
async fn channel(
    server: &Server,
    source: &X509Source,
    dials: &Arc<AtomicUsize>,
    presented: &Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
) -> Channel {
    let mut config = source.client_config(Authorize::trust_domain(source.bundle().trust_domain()));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let address = server.fact("grpc").to_owned();
    let (dials, presented) = (Arc::clone(dials), Arc::clone(presented));
    let dial = tower::service_fn(move |_| {
        let (connector, address) = (connector.clone(), address.clone());
        let (dials, presented) = (Arc::clone(&dials), Arc::clone(&presented));
        async move {
            dials.fetch_add(1, Ordering::SeqCst);
            let name = ServerName::try_from("localhost").expect("a DNS name");
            let stream = connector
                .connect(name, TcpStream::connect(address).await?)
                .await?;
            let leaf = stream
                .get_ref()
                .1
                .peer_certificates()
                .map(|chain| chain[0].to_vec());
            presented
                .lock()
                .expect("nobody panicked")
                .push(leaf.unwrap_or_default());
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_static("http://ca");
    endpoint.connect_with_connector(dial).await.expect("a connection")
}
