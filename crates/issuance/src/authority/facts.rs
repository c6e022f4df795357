//! What an authority's certificate says, and whether it has the profile of one (X509-SVID sections 3.1, 4.1 and 4.3).

use identity::{KeyDigest, SpiffeId, TrustDomain, Validity};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::AuthorityError;
use crate::authority_key::AuthorityKey;

/// A certificate with the profile of an authority.
pub(crate) struct AuthorityFacts {
    pub(crate) trust_domain: TrustDomain,
    /// The whole Name, byte for byte.
    pub(crate) subject: Vec<u8>,
    pub(crate) key_id: Vec<u8>,
    pub(crate) validity: Validity,
    key_digest: KeyDigest,
}

impl AuthorityFacts {
    /// Reads a certificate and checks that it has the profile; says which rule it breaks.
    pub(crate) fn read(der: &[u8]) -> Result<Self, AuthorityError> {
        let wrong = |why: &str| AuthorityError::Profile { why: why.to_owned() };
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|e| wrong(&format!("certificate cannot be read: {e}")))?;
        if !rest.is_empty() {
            return Err(wrong("bytes follow the certificate"));
        }
        if !certificate.is_ca() {
            return Err(wrong("basic constraints do not say CA:TRUE"));
        }
        let usage = certificate
            .key_usage()
            .ok()
            .flatten()
            .ok_or_else(|| wrong("key usage is absent, expected keyCertSign and cRLSign, critical"))?;
        if !usage.critical {
            return Err(wrong("key usage is not critical"));
        }
        if !usage.value.key_cert_sign() || !usage.value.crl_sign() {
            return Err(wrong("key usage lacks keyCertSign or cRLSign"));
        }
        if certificate.subject().iter_rdn().next().is_none() {
            return Err(wrong(
                "subject is empty, which RFC 5280 section 4.1.2.6 forbids for a CA",
            ));
        }
        let key_id = certificate
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
            .ok_or_else(|| wrong("subject key identifier is absent"))?;
        let time = |at: x509_parser::time::ASN1Time| {
            OffsetDateTime::from_unix_timestamp(at.timestamp()).map_err(|e| wrong(&e.to_string()))
        };
        let validity = Validity::new(
            time(certificate.validity().not_before)?,
            time(certificate.validity().not_after)?,
        )
        .map_err(|e| wrong(&e.to_string()))?;
        Ok(Self {
            trust_domain: trust_domain(&certificate)?,
            subject: certificate.subject().as_raw().to_vec(),
            key_id,
            validity,
            key_digest: KeyDigest::of(certificate.public_key().raw),
        })
    }

    /// Checks that it certifies this key for this trust domain.
    pub(crate) fn fits(&self, key: &AuthorityKey, trust_domain: &TrustDomain) -> Result<(), AuthorityError> {
        if self.key_digest != key.public().digest() {
            return Err(AuthorityError::Key {
                certificate: self.key_digest,
                key: key.public().digest(),
            });
        }
        if self.trust_domain != *trust_domain {
            return Err(AuthorityError::TrustDomain {
                found: self.trust_domain.clone(),
                expected: trust_domain.clone(),
            });
        }
        Ok(())
    }
}

/// The trust domain that the one URI SAN names.
fn trust_domain(certificate: &X509Certificate<'_>) -> Result<TrustDomain, AuthorityError> {
    let expected = "expected exactly one, spiffe://<trust domain>";
    let wrong = |why: String| AuthorityError::Profile { why };
    let names = certificate
        .subject_alternative_name()
        .map_err(|e| wrong(format!("subject alternative name cannot be read: {e}")))?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris.as_slice() else {
        return Err(wrong(format!(
            "certificate has {} URI SANs, {expected}",
            uris.len()
        )));
    };
    let id = SpiffeId::new(uri).map_err(|e| wrong(format!("URI SAN: {e}")))?;
    if id.path().is_empty() {
        Ok(id.trust_domain())
    } else {
        Err(wrong(format!("URI SAN is {id}, {expected}")))
    }
}
