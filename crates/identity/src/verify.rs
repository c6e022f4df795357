//! Judges a peer's certificate chain: RFC 5280 path validation against one trust bundle, then the rules of an X.509-SVID
//! (X509-SVID section 5). Used by the server for its clients and by clients for servers and peers.
//!
//! rustls-webpki validates the path but looks at no key usage, so signing certificates are examined here.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::leaf::{Leaf, LeafError, SvidError};
use crate::validity::moment;
use crate::{Reason, SpiffeId, TrustBundle, TrustDomain};

/// Most certificates in a chain that is looked at, the leaf included.
pub const MAX_CHAIN: usize = 8;

/// What the peer uses its certificate for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The peer is a TLS client.
    Client,
    /// The peer is a TLS server.
    Server,
}

/// A peer that has been judged.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Who it is.
    pub id: SpiffeId,
    /// The facts of its certificate.
    pub leaf: Leaf,
}

/// Trust anchors of one trust domain, ready for use: the usable form of a [`TrustBundle`].
#[derive(Clone, Debug)]
pub struct PeerVerifier {
    trust_domain: TrustDomain,
    chains: ChainVerifier,
}

/// Trust anchors without a trust domain: judges paths, not identities. For factory certificates of a foreign CA.
#[derive(Clone, Debug)]
pub struct ChainVerifier {
    anchors: Vec<TrustAnchor<'static>>,
}

/// Why a peer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No certificate, or too many.
    #[error("chain of {found} certificates, expected 1 to {MAX_CHAIN}")]
    ChainLength {
        /// How many there are.
        found: usize,
    },
    /// The leaf is unreadable.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The leaf is no X.509-SVID.
    #[error(transparent)]
    Svid(#[from] SvidError),
    /// Another trust domain than the bundle's.
    #[error("{found} is of another trust domain, expected {expected}")]
    TrustDomain {
        /// The peer's ID.
        found: SpiffeId,
        /// The bundle's trust domain.
        expected: TrustDomain,
    },
    /// No path to a trust anchor.
    #[error("no valid path to a trusted root: {why}")]
    Untrusted {
        /// What path validation said.
        why: String,
    },
    /// The path is good, and not for this use.
    #[error("certificate is for another use: its extended key usage has no {expected}")]
    Usage {
        /// The purpose that is missing (RFC 5280 section 4.2.1.12).
        expected: &'static str,
    },
    /// The leaf, or what signed it, has ended.
    #[error("certificate ended at {}, it is now {}", moment(*not_after), moment(*now))]
    Expired {
        /// When it ended.
        not_after: OffsetDateTime,
        /// The time it was judged by.
        now: OffsetDateTime,
    },
    /// The leaf, or what signed it, has not begun.
    #[error("certificate begins at {}, it is now {}; do the clocks agree?", moment(*not_before), moment(*now))]
    NotYetValid {
        /// When it begins.
        not_before: OffsetDateTime,
        /// The time it was judged by.
        now: OffsetDateTime,
    },
}

impl VerifyError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            VerifyError::ChainLength { .. }
            | VerifyError::Untrusted { .. }
            | VerifyError::Usage { .. }
            | VerifyError::TrustDomain { .. } => Reason::CertificateUntrusted,
            VerifyError::Leaf(_) | VerifyError::Svid(_) => Reason::CertificateNotSvid,
            VerifyError::Expired { .. } => Reason::CertificateExpired,
            VerifyError::NotYetValid { .. } => Reason::CertificateNotYetValid,
        }
    }
}

impl PeerVerifier {
    /// Makes the bundle's roots ready for use.
    pub fn new(bundle: &TrustBundle) -> Self {
        Self {
            trust_domain: bundle.trust_domain().clone(),
            chains: ChainVerifier::new(bundle.roots()).expect("a bundle holds trust anchors only"),
        }
    }

    /// Whose members it can judge.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Judges a chain, leaf first, at the time `now`. A peer of another trust domain is untrusted.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: OffsetDateTime,
    ) -> Result<Peer, VerifyError> {
        let leaf = self.chains.verify(chain, usage, now)?;
        let id = leaf.svid_id()?;
        if !id.is_member_of(&self.trust_domain) {
            return Err(VerifyError::TrustDomain {
                found: id,
                expected: self.trust_domain.clone(),
            });
        }
        Ok(Peer { id, leaf })
    }
}

impl ChainVerifier {
    /// Makes these roots ready for use; says which cannot be a trust anchor.
    pub fn new(roots: &[CertificateDer<'_>]) -> Result<Self, VerifyError> {
        let anchors = roots
            .iter()
            .map(|root| webpki::anchor_from_trusted_cert(root).map(|anchor| anchor.to_owned()))
            .collect::<Result<_, _>>()
            .map_err(|e| VerifyError::Untrusted {
                why: format!("a root cannot be a trust anchor: {e}"),
            })?;
        Ok(Self { anchors })
    }

    /// Validates the path and reads the leaf; its names are not judged.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: OffsetDateTime,
    ) -> Result<Leaf, VerifyError> {
        let (Some((leaf_der, intermediates)), true) = (chain.split_first(), chain.len() <= MAX_CHAIN) else {
            return Err(VerifyError::ChainLength { found: chain.len() });
        };
        let leaf = Leaf::parse(leaf_der)?;
        let (purpose, usage) = match usage {
            Usage::Client => ("clientAuth", KeyUsage::client_auth()),
            Usage::Server => ("serverAuth", KeyUsage::server_auth()),
        };
        let unix = Duration::from_secs(u64::try_from(now.unix_timestamp()).unwrap_or(0));
        EndEntityCert::try_from(leaf_der)
            .and_then(|end_entity| {
                end_entity
                    .verify_for_usage(
                        webpki::ALL_VERIFICATION_ALGS,
                        &self.anchors,
                        intermediates,
                        UnixTime::since_unix_epoch(unix),
                        usage,
                        None,
                        Some(&signers_may_sign),
                    )
                    .map(|_| ())
            })
            .map_err(|e| path_error(&e, purpose, now))?;
        Ok(leaf)
    }
}

fn signers_may_sign(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    let mut signers = path.intermediate_certificates();
    let all = signers.all(|signer| Leaf::parse(&signer.der()).is_ok_and(|facts| facts.may_sign_svids()));
    if all {
        Ok(())
    } else {
        Err(webpki::Error::EndEntityUsedAsCa)
    }
}

fn path_error(error: &webpki::Error, purpose: &'static str, now: OffsetDateTime) -> VerifyError {
    let at = |unix: &UnixTime| {
        let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(now)
    };
    match error {
        webpki::Error::CertExpired { not_after, .. } => VerifyError::Expired {
            not_after: at(not_after),
            now,
        },
        webpki::Error::CertNotValidYet { not_before, .. } => VerifyError::NotYetValid {
            not_before: at(not_before),
            now,
        },
        webpki::Error::RequiredEkuNotFoundContext(_) => VerifyError::Usage { expected: purpose },
        other => VerifyError::Untrusted {
            why: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
