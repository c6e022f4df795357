//! One gRPC channel over one TLS connection. The handshake is made here and not by tonic, so that its errors keep their
//! evidence and so that the channel never reconnects with a certificate that has been replaced.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use identity::spiffe_id::Role;
use identity::verify::Peer;
use identity::{PeerVerifier, TrustBundle, Usage, VerifyError};
use proto::v1::certificate_authority_client::CertificateAuthorityClient;
use proto::{Refusal, v1};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::{ANSWER_TIME, MAX_ANSWER_BYTES};
use crate::boot_time::LocalClock;
use crate::dial::Dial;
use crate::error::{AnswerError, Error};
use crate::renewal::Receipt;
use crate::server::CaServer;
use crate::tls::{self, Admits, PeerRefused};

/// How long dialling and the TLS handshake may take together.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How often an idle connection is asked whether it is still alive.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// By what a server is judged.
pub(super) enum Trust {
    /// By nothing: for what is public, and judged afterwards.
    Nothing,
    /// By roots, its role, and its name.
    Server {
        verifier: PeerVerifier,
        host: String,
        clock: CaClock,
    },
}

/// The time by which the server's certificate is verified: that of this machine, or if the certificate has
/// expired or is not yet valid by that, the time of the CA as its last certificate for this client shows it.
/// A machine whose clock is wrong by days can renew; it cannot enrol.
#[derive(Clone, Debug)]
pub(crate) struct CaClock {
    local: LocalClock,
    receipt: Option<Arc<Receipt>>,
}

/// An open channel.
pub(super) struct Connection {
    pub(super) client: CertificateAuthorityClient<Channel>,
    /// The chain that the server showed, leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

impl CaClock {
    pub(super) fn new(local: LocalClock, receipt: Option<Arc<Receipt>>) -> Self {
        Self { local, receipt }
    }

    pub(super) fn wall(&self) -> OffsetDateTime {
        self.local.read().wall
    }

    fn verify(
        &self,
        verifier: &PeerVerifier,
        chain: &[CertificateDer<'_>],
        usage: Usage,
    ) -> Result<Peer, VerifyError> {
        let now = self.local.read();
        match (verifier.verify(chain, usage, now.wall), &self.receipt) {
            (Err(error @ (VerifyError::Expired { .. } | VerifyError::NotYetValid { .. })), Some(receipt)) => {
                let ca_time = receipt.ca_time_at(&now);
                verifier.verify(chain, usage, ca_time).map_err(|_| error)
            }
            (result, _) => result,
        }
    }
}

impl Trust {
    pub(super) fn server(server: &CaServer, roots: &TrustBundle, clock: CaClock) -> Self {
        Trust::Server {
            verifier: PeerVerifier::new(roots),
            host: server.host().to_owned(),
            clock,
        }
    }
}

impl Admits for Trust {
    fn admit(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        _: OffsetDateTime,
    ) -> Result<(), PeerRefused> {
        match self {
            Trust::Nothing => Ok(()),
            Trust::Server {
                verifier,
                host,
                clock,
            } => is_server(&clock.verify(verifier, chain, usage)?, host),
        }
    }
}

/// The address must be a SAN, and the SPIFFE ID one of `/server/`: under a shared root, no workload passes for the CA.
fn is_server(peer: &Peer, host: &str) -> Result<(), PeerRefused> {
    if peer.id.role() != Role::Server {
        return Err(PeerRefused::Server {
            found: peer.id.to_string(),
            expected: format!("{}/server/...", peer.id.trust_domain().id()),
        });
    }
    let named = match host.parse::<IpAddr>() {
        Ok(address) => peer.leaf.ip_addresses().contains(&address),
        Err(_) => {
            let host = host.trim_end_matches('.');
            peer.leaf
                .dns_names()
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host))
        }
    };
    if named {
        return Ok(());
    }
    let addresses = peer.leaf.ip_addresses().iter().map(ToString::to_string);
    let names: Vec<String> = peer.leaf.dns_names().iter().cloned().chain(addresses).collect();
    Err(PeerRefused::Server {
        found: names.join(", "),
        expected: host.to_owned(),
    })
}

