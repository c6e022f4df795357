//! A certificate signing request (PKCS#10, RFC 2986) that was checked: size, structure, key policy, self-signature, extensions,
//! names, in this order, and the first that fails gives the word. Only the public key counts, and the names as wishes.

mod error;
mod extensions;
mod facts;
mod key;
mod names;
mod request;
mod signature;

use identity::{KeyDigest, SpiffeId, TrustDomain};

pub use error::CsrError;
use extensions::Asker;
pub use facts::request_facts;
pub use key::{KeyType, PublicKey};
use names::Names;
pub use names::{OtherName, is_host_name};
use request::Request;
pub(crate) use request::is_printable_string;

/// Largest CSR, in bytes of DER or PEM; nothing of a larger one is looked at.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most names in a CSR and in a certificate; a hundred of the longest DNS names still make a certificate that peers read.
pub const MAX_NAMES: usize = 1 + identity::MAX_DNS_NAMES;

/// A workload's or device's CSR that passed every check. Its names are wishes: nothing of it but the key may be copied.
#[derive(Clone, Debug)]
pub struct VerifiedCsr {
    key: PublicKey,
    names: Names,
    subject_serial_number: Option<String>,
}

/// An authority's CSR that passed every check; its one name is its trust domain (X509-SVID section 3.1).
#[derive(Clone, Debug)]
pub struct AuthorityCsr {
    key: PublicKey,
    trust_domain: TrustDomain,
}

impl VerifiedCsr {
    /// Checks a CSR in DER, or in PEM: one block, text before it is skipped, nothing follows it.
    pub fn parse(input: &[u8]) -> Result<Self, CsrError> {
        let der = request::to_der(input)?;
        let request = Request::read(&der)?;
        let key = request.verify()?;
        let names = names::judge(&extensions::judge(request.extensions()?, Asker::EndEntity)?)?;
        if let Some(id) = names.uri.as_ref().filter(|id| id.path().is_empty()) {
            return Err(CsrError::San {
                why: format!("{id} names a trust domain, only its authorities bear that"),
            });
        }
        Ok(Self {
            key,
            names,
            subject_serial_number: request.subject_serial_number(),
        })
    }

    /// The public key: all that goes from a CSR into a certificate.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// The SubjectPublicKeyInfo, byte for byte as it came.
    pub fn spki_der(&self) -> &[u8] {
        self.key.spki_der()
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn key_digest(&self) -> KeyDigest {
        self.key.digest()
    }

    /// What kind of key it is.
    pub fn key_type(&self) -> KeyType {
        self.key.key_type()
    }

    /// The SPIFFE ID that is wished for, if any; it has a path.
    pub fn uri(&self) -> Option<&SpiffeId> {
        self.names.uri.as_ref()
    }

    /// The DNS names that are wished for: valid host names in lower case, each once.
    pub fn dns_names(&self) -> &[String] {
        &self.names.dns
    }

    /// All other names that are wished for, DNS names that are no host names among them.
    pub fn other_names(&self) -> &[OtherName] {
        &self.names.other
    }

    /// The subject's serialNumber attribute (2.5.4.5): a wish of devices; nothing else of the subject is read.
    pub fn subject_serial_number(&self) -> Option<&str> {
        self.subject_serial_number.as_deref()
    }
}

impl AuthorityCsr {
    /// Checks a CSR as [`VerifiedCsr::parse`] does, but for an authority: it has exactly one name, `spiffe://<trust domain>`, and
    /// may ask for CA:TRUE and the key usages of an authority. What it gets is the profile's to say.
    pub fn parse(input: &[u8]) -> Result<Self, CsrError> {
        let der = request::to_der(input)?;
        let request = Request::read(&der)?;
        let key = request.verify()?;
        let names = names::judge(&extensions::judge(request.extensions()?, Asker::Authority)?)?;
        match names.uri {
            Some(id) if id.path().is_empty() && names.dns.is_empty() && names.other.is_empty() => Ok(Self {
                key,
                trust_domain: id.trust_domain(),
            }),
            Some(id) => Err(CsrError::San {
                why: format!(
                    "an authority is named spiffe://{} and nothing else",
                    id.trust_domain_name()
                ),
            }),
            None => Err(CsrError::San {
                why: "an authority needs the URI SAN spiffe://<trust domain>".to_owned(),
            }),
        }
    }

    /// The authority's public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// The trust domain that it asks for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

#[cfg(test)]
mod tests;
