//! Verifies a peer's certificate chain: RFC 5280 path validation against one trust bundle, then the rules of
//! an X.509-SVID (X509-SVID section 5). Used by the server for its clients and by clients for servers and
//! peers.
//!
//! rustls-webpki finds the path: names, signatures, validity, path lengths, extended key usage and name
//! constraints below the trust anchor. The other rules of OpenSSL and Go, which it leaves to its caller, are
//! in `signer` and are applied to each path that it finds. `tests/chains` compares the result with all three.

use std::cell::Cell;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::certificate::X509Certificate;

use self::signer::{Signer, authority_key, check_leaf};
use crate::leaf::{Leaf, LeafError, SvidError, read};
use crate::validity::moment;
use crate::{Reason, SpiffeId, TrustBundle, TrustDomain};

/// Most certificates in a chain that is looked at, the leaf included.
pub const MAX_CHAIN: usize = 8;
/// Most different certificates with the same subject in a chain. Each is another path to try, and the number
/// of paths is the product of such choices: seven certificates with one name are 8 659 paths. Three allow for
/// a key and two cross-signatures.
pub const MAX_ALTERNATIVES: usize = 3;

mod signer;

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

/// Trust anchors without a trust domain: judges paths, not identities. For factory certificates of a foreign
/// CA.
#[derive(Clone, Debug)]
pub struct ChainVerifier {
    anchors: Vec<TrustAnchor<'static>>,
    /// The rules of each anchor's certificate, at the same position; or why it cannot be read.
    roots: Vec<Result<Signer<'static>, LeafError>>,
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
    /// More paths than are tried.
    #[error("{found} certificates of the chain have the same subject, expected at most {MAX_ALTERNATIVES}")]
    Alternatives {
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
            | VerifyError::Alternatives { .. }
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
        let leaf = self
            .chains
            .verify_for(chain, usage, now, Some(&self.trust_domain))?;
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
        let roots = roots
            .iter()
            .map(|root| Ok(Signer::parse(root)?.into_owned()))
            .collect();
        Ok(Self { anchors, roots })
    }

    /// Validates the path and reads the leaf; its names are not evaluated.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: OffsetDateTime,
    ) -> Result<Leaf, VerifyError> {
        self.verify_for(chain, usage, now, None)
    }

    fn verify_for(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: OffsetDateTime,
        trust_domain: Option<&TrustDomain>,
    ) -> Result<Leaf, VerifyError> {
        let (Some((leaf_der, above)), true) = (chain.split_first(), chain.len() <= MAX_CHAIN) else {
            return Err(VerifyError::ChainLength { found: chain.len() });
        };
        let leaf_cert = read::certificate(leaf_der)?;
        let leaf = Leaf::read(&leaf_cert)?;
        let presented = Presented::read(leaf_cert, above)?;
        let unix = Duration::from_secs(u64::try_from(now.unix_timestamp()).unwrap_or(0));
        let refused = Cell::new(None);
        let examine = |path: &VerifiedPath<'_>| {
            self.examine(path, &presented, usage, now, trust_domain)
                .map_err(|error| {
                    refused.set(Some(error));
                    webpki::Error::UnknownIssuer
                })
        };
        let found = EndEntityCert::try_from(leaf_der).and_then(|end_entity| {
            end_entity
                .verify_for_usage(
                    webpki::ALL_VERIFICATION_ALGS,
                    &self.anchors,
                    &presented.intermediates,
                    UnixTime::since_unix_epoch(unix),
                    usage.key_usage(),
                    None,
                    Some(&examine),
                )
                .map(|_| ())
        });
        match (found, refused.take()) {
            (Ok(()), _) => Ok(leaf),
            // A path whose signatures are good was refused: that says more than the errors of other paths.
            (Err(_), Some(error)) => Err(error),
            (Err(error), None) => Err(path_error(&error, usage.purpose(), now)),
        }
    }

    /// Applies the rules that webpki leaves to its caller to a path whose signatures are verified.
    fn examine(
        &self,
        path: &VerifiedPath<'_>,
        presented: &Presented<'_>,
        usage: Usage,
        now: OffsetDateTime,
        trust_domain: Option<&TrustDomain>,
    ) -> Result<(), VerifyError> {
        let untrusted = |what: &str, why: &dyn std::fmt::Display| VerifyError::Untrusted {
            why: format!("the certificate of {what} {why}"),
        };
        check_leaf(&presented.leaf).map_err(|why| untrusted("the leaf", &why))?;
        let mut below = &presented.leaf;
        let mut count = 0;
        for found in path.intermediate_certificates() {
            let der = found.der();
            let (cert, signer) = presented
                .find(&der)
                .expect("webpki builds a path of the certificates that it was given");
            let what = || format!("{}", cert.subject());
            signer
                .check(trust_domain)
                .map_err(|why| untrusted(&what(), &why))?;
            signer.check_profile().map_err(|why| untrusted(&what(), &why))?;
            if !signer.is_named_by(authority_key(below)) {
                return Err(untrusted(
                    &what(),
                    &"is not the one that the authority key identifier names",
                ));
            }
            below = cert;
            count += 1;
        }
        let index = self
            .anchors
            .iter()
            .position(|anchor| std::ptr::eq(anchor, path.anchor()));
        let root = index
            .and_then(|index| self.roots.get(index))
            .expect("webpki ends a path at one of its anchors");
        let root = root.as_ref().map_err(|why| untrusted("the root", why))?;
        root.check(trust_domain)
            .map_err(|why| untrusted("the root", &why))?;
        if !root.is_named_by(authority_key(below)) {
            return Err(untrusted(
                "the root",
                &"is not the one that the authority key identifier names",
            ));
        }
        root.check_anchor(count, usage, now)
    }
}

