//! From a CSR to a signed certificate: [`VerifiedCsr`] → [`Draft`] → [`CheckedDraft`] → [`SigningAuthority::sign`], and what stands
//! around it: profiles, authority keys, roots, CRLs (RFC 2986, RFC 5280, X509-SVID).
//!
//! Certificates are written from scratch by profile, with a small exact DER writer: issuer name and public key appear byte for byte
//! as they were, and all that is the same for every certificate of an authority is encoded once. Nothing here reads a clock, a file
//! or the network.

mod authority;
mod authority_key;
mod certificate;
mod crl;
mod csr;
mod der;
mod draft;
mod leaf_key;
mod oid;
#[cfg(test)]
mod openssl;
mod profile;
mod root;
pub mod serial;

pub use authority::{
    AuthorityError, AuthorityLocation, AuthorityLocationError, AuthorityPath, CertificatePlace, CrlBaseUrl,
    CrlBaseUrlError, PreparedAuthority, SigningAuthority,
};
pub use authority_key::{AuthorityKeyType, AuthorityKeyTypeError, KeyError};
pub use certificate::{Issued, SignError};
pub use crl::{RevocationReason, RevocationReasonError, Revoked};
pub use csr::is_host_name;
pub use csr::{
    AuthorityCsr, CsrError, KeyType, MAX_BYTES, MAX_NAMES, OtherName, PublicKey, VerifiedCsr, request_facts,
};
pub use draft::{CheckedDraft, Draft, DraftError};
pub use leaf_key::LeafKey;
pub use profile::{LifeError, MIN_LIFE, Profile, ProfileError, ProfileName};
pub use root::{RootAuthority, RootError};
