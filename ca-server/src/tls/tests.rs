//! Handshakes in memory: nothing is resumed, and a key must be held. Over real connections: the silent hold up nobody.

use issuance::{Profile, ProfileName};
use prometheus_client::registry::Registry;
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsConnector;

use super::*;
use crate::authority::ServerNames;
use crate::authority::bench::{A, Bench, key};

async fn server(bench: &Bench) -> Arc<ServerConfig> {
    let names = ServerNames::new(bench.signers.trust_domain(), &["localhost".parse().unwrap()]).unwrap();
    let profile = Profile::default_of(ProfileName::Server);
    let (key, _) = bench
        .authority
        .issue_server_certificate(&names, &profile)
        .await
        .unwrap();
    let certificate = Arc::new(ServerCertificate::default());
    certificate.replace(key);
    Arc::new(config(certificate).unwrap())
}

fn client(
    bench: &Bench,
    versions: &[&'static rustls::SupportedProtocolVersion],
    chain: Option<(Vec<CertificateDer<'static>>, &rcgen::KeyPair)>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(bench.root.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let time = Arc::new(At(bench.now()));
    let builder = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match chain {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
            builder.with_client_cert_resolver(Arc::new(Presents(Arc::new(CertifiedKey::new(chain, key)))))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

#[derive(Debug)]
struct At(time::OffsetDateTime);

impl rustls::time_provider::TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.unix_timestamp()).unwrap();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Presents a certificate whatever key it has beside it.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Presents {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Lets two ends speak until both are quiet.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok((client, server))
}

#[tokio::test]
async fn a_client_that_would_resume_gets_a_full_handshake_each_time() {
    let bench = Bench::new().await;
    let (client, server) = (
        client(&bench, &[&rustls::version::TLS13], None),
        server(&bench).await,
    );
    for _ in 0..3 {
        let (one, two) = shake(&client, &server).unwrap();
        assert_eq!(one.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(one.tls13_tickets_received(), 0);
        assert!(two.alpn_protocol() == Some(b"h2") && two.peer_certificates().is_none());
    }
}

#[tokio::test]
async fn a_certificate_is_recorded_whoever_signed_it_and_its_key_must_be_held() {
    let bench = Bench::new().await;
    let server = server(&bench).await;
    let (mine, other) = (key(), key());
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![crate::authority::bench::san(A)];
    let selfmade = params.self_signed(&mine).unwrap().der().clone();
    let tls = &[&rustls::version::TLS13];
    let honest = client(&bench, tls, Some((vec![selfmade.clone()], &mine)));
    let (_, recorded) = shake(&honest, &server).unwrap();
    assert_eq!(
        recorded.peer_certificates().unwrap(),
        std::slice::from_ref(&selfmade)
    );
    let thief = client(&bench, tls, Some((vec![selfmade.clone()], &other)));
    assert!(matches!(
        shake(&thief, &server),
        Err(Error::InvalidCertificate(_))
    ));
    let long = client(&bench, tls, Some((vec![selfmade; MAX_PRESENTED + 1], &mine)));
    assert!(shake(&long, &server).is_err());
}

#[tokio::test]
async fn a_caller_is_handshaken_beside_more_silent_connections_than_there_are_places() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, mut connections) = mpsc::channel(1);
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    tokio::spawn(accept(
        listener,
        server(&bench).await,
        metrics,
        Drain::new(),
        accepted,
    ));
    let mut silent = Vec::new();
    for _ in 0..2 * HANDSHAKES {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let caller = TlsConnector::from(client(&bench, &[&rustls::version::TLS13], None));
    let shaken = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        caller.connect(name, stream).await.unwrap()
    };
    // Well before the first of the silent ones is out of time.
    let (caller, accepted) =
        tokio::time::timeout(HANDSHAKE / 2, async { tokio::join!(shaken, connections.recv()) })
            .await
            .unwrap();
    drop((caller, accepted.unwrap().unwrap()));
}
