//! Where the CA is and by what it is known: enough for a caller without any other trust. The same facts stand in a join token
//! and in `source.json` beside a certificate.

use identity::{Fingerprint, JoinToken, TrustDomain};

/// The address of a CA, the fingerprint of its root, and the trust domain that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaServer {
    address: String,
    fingerprint: Fingerprint,
    trust_domain: TrustDomain,
}

/// An address that cannot be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no address of a server, expected HOST:PORT, an IPv6 address in brackets")]
pub struct AddressError {
    /// What was given.
    pub found: String,
}

impl CaServer {
    /// A CA at `address`, `HOST:PORT`.
    pub fn new(
        address: impl Into<String>,
        fingerprint: Fingerprint,
        trust_domain: TrustDomain,
    ) -> Result<Self, AddressError> {
        let address = address.into();
        match identity::join_token::split_address(&address) {
            Some(_) => Ok(Self {
                address,
                fingerprint,
                trust_domain,
            }),
            None => Err(AddressError {
                found: address.chars().take(100).collect(),
            }),
        }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The host of the address, without brackets.
    pub fn host(&self) -> &str {
        identity::join_token::split_address(&self.address)
            .expect("the constructor checked it")
            .0
    }

    /// SHA-256 of the one root that counts until the rest of the bundle is known.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The trust domain that the CA must prove to serve.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

impl From<&JoinToken> for CaServer {
    fn from(token: &JoinToken) -> Self {
        Self {
            address: token.server().to_owned(),
            fingerprint: token.fingerprint(),
            trust_domain: token.trust_domain().clone(),
        }
    }
}
