//! What can go wrong between a program and its CA, each with its evidence, and whether trying again can help.

use std::io;
use std::time::Duration;

use identity::{Fingerprint, Kind, Reason, VerifyError};
use proto::{BundleMessageError, Refusal};

use crate::folder::FolderError;
use crate::key::KeyError;
use crate::proof::ProofError;
use crate::server::AddressError;
use crate::svid::SvidRefused;
use crate::tls::PeerRefused;

/// Why there is no certificate, or no bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at the address.
    #[error("cannot reach the CA at {address}: {source}")]
    Unreachable {
        /// `HOST:PORT`.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS handshake failed for a reason of TLS.
    #[error("no TLS connection with the CA at {address}: {source}")]
    Tls {
        /// `HOST:PORT`.
        address: String,
        /// What rustls said.
        source: io::Error,
    },
    /// The server there is not the CA.
    #[error("server at {address} is not the CA: {why}")]
    Impostor {
        /// `HOST:PORT`.
        address: String,
        /// What is wrong with its certificate.
        why: PeerRefused,
    },
    /// The bundle lacks the root that the caller knows.
    #[error(
        "CA at {address} has no root with fingerprint {expected}, found {found:?}; nothing secret was sent"
    )]
    Fingerprint {
        /// `HOST:PORT`.
        address: String,
        /// The root that was expected.
        expected: Fingerprint,
        /// The roots that were shown.
        found: Vec<Fingerprint>,
    },
    /// Whoever handed out the true root cannot prove to be under it.
    #[error(
        "something at {address} shows the expected root but is not the CA: {why}; a relay stands between, or the address is \
         another server's; nothing secret was sent"
    )]
    Relay {
        /// `HOST:PORT`.
        address: String,
        /// What is wrong with the server's certificate.
        why: PeerRefused,
    },
    /// The CA refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The CA's answer makes no sense.
    #[error("answer of the CA: {0}")]
    Answer(#[from] AnswerError),
    /// What was issued is of no use.
    #[error("certificate from the CA is not used: {0}")]
    Svid(#[from] SvidRefused),
    /// A key that cannot be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A proof that cannot be read.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The certificate folder cannot be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// An address that cannot be dialled.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The caller did not say where the CA is.
    #[error("no CA is named, expected one: a join token names it, other proofs need `server`")]
    NoServer,
    /// The CA did not answer in time.
    #[error("CA at {address} did not answer within {after:?}")]
    Silent {
        /// `HOST:PORT`.
        address: String,
        /// How long it was given.
        after: Duration,
    },
    /// The first certificate did not come in time.
    #[error("no certificate within {after:?}; the last attempt failed: {last}")]
    Deadline {
        /// How long was waited.
        after: Duration,
        /// What the last attempt failed with.
        last: Box<Error>,
    },
}

/// An answer that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A field that is always there is not.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// The bundle cannot be trusted.
    #[error(transparent)]
    Bundle(#[from] BundleMessageError),
    /// The bundle of another trust domain.
    #[error("bundle is of trust domain {found}, expected {expected}")]
    TrustDomain {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The bundle has no root.
    #[error("trust bundle has no root, expected at least one; the known one is kept")]
    EmptyBundle,
    /// The bundle does not admit the server that sent it.
    #[error("trust bundle excludes the server that sent it: {why}; the known one is kept")]
    SelfExcludingBundle {
        /// Why the server would be refused.
        why: PeerRefused,
    },
    /// The bundle does not follow the known one.
    #[error(
        "trust bundle has sequence {found}, expected one that follows {known}; the known one is kept. If the CA was \
         restored from a backup, provide its bundle by hand"
    )]
    OlderBundle {
        /// The sequence of the bundle.
        found: u64,
        /// The sequence of the known one.
        known: u64,
    },
    /// The bundle does not admit the own certificate.
    #[error(
        "trust bundle {sequence} does not admit the certificate of this client: {why}; the known one is kept until it is \
         renewed"
    )]
    OrphaningBundle {
        /// The sequence of the bundle.
        sequence: u64,
        /// Why the certificate would be refused.
        why: VerifyError,
    },
}

impl Error {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Error::Refused(refusal) => refusal.reason(),
            Error::Impostor { why, .. } | Error::Relay { why, .. } => why.reason(),
            Error::Fingerprint { .. } => Reason::CertificateUntrusted,
            Error::Svid(why) => why.reason(),
            Error::Unreachable { .. } | Error::Silent { .. } | Error::Tls { .. } => Reason::NotReady,
            Error::Deadline { last, .. } => last.reason(),
            Error::Proof(why) => why.reason(),
            Error::NoServer | Error::Address(_) => Reason::ResourceInvalid,
            Error::Answer(_) | Error::Key(_) | Error::Folder(_) => Reason::Internal,
        }
    }

    /// How long the CA asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused(refusal) => refusal.delay(),
            Error::Deadline { last, .. } => last.retry_after(),
            _ => None,
        }
    }

    /// Whether the same attempt may succeed later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Silent { .. } | Error::Tls { .. } => true,
            Error::Refused(refusal) => matches!(
                refusal.reason().kind(),
                Kind::Unavailable | Kind::Exhausted | Kind::Conflict | Kind::Internal
            ),
            Error::Svid(SvidRefused::Peers(why)) => why.reason() == Reason::CertificateNotYetValid,
            _ => false,
        }
    }
}