pub(super) async fn connect(
    server: &CaServer,
    dial: &dyn Dial,
    trust: Trust,
    own: Option<Arc<CertifiedKey>>,
) -> Result<Connection, Error> {
    let (channel, chain) = tokio::time::timeout(CONNECT_TIME, open(server, dial, trust, own))
        .await
        .map_err(|_| silent(server, CONNECT_TIME))??;
    let client = CertificateAuthorityClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    Ok(Connection { client, chain })
}

async fn open(
    server: &CaServer,
    dial: &dyn Dial,
    trust: Trust,
    own: Option<Arc<CertifiedKey>>,
) -> Result<(Channel, Vec<CertificateDer<'static>>), Error> {
    let address = || server.address().to_owned();
    let unreachable = |source| Error::Unreachable {
        address: address(),
        source,
    };
    let stream = dial.dial(server.address()).await.map_err(unreachable)?;
    let name = ServerName::try_from(server.host().trim_end_matches('.').to_owned())
        .map_err(|e| unreachable(std::io::Error::new(std::io::ErrorKind::InvalidInput, e)))?;
    let tls = TlsConnector::from(Arc::new(config(trust, own)))
        .connect(name, stream)
        .await
        .map_err(|source| match PeerRefused::within(&source) {
            Some(why) => Error::Impostor {
                address: address(),
                why: why.clone(),
            },
            None => Error::Tls {
                address: address(),
                source,
            },
        })?;
    let shown = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = shown.iter().map(|cert| cert.clone().into_owned()).collect();
    let mut once = Some(TokioIo::new(tls));
    let hand_over = tower::service_fn(move |_| {
        let stream = once
            .take()
            .ok_or_else(|| std::io::Error::other("connection to the CA has ended"));
        async move { stream }
    });
    let transport = |e: tonic::transport::Error| Error::Tls {
        address: address(),
        source: std::io::Error::other(in_full(&e)),
    };
    let channel = Endpoint::from_shared(format!("http://{}", server.address()))
        .map_err(transport)?
        .http2_keep_alive_interval(PING_INTERVAL)
        .connect_with_connector(hand_over)
        .await
        .map_err(transport)?;
    Ok((channel, chain))
}

/// tonic says "transport error" and leaves the cause to its sources.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    let words: Vec<String> = causes.map(ToString::to_string).collect();
    words.join(": ")
}

fn config(trust: Trust, own: Option<Arc<CertifiedKey>>) -> ClientConfig {
    let builder = tls::client_builder()
        .dangerous()
        .with_custom_certificate_verifier(tls::judge(trust));
    let mut config = match own {
        Some(pair) => builder.with_client_cert_resolver(Arc::new(Only(pair))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Presents one certificate.
struct Only(Arc<CertifiedKey>);

impl ResolvesClientCert for Only {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Only one certificate")
    }
}

/// Asks for the bundle and reads it.
pub(super) async fn fetch_bundle(
    client: &mut CertificateAuthorityClient<Channel>,
    server: &CaServer,
) -> Result<TrustBundle, Error> {
    read_bundle(ask_bundle(client, server).await?, server)
}

pub(super) async fn ask_bundle(
    client: &mut CertificateAuthorityClient<Channel>,
    server: &CaServer,
) -> Result<v1::TrustBundle, Error> {
    let answer = tokio::time::timeout(ANSWER_TIME, client.get_bundle(v1::GetBundleRequest::default()))
        .await
        .map_err(|_| silent(server, ANSWER_TIME))?
        .map_err(|status| Refusal::from_status(&status))?;
    Ok(answer.into_inner())
}

/// Reads a bundle, which must be of the server's trust domain.
pub(super) fn read_bundle(message: v1::TrustBundle, server: &CaServer) -> Result<TrustBundle, Error> {
    let bundle = proto::bundle_from_message(message).map_err(AnswerError::from)?;
    if bundle.trust_domain() != server.trust_domain() {
        return Err(AnswerError::TrustDomain {
            found: bundle.trust_domain().as_str().to_owned(),
            expected: server.trust_domain().as_str().to_owned(),
        }
        .into());
    }
    Ok(bundle)
}

pub(super) fn silent(server: &CaServer, after: Duration) -> Error {
    Error::Silent {
        address: server.address().to_owned(),
        after,
    }
}
