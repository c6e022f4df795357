//! The facts of one certificate, read once (RFC 5280), and the rules that make it an X.509-SVID (X509-SVID sections 2 to 4).

use std::net::IpAddr;

use crate::spiffe_id::Role;
use crate::{KeyDigest, Serial, SpiffeId, Validity};

pub(crate) mod names;
pub(crate) mod read;

/// Largest certificate that is parsed, in bytes of DER.
pub const MAX_BYTES: usize = 64 * 1024;

/// The facts of a certificate: names, key, span, and what its key may do.
#[derive(Clone, Debug)]
pub struct Leaf {
    serial: Serial,
    validity: Validity,
    key_digest: KeyDigest,
    uris: Vec<String>,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    /// Whether the extension that holds the names is critical.
    names_critical: bool,
    subject: String,
    subject_common_name: Option<String>,
    subject_serial_number: Option<String>,
    hardware_serial: Option<String>,
    authority_key_id: Option<Vec<u8>>,
    subject_key_id: Option<Vec<u8>>,
    is_ca: bool,
    key_usage: Option<KeyUsage>,
    extended: Option<ExtendedUsage>,
}

/// Names of the bits of key usage, the first first (RFC 5280 section 4.2.1.3).
const KEY_USAGES: [&str; 9] = [
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
];

#[derive(Clone, Copy, Debug)]
struct KeyUsage {
    critical: bool,
    digital_signature: bool,
    key_cert_sign: bool,
    crl_sign: bool,
    /// Bit `n` is the one that [`KEY_USAGES`] names at `n`.
    bits: u16,
}

#[derive(Clone, Debug)]
struct ExtendedUsage {
    server: bool,
    client: bool,
    /// Names and object identifiers of the rest.
    others: Vec<String>,
}

/// Why bytes are no certificate that Signet can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate cannot be read: {why}, expected one X.509 v3 certificate in DER")]
pub struct LeafError {
    why: String,
}

/// The rule of X.509-SVID that a certificate breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// Section 2: exactly one URI SAN.
    #[error("certificate has {found} URI SANs, expected exactly one SPIFFE ID")]
    UriCount {
        /// How many there are.
        found: usize,
    },
    /// Section 2: the URI is a SPIFFE ID.
    #[error(transparent)]
    Id(#[from] crate::SpiffeIdError),
    /// Section 3.2: an end entity has a path.
    #[error("certificate names {0}, a trust domain and not a workload; expected a path")]
    NoPath(SpiffeId),
    /// Section 2, by RFC 5280 section 4.2.1.6.
    #[error("certificate has no subject and its names are not critical, expected a critical subjectAltName")]
    NamesNotCritical,
    /// Section 3.2: a signing certificate has no path.
    #[error("signing certificate names {0}, a workload; expected a trust domain without a path")]
    NamesWorkload(SpiffeId),
    /// Section 4.1: not a CA.
    #[error("certificate is a CA, expected an end entity")]
    IsCa,
    /// Section 4.3.
    #[error("key usage {found}, expected critical digitalSignature without keyCertSign and cRLSign")]
    KeyUsage {
        /// What is there.
        found: &'static str,
    },
    /// Section 4.4.
    #[error("extended key usage lacks {lacks}, expected serverAuth and clientAuth")]
    ExtendedKeyUsage {
        /// What is not there.
        lacks: &'static str,
    },
}

/// The subject of a certificate, DER: verifiers compare it with the issuer of a CRL byte by byte.
///
/// # Errors
/// As [`Leaf::parse`].
pub fn subject_der(certificate: &[u8]) -> Result<Vec<u8>, LeafError> {
    Ok(read::certificate(certificate)?.subject().as_raw().to_vec())
}

impl Leaf {
    /// Reads one certificate. Bytes that are not DER, a repeated extension, and a known extension that cannot
    /// be read are refused.
    pub fn parse(der: &[u8]) -> Result<Self, LeafError> {
        Self::read(&read::certificate(der)?)
    }

