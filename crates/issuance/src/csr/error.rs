//! Why a CSR is refused.

use identity::Reason;

use super::{MAX_BYTES, MAX_NAMES};
use crate::der::DerError;

/// The first check that a CSR fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Too long to be looked at.
    #[error("csr of {found} bytes, expected at most {MAX_BYTES}")]
    TooLarge {
        /// Its length in bytes.
        found: usize,
    },
    /// More names than a certificate may have.
    #[error("csr with {found} names, expected at most {MAX_NAMES}")]
    TooManyNames {
        /// How many there are.
        found: usize,
    },
    /// Not DER or PEM, not PKCS#10, or a point that is not on its curve.
    #[error("csr is malformed: {why}; expected one PKCS#10 request in DER or PEM")]
    Malformed {
        /// The rule that it breaks.
        why: String,
    },
    /// A kind of key that is not accepted.
    #[error("key is {found}, expected P-256, P-384, Ed25519 or RSA")]
    KeyType {
        /// What it is.
        found: String,
    },
    /// A key of an accepted kind that is too weak.
    #[error("key is weak: {why}")]
    KeyWeak {
        /// The rule that it breaks.
        why: String,
    },
    /// The signature does not prove possession of the key.
    #[error("csr signature is refused: {why}")]
    Signature {
        /// What is wrong with it.
        why: String,
    },
    /// An extension that may not be asked for.
    #[error("csr asks for {found}, which is never granted")]
    Extension {
        /// The extension, and what it says.
        found: String,
    },
    /// Names that cannot be a SPIFFE ID.
    #[error("csr has wrong names: {why}")]
    San {
        /// The rule that they break.
        why: String,
    },
}

impl CsrError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            CsrError::TooLarge { .. } | CsrError::TooManyNames { .. } => Reason::TooLarge,
            CsrError::Malformed { .. } => Reason::CsrMalformed,
            CsrError::KeyType { .. } => Reason::KeyType,
            CsrError::KeyWeak { .. } => Reason::KeyWeak,
            CsrError::Signature { .. } => Reason::CsrSignature,
            CsrError::Extension { .. } => Reason::CsrExtension,
            CsrError::San { .. } => Reason::CsrSan,
        }
    }

    pub(super) fn malformed(why: impl Into<String>) -> Self {
        CsrError::Malformed { why: why.into() }
    }
}

impl From<DerError> for CsrError {
    fn from(error: DerError) -> Self {
        CsrError::malformed(error.0)
    }
}
