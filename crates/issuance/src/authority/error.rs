//! Why a chain does not make a key an authority: the message names the part that is wrong, key, profile, trust domain or chain.

use identity::{KeyDigest, Reason, TrustDomain};
use time::OffsetDateTime;

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
    /// The certificate has ended or not begun.
    #[error("wrong chain: certificate is valid from {not_before} to {not_after}, it is now {now}")]
    Validity {
        /// When it begins.
        not_before: OffsetDateTime,
        /// When it ends.
        not_after: OffsetDateTime,
        /// The time it was judged by.
        now: OffsetDateTime,
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
            | AuthorityError::Validity { .. }
            | AuthorityError::Chain { .. } => Reason::ResourceInvalid,
        }
    }
}