    /// The SPIFFE ID, if the certificate keeps every rule of a leaf X.509-SVID. The chain is not looked at.
    pub fn svid_id(&self) -> Result<SpiffeId, SvidError> {
        let [uri] = self.uris.as_slice() else {
            return Err(SvidError::UriCount {
                found: self.uris.len(),
            });
        };
        let id = SpiffeId::new(uri)?;
        if id.role() == Role::Authority {
            return Err(SvidError::NoPath(id));
        }
        if self.subject.is_empty() && !self.names_critical {
            return Err(SvidError::NamesNotCritical);
        }
        if self.is_ca {
            return Err(SvidError::IsCa);
        }
        let found = match self.key_usage {
            None => Some("is absent"),
            Some(usage) if !usage.critical => Some("is not critical"),
            Some(usage) if usage.key_cert_sign => Some("has keyCertSign"),
            Some(usage) if usage.crl_sign => Some("has cRLSign"),
            Some(usage) if !usage.digital_signature => Some("lacks digitalSignature"),
            Some(_) => None,
        };
        if let Some(found) = found {
            return Err(SvidError::KeyUsage { found });
        }
        match &self.extended {
            Some(usage) if !usage.server => Err(SvidError::ExtendedKeyUsage { lacks: "serverAuth" }),
            Some(usage) if !usage.client => Err(SvidError::ExtendedKeyUsage { lacks: "clientAuth" }),
            _ => Ok(id),
        }
    }

    /// Whether it may be above a leaf: cA, critical keyCertSign, and names that [`authority_id`] accepts
    /// (X509-SVID sections 3.1, 4.1, 4.3).
    pub fn may_sign_svids(&self) -> bool {
        self.is_ca
            && self
                .key_usage
                .is_some_and(|usage| usage.critical && usage.key_cert_sign)
            && authority_id(self.uris.iter().map(String::as_str)).is_ok()
    }

    /// Whether a TLS client may present it: extended key usage is absent or has clientAuth.
    pub fn allows_client_auth(&self) -> bool {
        self.extended.as_ref().is_none_or(|usage| usage.client)
    }

    /// What its key may do, in the words of RFC 5280 section 4.2.1.3; empty where it does not say.
    pub fn key_usage(&self) -> Vec<&'static str> {
        let bits = self.key_usage.map_or(0, |usage| usage.bits);
        let named = KEY_USAGES.iter().enumerate();
        named
            .filter(|(bit, _)| bits & (1 << bit) != 0)
            .map(|(_, name)| *name)
            .collect()
    }

    /// What it may be used for: words of RFC 5280 section 4.2.1.12, or object identifiers; empty where it does not say.
    pub fn extended_key_usage(&self) -> Vec<&str> {
        let Some(ExtendedUsage {
            server,
            client,
            others,
        }) = &self.extended
        else {
            return Vec::new();
        };
        let ours = [(*server, "serverAuth"), (*client, "clientAuth")];
        let ours = ours.into_iter().filter_map(|(has, name)| has.then_some(name));
        ours.chain(others.iter().map(String::as_str)).collect()
    }

    /// Its serial number.
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// From when until when it counts.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fn key_digest(&self) -> KeyDigest {
        self.key_digest
    }

    /// URI SANs as they stand.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// DNS SANs as they stand.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// IP SANs.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.ip_addresses
    }

    /// The subject as text (RFC 4514); empty for SVIDs.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// First commonName of the subject.
    pub fn common_name(&self) -> Option<&str> {
        self.subject_common_name.as_deref()
    }

    /// First serialNumber attribute (2.5.4.5) of the subject: a device's, not the certificate's.
    pub fn subject_serial_number(&self) -> Option<&str> {
        self.subject_serial_number.as_deref()
    }

    /// Serial number of a hardwareModuleName (RFC 4108 section 5), in lower-case hex.
    pub fn hardware_serial(&self) -> Option<&str> {
        self.hardware_serial.as_deref()
    }

    /// Key id of the authority that signed it.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// Its own key id.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// Whether basic constraints say CA.
    pub fn is_ca(&self) -> bool {
        self.is_ca
    }
}

/// The SPIFFE ID among the URI SANs of a signing certificate. It may have none (X509-SVID section 3.2: it
/// *should* be an SVID); if it has one, this is its only URI (section 2) and has no path. A URI that only
/// resembles a SPIFFE ID is refused, not passed over.
pub(crate) fn authority_id<'a>(
    uris: impl Iterator<Item = &'a str> + Clone,
) -> Result<Option<SpiffeId>, SvidError> {
    let resembles = |uri: &str| {
        uri.get(..7)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"))
    };
    let Some(uri) = uris.clone().find(|uri| resembles(uri)) else {
        return Ok(None);
    };
    let found = uris.count();
    if found > 1 {
        return Err(SvidError::UriCount { found });
    }
    let id = SpiffeId::new(uri)?;
    if id.role() == Role::Authority {
        Ok(Some(id))
    } else {
        Err(SvidError::NamesWorkload(id))
    }
}

#[cfg(test)]
mod tests;
