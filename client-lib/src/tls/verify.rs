//! The judges that rustls calls: peers by the newest trust bundle and a rule on SPIFFE IDs, servers of the CA by a rule of
//! their own. What they refuse reaches the caller as a [`PeerRefused`] inside rustls' error.

use std::fmt;
use std::sync::Arc;

use identity::{Reason, Usage, VerifyError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use time::OffsetDateTime;

use crate::authorize::{Authorize, NotAuthorized};
use crate::identities::Identities;

/// Why a handshake was refused on this side.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    /// The certificate does not count.
    #[error("peer's certificate refused: {0}")]
    Certificate(#[from] VerifyError),
    /// The certificate counts, but this peer was not expected.
    #[error(transparent)]
    NotAuthorized(#[from] NotAuthorized),
    /// The certificate is not that of the server that was asked for.
    #[error("server's certificate is for {found}, expected {expected}")]
    Server {
        /// The names that it has.
        found: String,
        /// The name that it should have.
        expected: String,
    },
}

impl PeerRefused {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            PeerRefused::Certificate(why) => why.reason(),
            PeerRefused::NotAuthorized(_) => Reason::IdentityNotGranted,
            PeerRefused::Server { .. } => Reason::CertificateUntrusted,
        }
    }

    /// Finds the refusal in what a TLS connection failed with: an `io::Error` of tokio-rustls, or rustls' own.
    pub fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))) =
            error.downcast_ref()
        {
            return inner.downcast_ref();
        }
        match error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(inner) => Self::within(inner),
            None => error.source().and_then(Self::within),
        }
    }
}

/// rustls prints the `Debug` of what it carries, so this is the message for people.
impl fmt::Debug for PeerRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<PeerRefused> for rustls::Error {
    fn from(refused: PeerRefused) -> Self {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

/// Decides on a certificate chain, leaf first.
pub(crate) trait Admits: Send + Sync {
    /// Whether a peer with this chain may go on.
    fn admit(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: OffsetDateTime,
    ) -> Result<(), PeerRefused>;

    /// Whether a caller may come without a certificate.
    fn may_come_bare(&self) -> bool {
        false
    }
}

/// Whoever `whom` admits, for rustls.
pub(crate) fn judge<W: Admits>(whom: W) -> Arc<Judge<W>> {
    let provider = super::provider();
    Arc::new(Judge { provider, whom })
}

/// A judge of certificates, with the provider that checks signatures.
pub(crate) struct Judge<W> {
    provider: Arc<CryptoProvider>,
    whom: W,
}

/// Members of the newest trust bundle whom a rule names.
pub(crate) struct Peers {
    pub(crate) identities: Identities,
    pub(crate) rule: Authorize,
}

impl Admits for Peers {
    fn admit(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: OffsetDateTime,
    ) -> Result<(), PeerRefused> {
        let peer = self.identities.current().verifier().verify(chain, usage, now)?;
        Ok(self.rule.check(&peer.id)?)
    }
}

impl<W: Admits> Judge<W> {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf).chain(intermediates).cloned().collect();
        let now = i64::try_from(now.as_secs())
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or(rustls::Error::FailedToGetCurrentTime)?;
        Ok(self.whom.admit(&chain, usage, now)?)
    }
}

impl<W: Admits> ServerCertVerifier for Judge<W> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, Usage::Server, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // It is not offered, so this is never reached.
        Err(rustls::Error::General(
            "tls 1.2 is not spoken, expected tls 1.3".to_owned(),
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl<W: Admits> ClientCertVerifier for Judge<W> {
    fn client_auth_mandatory(&self) -> bool {
        !self.whom.may_come_bare()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, Usage::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}

impl<W> fmt::Debug for Judge<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge of certificates")
    }
}
