//! Writes and signs certificates (RFC 5280 section 4.1): the one place where an authority's key meets a template.

use identity::{KeyDigest, Reason, Serial, SpiffeId, TrustDomain, Validity, moment};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::authority_key::AuthorityKey;
use crate::csr::PublicKey;
use crate::der::{self, bit_string, octet_string, sequence, tag, tlv};
use crate::{oid, serial};

/// A signed certificate and what the record keeps of it.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// Its serial number.
    pub serial: Serial,
    /// From when until when it counts.
    pub validity: Validity,
    /// The key it is for.
    pub key_digest: KeyDigest,
    /// Whether it ends earlier than was asked because its authority does.
    pub life_clipped: bool,
}

/// Why an authority does not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Too little of the authority's life is left.
    #[error("authority ends at {}, it is now {}; a new authority is needed", moment(*not_after), moment(*now))]
    Ended {
        /// When the authority ends.
        not_after: OffsetDateTime,
        /// The time of signing.
        now: OffsetDateTime,
    },
    /// By this clock the authority has not begun.
    #[error("authority begins at {}, it is now {}; is the clock right?", moment(*not_before), moment(*now))]
    NotBegun {
        /// When the authority begins.
        not_before: OffsetDateTime,
        /// The time of signing.
        now: OffsetDateTime,
    },
    /// The draft is of another trust domain.
    #[error("{found} is of another trust domain, expected {expected}")]
    TrustDomain {
        /// Whose certificate it would be.
        found: SpiffeId,
        /// The authority's trust domain.
        expected: TrustDomain,
    },
    /// The key to certify is the authority's own.
    #[error("key {digest} belongs to an authority, expected a key of its own")]
    KeyIsAuthority {
        /// The key's digest.
        digest: KeyDigest,
    },
    /// The certificates above the authority have name constraints that exclude a name.
    #[error(
        "{name} is excluded by the name constraints of {certificate}; peers would reject a certificate with it"
    )]
    NameConstraints {
        /// The first name that is excluded.
        name: String,
        /// The certificate that excludes it.
        certificate: String,
    },
    /// A CRL that would be out of date when it is made.
    #[error("crl would have to be replaced at {next_update}, before it begins at {this_update}")]
    Update {
        /// When the CRL begins.
        this_update: OffsetDateTime,
        /// When it would have to be replaced.
        next_update: OffsetDateTime,
    },
    /// The life is out of range.
    #[error(transparent)]
    Life(#[from] crate::LifeError),
    /// The operating system gives no random numbers.
    #[error("no signature could be made, the system gives no random numbers")]
    Random,
}

impl SignError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            SignError::Ended { .. } => Reason::AuthorityEnded,
            SignError::NotBegun { .. } => Reason::ClockImplausible,
            SignError::TrustDomain { .. } => Reason::IdentityNotGranted,
            SignError::KeyIsAuthority { .. } => Reason::KeyIsAuthority,
            SignError::NameConstraints { .. } => Reason::NameNotGranted,
            SignError::Life(error) => error.reason(),
            SignError::Update { .. } | SignError::Random => Reason::Internal,
        }
    }
}

impl From<ring::error::Unspecified> for SignError {
    fn from(_: ring::error::Unspecified) -> Self {
        SignError::Random
    }
}

/// What differs from certificate to certificate.
pub(crate) struct Template<'a> {
    /// A whole Name.
    pub(crate) subject: &'a [u8],
    pub(crate) key: &'a PublicKey,
    pub(crate) validity: Validity,
    /// The time of signing, for the serial number.
    pub(crate) now: OffsetDateTime,
    /// Whole extensions beside the two key ids, laid end to end in turn.
    pub(crate) extensions: &'a [&'a [u8]],
}

/// An authority's key with its name and key id: what stands in everything that it signs.
pub(crate) struct Issuer {
    pub(crate) key: AuthorityKey,
    /// The whole Name, byte for byte as in the authority's certificate.
    pub(crate) name: Vec<u8>,
    pub(crate) key_id: Vec<u8>,
    /// The extension that names the key id.
    authority_key_id: Vec<u8>,
}

impl Issuer {
    pub(crate) fn new(key: AuthorityKey, name: Vec<u8>, key_id: Vec<u8>) -> Self {
        let value = sequence(&[&tlv(tag::context(0), &[&key_id])]);
        Self {
            authority_key_id: extension(oid::AUTHORITY_KEY_ID, false, &value),
            key,
            name,
            key_id,
        }
    }