/// The certificates that a peer presented, each once.
struct Presented<'a> {
    leaf: X509Certificate<'a>,
    intermediates: Vec<CertificateDer<'a>>,
    signers: Vec<(X509Certificate<'a>, Signer<'a>)>,
}

impl<'a> Presented<'a> {
    fn read(leaf: X509Certificate<'a>, above: &'a [CertificateDer<'_>]) -> Result<Self, VerifyError> {
        let mut intermediates: Vec<CertificateDer<'a>> = Vec::with_capacity(above.len());
        let mut signers: Vec<(X509Certificate<'a>, Signer<'a>)> = Vec::with_capacity(above.len());
        for (index, der) in above.iter().enumerate() {
            if intermediates.iter().any(|known| known[..] == der[..]) {
                continue;
            }
            let cert = read::certificate(der).map_err(|e| VerifyError::Untrusted {
                why: format!("number {} of the chain: {e}", index + 2),
            })?;
            let subject = cert.subject().as_raw();
            let same = signers
                .iter()
                .filter(|(known, _)| known.subject().as_raw() == subject);
            let found = same.count() + 1;
            if found > MAX_ALTERNATIVES {
                return Err(VerifyError::Alternatives { found });
            }
            let signer = Signer::read(&cert);
            intermediates.push(CertificateDer::from(&der[..]));
            signers.push((cert, signer));
        }
        Ok(Self {
            leaf,
            intermediates,
            signers,
        })
    }

    fn find(&self, der: &[u8]) -> Option<&(X509Certificate<'a>, Signer<'a>)> {
        self.signers.iter().find(|(cert, _)| cert.as_raw() == der)
    }
}

impl Usage {
    /// The name of the extended key usage (RFC 5280 section 4.2.1.12).
    fn purpose(self) -> &'static str {
        match self {
            Usage::Client => "clientAuth",
            Usage::Server => "serverAuth",
        }
    }

    fn key_usage(self) -> KeyUsage {
        match self {
            Usage::Client => KeyUsage::client_auth(),
            Usage::Server => KeyUsage::server_auth(),
        }
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
