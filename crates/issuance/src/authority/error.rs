//! Why a chain does not make a key an authority: the message names the part that is wrong, key, profile, trust domain or chain.

use identity::{KeyDigest, Reason, TrustDomain};

use super::path::CertificatePlace;
use crate::certificate::SignError;

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate is for another key.
    #[error(
        "wrong key: the first certificate is for the key {certificate}, expected {key}; the authority's own comes first"
    )]
    Key {
        /// Digest of the key in the certificate.
        certificate: KeyDigest,
        /// Digest of the authority's key.
        key: KeyDigest,
    },
    /// The certificate breaks a rule of the intermediate or root profile.
    #[error("wrong profile: {why}")]
    Profile {
        /// Which rule, and what was found.
        why: String,
    },
    /// The certificate is of another trust domain.
    #[error("wrong trust domain: certificate is of {found}, expected {expected}")]
    TrustDomain {
        /// The certificate's.
        found: TrustDomain,
        /// The authority's.
        expected: TrustDomain,
    },
    /// One certificate between the leaves and the root, the root included, makes clients or servers reject
    /// every leaf.
    #[error("wrong chain: {place}: {field} {why}")]
    Path {
        /// Which certificate.
        place: Box<CertificatePlace>,
        /// Which of its fields.
        field: &'static str,
        /// What was found, and what was expected.
        why: String,
    },
    /// No valid path from a leaf over the chain to the root.
    #[error("wrong chain: {why}")]
    Chain {
        /// What path validation said.
        why: String,
    },
    /// Nothing could be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl AuthorityError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            AuthorityError::Sign(error) => error.reason(),
            AuthorityError::Key { .. }
            | AuthorityError::Profile { .. }
            | AuthorityError::TrustDomain { .. }
            | AuthorityError::Path { .. }
            | AuthorityError::Chain { .. } => Reason::ResourceInvalid,
        }
    }

    /// Where the problem is: `chain[1].extendedKeyUsage`, `root.validity`.
    pub fn field(&self) -> Option<String> {
        match self {
            AuthorityError::Path { place, field, .. } => Some(place.field(field)),
            AuthorityError::Key { .. } => Some("chain[0].publicKey".to_owned()),
            AuthorityError::Profile { .. } | AuthorityError::TrustDomain { .. } => {
                Some("chain[0]".to_owned())
            }
            AuthorityError::Chain { .. } => Some("chain".to_owned()),
            AuthorityError::Sign(_) => None,
        }
    }
}
