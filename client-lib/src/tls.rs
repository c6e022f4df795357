//! rustls configurations that follow an identity: certificate and trust bundle are read at each handshake, open connections go
//! on. TLS 1.3 (RFC 8446) only. Nothing is resumed, on either side: a resumed session skips the verifier.

mod verify;

use std::fmt;
use std::sync::Arc;

use identity::{Leaf, SpiffeId};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, CommonState, ServerConfig, SignatureScheme};

use crate::authorize::Authorize;
use crate::identities::Identities;

#[cfg(feature = "grpc")]
pub(crate) use verify::Admits;
pub use verify::PeerRefused;
pub(crate) use verify::judge;

pub(crate) fn client_config(identities: &Identities, peers: Authorize) -> ClientConfig {
    let mut config = client_builder()
        .dangerous()
        .with_custom_certificate_verifier(judge_of(identities, peers))
        .with_client_cert_resolver(Arc::new(Newest(identities.clone())));
    config.resumption = Resumption::disabled();
    config
}

pub(crate) fn server_config(identities: &Identities, peers: Authorize) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has cipher suites of TLS 1.3")
        .with_client_cert_verifier(judge_of(identities, peers))
        .with_cert_resolver(Arc::new(Newest(identities.clone())));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// Who is at the other end of a connection whose handshake is done; read from `TlsStream::get_ref().1` of tokio-rustls.
/// `None` before the end of the handshake and for peers without an SVID.
pub fn peer_id(connection: &CommonState) -> Option<SpiffeId> {
    let leaf = connection.peer_certificates()?.first()?;
    Leaf::parse(leaf).ok()?.svid_id().ok()
}

fn judge_of(identities: &Identities, rule: Authorize) -> Arc<verify::Judge<verify::Peers>> {
    let identities = identities.clone();
    judge(verify::Peers { identities, rule })
}

/// A client of TLS 1.3 with ring.
pub(crate) fn client_builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has cipher suites of TLS 1.3")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Presents the newest SVID, to callers and to those who are called.
struct Newest(Identities);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().svid().certified_key())
    }
}

impl ResolvesClientCert for Newest {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().svid().certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Newest SVID")
    }
}

#[cfg(test)]
#[cfg(feature = "grpc")]
mod tests;