    /// Signs a certificate after this template. The signature is not verified again.
    pub(crate) fn certificate(&self, template: &Template<'_>) -> Result<Issued, SignError> {
        let serial = serial::fresh(template.now)?;
        let validity = template.validity;
        let lists: Vec<&[u8]> = [self.authority_key_id.as_slice()]
            .into_iter()
            .chain(template.extensions.iter().copied())
            .collect();
        let subject_key_id = extension(
            oid::SUBJECT_KEY_ID,
            false,
            &octet_string(&key_id(template.key.digest())),
        );
        let extensions = sequence(&[&subject_key_id, &lists.concat()]);
        let signed = sequence(&[
            V3,
            &der::integer(serial.as_bytes()),
            self.key.signature_algorithm(),
            &self.name,
            &sequence(&[
                &der::time(validity.not_before()),
                &der::time(validity.not_after()),
            ]),
            template.subject,
            template.key.spki_der(),
            &tlv(tag::context_constructed(3), &[&extensions]),
        ]);
        Ok(Issued {
            der: self.sign(&signed)?.into(),
            serial,
            validity,
            key_digest: template.key.digest(),
            life_clipped: false,
        })
    }

    /// Wraps what is to be signed with algorithm and signature: certificates, CRLs and CSRs alike.
    pub(crate) fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, SignError> {
        self.key.sign_structure(signed)
    }

    /// The extension that names this key as the signer's.
    pub(crate) fn authority_key_id(&self) -> &[u8] {
        &self.authority_key_id
    }
}

/// `[0] EXPLICIT INTEGER 2`: version 3.
const V3: &[u8] = &[0xa0, 0x03, 0x02, 0x01, 0x02];

/// The key id of a key that is certified here: the first 160 bits of its digest. RFC 5280 section 4.2.1.2 leaves the method open;
/// this one lets people recognise a key digest in it.
pub(crate) fn key_id(digest: KeyDigest) -> [u8; 20] {
    let mut id = [0; 20];
    id.copy_from_slice(&digest.as_bytes()[..20]);
    id
}

/// One whole extension (RFC 5280 section 4.1); `critical` is written only where it is not the default.
pub(crate) fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    const TRUE: &[u8] = &[tag::BOOLEAN, 0x01, 0xff];
    sequence(&[
        &oid::element(oid),
        if critical { TRUE } else { &[] },
        &octet_string(value),
    ])
}

/// A Name of one attribute.
pub(crate) fn name_of(attribute: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(tag::SET, &[&sequence(&[&oid::element(attribute), value])])])
}

/// `<trust domain> root 2026-1f2e`: what the name of a root or authority looks like, the year it begins and its key id's beginning.
pub(crate) fn authority_name(trust_domain: &TrustDomain, what: &str, year: i32, key: &PublicKey) -> String {
    let tail = identity::hex::encode(&key.digest().as_bytes()[..2]);
    // `ub-common-name` is 64 (RFC 5280 appendix A.1); a trust domain may be longer.
    let domain: String = trust_domain.as_str().chars().take(40).collect();
    format!("{domain} {what} {year:04}-{tail}")
}

/// Extensions of a certificate authority; `path_length` is absent for roots.
pub(crate) fn authority_extensions(trust_domain: &TrustDomain, path_length: Option<u8>) -> Vec<u8> {
    const CA: &[u8] = &[tag::BOOLEAN, 0x01, 0xff];
    const KEY_CERT_SIGN_CRL_SIGN: u8 = 0x06;
    let path_length = path_length
        .map(|length| der::integer(&[length]))
        .unwrap_or_default();
    [
        extension(oid::BASIC_CONSTRAINTS, true, &sequence(&[CA, &path_length])),
        extension(oid::KEY_USAGE, true, &der::named_bits(KEY_CERT_SIGN_CRL_SIGN)),
        subject_alt_name(trust_domain.id().as_str(), &[], &[], false),
    ]
    .concat()
}

/// The SAN extension with one URI, then DNS names and addresses (RFC 5280 section 4.2.1.6).
pub(crate) fn subject_alt_name(
    uri: &str,
    dns_names: &[String],
    ip_addresses: &[std::net::IpAddr],
    critical: bool,
) -> Vec<u8> {
    let mut names = tlv(tag::context(6), &[uri.as_bytes()]);
    for name in dns_names {
        names.extend(tlv(tag::context(2), &[name.as_bytes()]));
    }
    for address in ip_addresses {
        names.extend(match address {
            std::net::IpAddr::V4(v4) => tlv(tag::context(7), &[&v4.octets()]),
            std::net::IpAddr::V6(v6) => tlv(tag::context(7), &[&v6.octets()]),
        });
    }
    extension(oid::SUBJECT_ALT_NAME, critical, &sequence(&[&names]))
}

/// A SubjectPublicKeyInfo of an elliptic-curve key.
pub(crate) fn ec_spki(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&oid::element(oid::EC_PUBLIC_KEY), &oid::element(curve)]);
    sequence(&[&algorithm, &bit_string(point)])
}
