//! TLS 1.3 towards callers. The handshake proves that a client holds the key of what it presents and records the chain; whether
//! the chain counts is decided at each call (`caller::certificate`). Nothing is resumed: a resumed session would skip the proof.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use arc_swap::ArcSwapOption;
use identity::Reason;
use runtime::drain::Drain;
use runtime::places::Places;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::caller::Connection;
use crate::caller::connection::Accepted;
use crate::caller::gathered::Gathered;
use crate::metrics::Metrics;

/// Longest chain that is kept for judgement; a longer one ends the handshake.
const MAX_PRESENTED: usize = identity::verify::MAX_CHAIN;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most handshakes under way at once; the oldest gives way to who comes then.
const HANDSHAKES: usize = 512;

/// The server's own certificate, replaced while connections are open.
#[derive(Default)]
pub struct ServerCertificate(ArcSwapOption<CertifiedKey>);

impl ServerCertificate {
    /// Presents this one in handshakes from now on.
    pub fn replace(&self, key: CertifiedKey) {
        self.0.store(Some(Arc::new(key)));
    }

    /// Whether there is one to present.
    pub fn is_present(&self) -> bool {
        self.0.load().is_some()
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerCertificate")
            .field(&self.is_present())
            .finish()
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// The configuration for port 15012: TLS 1.3, HTTP/2, client certificate optional, no session kept and no ticket sent.
pub fn config(certificate: Arc<ServerCertificate>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(ProofOfKey::new(&provider)))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Demands that the client proves the key of whatever it presents; the certificate itself is judged at the call.
#[derive(Debug)]
struct ProofOfKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ProofOfKey {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for ProofOfKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let largest = intermediates
            .iter()
            .map(|cert| cert.len())
            .chain([leaf.len()])
            .max();
        if intermediates.len() >= MAX_PRESENTED || largest > Some(identity::leaf::MAX_BYTES) {
            return Err(Error::General(format!(
                "client presented a chain of {} certificates, the largest of {} bytes; expected at most {MAX_PRESENTED} of {} bytes",
                intermediates.len() + 1,
                largest.unwrap_or(0),
                identity::leaf::MAX_BYTES
            )));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A connection after its handshake.
pub type TlsConnection = Accepted<Gathered<tokio_rustls::server::TlsStream<TcpStream>>>;

/// Accepts and handshakes until the drain begins: who comes then is refused by the kernel and does not wait for an answer that never
/// comes. Handshakes run beside each other; slow ones hold up nobody, however many they are.
pub async fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    metrics: Arc<Metrics>,
    drain: Drain,
    accepted: mpsc::Sender<io::Result<TlsConnection>>,
) {
    let acceptor = TlsAcceptor::from(config);
    let mut handshakes = Places::new(HANDSHAKES);
    loop {
        let (stream, address) = tokio::select! {
            () = drain.begun() => return,
            () = accepted.closed() => return,
            next = runtime::listen::accept(&listener) => next,
        };
        let (acceptor, accepted, metrics) = (acceptor.clone(), accepted.clone(), Arc::clone(&metrics));
        handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, handshake(&acceptor, stream, address)).await {
                Ok(Ok(connection)) => {
                    // A closed receiver is a server that drains: the caller sees its connection end.
                    let _ = accepted.send(Ok(connection)).await;
                }
                Ok(Err(e)) => refused(&metrics, address, &e),
                Err(_) => tracing::debug!(%address, "TLS handshake not done after {HANDSHAKE:?}, ended"),
            }
        });
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> io::Result<TlsConnection> {
    let stream = acceptor.accept(stream).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|cert| cert.clone().into_owned()).collect();
    Ok(Accepted::new(
        Gathered::new(stream),
        Connection::over_tls(address, chain),
    ))
}

/// A certificate whose key the client does not hold is a refusal like any other; a scanner's noise is not.
fn refused(metrics: &Metrics, address: SocketAddr, error: &io::Error) {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    if matches!(cause, Some(Error::InvalidCertificate(_))) {
        metrics.refused(Reason::CertificateUntrusted);
        tracing::warn!(
            %address,
            reason = Reason::CertificateUntrusted.word(),
            "refused in the TLS handshake: the client does not hold the key of the certificate that it presents ({error})"
        );
    } else {
        tracing::debug!(%address, "TLS handshake failed: {error}");
    }
}

#[cfg(test)]
mod tests;
