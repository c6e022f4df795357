//! The rules of path validation that rustls-webpki leaves to its caller: key usage, key identifiers and
//! SPIFFE IDs of signing certificates, and all fields of a trust anchor's certificate other than its name and
//! key. OpenSSL and Go apply the validity, path length and usages of that certificate, so they apply here,
//! too.

use std::borrow::Cow;

use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{AuthorityKeyIdentifier, GeneralName, ParsedExtension, X509Extension};
use x509_parser::x509::X509Version;

use super::{Usage, VerifyError};
use crate::leaf::names::are_compared;
use crate::leaf::{LeafError, authority_id, read};
use crate::{SpiffeId, TrustDomain};

/// A certificate that may be above a leaf.
#[derive(Clone, Debug)]
pub(super) struct Signer<'a> {
    /// The first rule that keeps it from signing anything, as the end of a sentence.
    refusal: Option<&'static str>,
    /// Likewise, of a rule that does not apply to trust anchors (RFC 5280 section 6.1: they are a name and a
    /// key).
    profile_refusal: Option<&'static str>,
    not_before: i64,
    not_after: i64,
    path_length: Option<u32>,
    server: bool,
    client: bool,
    /// Its SPIFFE ID, if it has one, or why its names are not those of an authority.
    id: Result<Option<SpiffeId>, String>,
    identifiers: Identifiers<'a>,
}

/// The identifiers by which the certificates that it signed refer to it (RFC 5280 section 4.2.1.1).
#[derive(Clone, Debug)]
struct Identifiers<'a> {
    subject_key_id: Option<Cow<'a, [u8]>>,
    issuer: Cow<'a, [u8]>,
    serial: Cow<'a, [u8]>,
}

