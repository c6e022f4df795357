//! Handshakes between configurations made here, and with a peer that would like to resume.

use std::sync::Arc;
use std::time::Duration;

use identity::{Reason, TrustDomain};
use rustls::HandshakeKind;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::fake::{Signer, WEB, id, root};
use crate::identities::Snapshot;

const DB: &str = "spiffe://td/ns/a/sa/db";
const HOUR: Duration = Duration::from_secs(3_600);

type Client = tokio_rustls::client::TlsStream<DuplexStream>;
type Server = tokio_rustls::server::TlsStream<DuplexStream>;

fn fixed(root: &Signer, who: &str) -> Identities {
    Identities::fixed(root.snapshot(who, HOUR))
}

fn everybody() -> Authorize {
    Authorize::trust_domain(&TrustDomain::new("td").unwrap())
}

async fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> (std::io::Result<Client>, std::io::Result<Server>) {
    let (a, b) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("whatever.example").unwrap();
    let client = async move {
        let mut stream = TlsConnector::from(client).connect(name, a).await?;
        // A client of TLS 1.3 hears of the server's refusal, and of its tickets, only when it reads.
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).await?;
        Ok(stream)
    };
    let server = async move {
        let mut stream = TlsAcceptor::from(server).accept(b).await?;
        stream.write_all(b"hi").await?;
        stream.flush().await?;
        Ok(stream)
    };
    tokio::join!(client, server)
}

#[tokio::test]
async fn two_members_talk_over_tls_13() {
    let root = root();
    let client = fixed(&root, WEB).client_config(Authorize::id(&id(DB)));
    let server = fixed(&root, DB).server_config(Authorize::id(&id(WEB)));
    let (client, server) = shake(Arc::new(client), Arc::new(server)).await;
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(peer_id(client.get_ref().1), Some(id(DB)));
    assert_eq!(peer_id(server.get_ref().1), Some(id(WEB)));
    let version = client.get_ref().1.protocol_version();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn a_client_that_is_not_expected_is_refused_with_both_names() {
    let root = root();
    let client = fixed(&root, WEB).client_config(everybody());
    let server = fixed(&root, DB).server_config(Authorize::id(&id("spiffe://td/ns/a/sa/admin")));
    let (client, server) = shake(Arc::new(client), Arc::new(server)).await;
    assert!(client.is_err());
    let error = server.unwrap_err();
    let refused = PeerRefused::within(&error).unwrap();
    assert_eq!(refused.reason(), Reason::IdentityNotGranted);
    assert!(
        error
            .to_string()
            .contains(&format!("peer is {WEB}, expected spiffe://td/ns/a/sa/admin")),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_expected_is_refused_with_both_names() {
    let root = root();
    let client = fixed(&root, WEB).client_config(Authorize::prefix(&id("spiffe://td/ns/b")));
    let server = fixed(&root, DB).server_config(everybody());
    let (client, _) = shake(Arc::new(client), Arc::new(server)).await;
    let error = client.unwrap_err();
    let refused = PeerRefused::within(&error).unwrap();
    assert_eq!(
        refused.to_string(),
        format!("peer is {DB}, expected spiffe://td/ns/b or an ID below it")
    );
}

#[tokio::test]
async fn a_peer_under_another_root_or_without_a_certificate_is_refused() {
    let (ours, theirs) = (root(), root());
    let client = Arc::new(fixed(&theirs, WEB).client_config(everybody()));
    let server = Arc::new(fixed(&ours, DB).server_config(everybody()));
    let (client_side, _) = shake(client, server.clone()).await;
    let error = client_side.unwrap_err();
    assert_eq!(
        PeerRefused::within(&error).unwrap().reason(),
        Reason::CertificateUntrusted
    );
    let trusting = fixed(&ours, WEB);
    let nobody = client_builder()
        .dangerous()
        .with_custom_certificate_verifier(judge_of(&trusting, everybody()))
        .with_no_client_auth();
    let (_, server_side) = shake(Arc::new(nobody), server).await;
    assert!(server_side.is_err());
}

#[tokio::test]
async fn a_client_that_would_resume_gets_a_full_handshake_each_time() {
    let root = root();
    let server = Arc::new(fixed(&root, DB).server_config(everybody()));
    let mut eager = fixed(&root, WEB).client_config(everybody());
    eager.resumption = Resumption::in_memory_sessions(8);
    let eager = Arc::new(eager);
    for _ in 0..3 {
        let (client, _) = shake(eager.clone(), server.clone()).await;
        let client = client.unwrap();
        assert_eq!(client.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn our_clients_do_not_resume_with_a_server_that_offers_it() {
    let root = root();
    let client = Arc::new(fixed(&root, WEB).client_config(everybody()));
    let mut generous = fixed(&root, DB).server_config(everybody());
    generous.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    generous.send_tls13_tickets = 2;
    let generous = Arc::new(generous);
    for _ in 0..3 {
        let (client, _) = shake(client.clone(), generous.clone()).await;
        let client = client.unwrap();
        assert_eq!(client.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_new_snapshot_counts_in_the_next_handshake_and_open_connections_go_on() {
    let (root, next_root) = (root(), root());
    let (sender, newest) = watch::channel(Arc::new(root.snapshot(DB, HOUR)));
    let server = Arc::new(Identities::watching(newest, None).server_config(everybody()));
    let old_client = Arc::new(fixed(&root, WEB).client_config(everybody()));
    let (open_client, open_server) = shake(old_client.clone(), server.clone()).await;
    let (mut open_client, mut open_server) = (open_client.unwrap(), open_server.unwrap());

    let renewed: Snapshot = next_root.snapshot(DB, HOUR);
    let expected = renewed.svid().chain().to_vec();
    sender.send_replace(Arc::new(renewed));

    assert!(
        shake(old_client, server.clone()).await.0.is_err(),
        "the old root no longer counts"
    );
    let new_client = Arc::new(fixed(&next_root, WEB).client_config(everybody()));
    let (client, _) = shake(new_client, server).await;
    assert_eq!(client.unwrap().get_ref().1.peer_certificates().unwrap(), expected);

    open_server.write_all(b"on").await.unwrap();
    open_server.flush().await.unwrap();
    let mut on = [0; 2];
    open_client.read_exact(&mut on).await.unwrap();
    assert_eq!(&on, b"on");
}