impl<'a> Signer<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, LeafError> {
        Ok(Self::read(&read::certificate(der)?))
    }

    /// Reads a certificate that [`read::certificate`] returned.
    pub(super) fn read(cert: &X509Certificate<'a>) -> Self {
        let mut signer = Self {
            refusal: None,
            profile_refusal: None,
            not_before: cert.validity().not_before.timestamp(),
            not_after: cert.validity().not_after.timestamp(),
            path_length: None,
            server: true,
            client: true,
            id: Ok(None),
            identifiers: Identifiers {
                subject_key_id: None,
                issuer: Cow::Borrowed(cert.tbs_certificate.issuer.as_raw()),
                serial: Cow::Borrowed(cert.raw_serial()),
            },
        };
        let mut signing = SigningExtensions::default();
        for extension in cert.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    signing.is_ca = constraints.ca;
                    signing.constraints_critical = extension.critical;
                    signer.path_length = constraints.path_len_constraint;
                }
                ParsedExtension::KeyUsage(usage) => {
                    signing.key_usage = Some((usage.key_cert_sign(), extension.critical));
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    (signer.server, signer.client) = (usage.server_auth, usage.client_auth);
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    let uris = names.general_names.iter().filter_map(|name| match name {
                        GeneralName::URI(uri) => Some(*uri),
                        _ => None,
                    });
                    signer.id = authority_id(uris).map_err(|e| e.to_string());
                }
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    signer.identifiers.subject_key_id = Some(Cow::Borrowed(id.0));
                }
                _ => {}
            }
        }
        signer.refusal = signing.refusal(cert);
        signer.profile_refusal = signing.profile_refusal(cert);
        signer
    }

    /// Whether it may be above leaves of this trust domain, whether as a trust anchor or not.
    pub(super) fn check(&self, trust_domain: Option<&TrustDomain>) -> Result<(), String> {
        if let Some(why) = self.refusal {
            return Err(why.to_owned());
        }
        let id = self.id.as_ref().map_err(|why| format!("may not sign: {why}"))?;
        match (id, trust_domain) {
            (Some(id), Some(expected)) if !id.is_member_of(expected) => {
                Err(format!("names the trust domain {id}, expected {}", expected.id()))
            }
            _ => Ok(()),
        }
    }

    /// Whether it has what RFC 5280 section 4.2 and X509-SVID section 4 ask of a certificate below a trust
    /// anchor.
    pub(super) fn check_profile(&self) -> Result<(), String> {
        match self.profile_refusal {
            Some(why) => Err(why.to_owned()),
            None => Ok(()),
        }
    }

    /// Whether as a trust anchor it covers a path of this many CA certificates at this time, for this usage.
    pub(super) fn check_anchor(
        &self,
        intermediates: usize,
        usage: Usage,
        now: OffsetDateTime,
    ) -> Result<(), VerifyError> {
        let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(now);
        let seconds = now.unix_timestamp();
        if seconds > self.not_after {
            let not_after = time(self.not_after);
            return Err(VerifyError::Expired { not_after, now });
        }
        if seconds < self.not_before {
            let not_before = time(self.not_before);
            return Err(VerifyError::NotYetValid { not_before, now });
        }
        let allowed = match usage {
            Usage::Client => self.client,
            Usage::Server => self.server,
        };
        if !allowed {
            let expected = usage.purpose();
            return Err(VerifyError::Usage { expected });
        }
        match self.path_length {
            Some(limit) if usize::try_from(limit).is_ok_and(|limit| intermediates > limit) => {
                Err(VerifyError::Untrusted {
                    why: format!(
                        "the root allows {limit} certificates between itself and a leaf, found {intermediates}"
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether a certificate's authority key identifier is compatible with this one; a field that either
    /// lacks is not compared.
    pub(super) fn is_named_by(&self, child: Option<&AuthorityKeyIdentifier<'_>>) -> bool {
        let Some(named) = child else { return true };
        let own = &self.identifiers;
        let key = named.key_identifier.as_ref().map(|id| id.0);
        let key_differs = matches!((key, &own.subject_key_id), (Some(a), Some(b)) if a != b.as_ref());
        let serial_differs = named
            .authority_cert_serial
            .is_some_and(|serial| serial != own.serial.as_ref());
        let issuer_differs = named
            .authority_cert_issuer
            .iter()
            .flatten()
            .any(|name| match name {
                GeneralName::DirectoryName(issuer) => issuer.as_raw() != own.issuer.as_ref(),
                _ => false,
            });
        !(key_differs || serial_differs || issuer_differs)
    }

    /// The same without the certificate that it was read from.
    pub(super) fn into_owned(self) -> Signer<'static> {
        let own = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
        Signer {
            refusal: self.refusal,
            profile_refusal: self.profile_refusal,
            not_before: self.not_before,
            not_after: self.not_after,
            path_length: self.path_length,
            server: self.server,
            client: self.client,
            id: self.id,
            identifiers: Identifiers {
                subject_key_id: self.identifiers.subject_key_id.map(own),
                issuer: own(self.identifiers.issuer),
                serial: own(self.identifiers.serial),
            },
        }
    }
}

/// The extensions of a certificate that permit its key to sign others.
#[derive(Default)]
struct SigningExtensions {
    is_ca: bool,
    constraints_critical: bool,
    /// Whether it has keyCertSign, and whether it is critical.
    key_usage: Option<(bool, bool)>,
}

impl SigningExtensions {
    fn refusal(&self, cert: &X509Certificate<'_>) -> Option<&'static str> {
        first(&[
            (
                cert.version() != X509Version::V3,
                "is not an X.509 v3 certificate",
            ),
            (!self.is_ca, "is not a CA"),
            (
                self.key_usage.is_some_and(|(signs, _)| !signs),
                "has a key usage without keyCertSign",
            ),
            (cert.subject().iter().next().is_none(), "has no subject"),
            (
                read::is_negative(cert.raw_serial()),
                "has a negative serial number",
            ),
            (
                cert.extensions().iter().any(is_unprocessed),
                "has a critical extension that is not processed",
            ),
        ])
    }

    fn profile_refusal(&self, cert: &X509Certificate<'_>) -> Option<&'static str> {
        first(&[
            (self.key_usage.is_none(), "has no key usage"),
            (
                self.key_usage.is_some_and(|(_, critical)| !critical),
                "has a key usage that is not critical",
            ),
            (
                !self.constraints_critical,
                "has basic constraints that are not critical",
            ),
            (
                cert.extensions().iter().any(requires_policy),
                "requires certificate policies, which are not processed",
            ),
        ])
    }
}

fn first(rules: &[(bool, &'static str)]) -> Option<&'static str> {
    rules
        .iter()
        .find(|(is_broken, _)| *is_broken)
        .map(|(_, why)| *why)
}

/// The certificate's authority key identifier.
pub(super) fn authority_key<'c, 'a>(cert: &'c X509Certificate<'a>) -> Option<&'c AuthorityKeyIdentifier<'a>> {
    cert.extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => Some(id),
            _ => None,
        })
}

/// Whether a leaf has no extension that only certificates above it may have, or that is not processed.
pub(super) fn check_leaf(cert: &X509Certificate<'_>) -> Result<(), &'static str> {
    let limits_names = |extension: &X509Extension<'_>| {
        let is_limit = matches!(extension.parsed_extension(), ParsedExtension::NameConstraints(_));
        extension.critical && is_limit
    };
    if cert.extensions().iter().any(limits_names) {
        return Err("has critical name constraints");
    }
    if cert.extensions().iter().any(requires_policy) {
        return Err("requires certificate policies, which are not processed");
    }
    Ok(())
}

/// Whether the path is valid only for some certificate policy (RFC 5280 section 4.2.1.11).
fn requires_policy(extension: &X509Extension<'_>) -> bool {
    match extension.parsed_extension() {
        ParsedExtension::PolicyConstraints(limits) => limits.require_explicit_policy.is_some(),
        _ => false,
    }
}

/// RFC 5280 section 4.2: a critical extension that is not processed makes a certificate unusable, and so do
/// name constraints of a kind that is not compared with names. Policies of a trust anchor restrict nothing;
/// below it, webpki refuses those that are critical.
fn is_unprocessed(extension: &X509Extension<'_>) -> bool {
    let processed = match extension.parsed_extension() {
        ParsedExtension::NameConstraints(limits) => are_compared(limits),
        ParsedExtension::BasicConstraints(_)
        | ParsedExtension::KeyUsage(_)
        | ParsedExtension::ExtendedKeyUsage(_)
        | ParsedExtension::SubjectAlternativeName(_)
        | ParsedExtension::CRLDistributionPoints(_)
        | ParsedExtension::CertificatePolicies(_)
        | ParsedExtension::PolicyConstraints(_)
        | ParsedExtension::PolicyMappings(_)
        | ParsedExtension::InhibitAnyPolicy(_) => true,
        _ => false,
    };
    extension.critical && !processed
}
