//! The facts of one certificate, read once (RFC 5280), and the rules that make it an X.509-SVID (X509-SVID sections 2 to 4).

use std::net::IpAddr;

use time::OffsetDateTime;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::spiffe_id::Role;
use crate::{KeyDigest, Serial, SpiffeId, Validity};

/// Largest certificate that is parsed, in bytes of DER.
pub const MAX_BYTES: usize = 64 * 1024;

/// Content of the object identifier id-on-hardwareModuleName, 1.3.6.1.5.5.7.8.4 (RFC 4108 section 5).
const HARDWARE_MODULE_NAME: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 8, 4];

/// The facts of a certificate: names, key, span, and what its key may do.
#[derive(Clone, Debug)]
pub struct Leaf {
    serial: Serial,
    validity: Validity,
    key_digest: KeyDigest,
    uris: Vec<String>,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
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

impl Leaf {
    /// Reads one certificate; trailing bytes are refused.
    pub fn parse(der: &[u8]) -> Result<Self, LeafError> {
        let wrong = |why: String| LeafError { why };
        if der.len() > MAX_BYTES {
            return Err(wrong(format!("{} bytes, more than {MAX_BYTES}", der.len())));
        }
        let (rest, cert) = X509Certificate::from_der(der).map_err(|e| wrong(e.to_string()))?;
        if !rest.is_empty() {
            return Err(wrong(format!("{} trailing bytes", rest.len())));
        }
        let time = |at: x509_parser::time::ASN1Time| OffsetDateTime::from_unix_timestamp(at.timestamp());
        let validity = time(cert.validity().not_before)
            .and_then(|begin| Ok((begin, time(cert.validity().not_after)?)))
            .map_err(|e| wrong(e.to_string()))
            .and_then(|(begin, end)| Validity::new(begin, end).map_err(|e| wrong(e.to_string())))?;
        let serial = Serial::from_bytes(cert.raw_serial()).map_err(|e| wrong(e.to_string()))?;
        let attribute = |mut found: Box<
            dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>> + '_,
        >| { found.next().and_then(|a| a.as_str().ok()).map(str::to_owned) };
        let mut leaf = Self {
            serial,
            validity,
            key_digest: KeyDigest::of(cert.public_key().raw),
            uris: Vec::new(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            subject: cert.subject().to_string(),
            subject_common_name: attribute(Box::new(cert.subject().iter_common_name())),
            subject_serial_number: attribute(Box::new(
                cert.subject()
                    .iter_by_oid(&x509_parser::oid_registry::OID_X509_SERIALNUMBER),
            )),
            hardware_serial: None,
            authority_key_id: None,
            subject_key_id: None,
            is_ca: false,
            key_usage: None,
            extended: None,
        };
        leaf.read_extensions(&cert);
        Ok(leaf)
    }

    fn read_extensions(&mut self, cert: &X509Certificate<'_>) {
        for extension in cert.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => self.is_ca = constraints.ca,
                ParsedExtension::KeyUsage(usage) => {
                    self.key_usage = Some(KeyUsage {
                        critical: extension.critical,
                        digital_signature: usage.digital_signature(),
                        key_cert_sign: usage.key_cert_sign(),
                        crl_sign: usage.crl_sign(),
                        bits: usage.flags,
                    });
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    self.extended = Some(ExtendedUsage {
                        server: usage.server_auth,
                        client: usage.client_auth,
                        others: other_usages(usage),
                    });
                }
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    self.authority_key_id = id.key_identifier.as_ref().map(|key| key.0.to_vec());
                }
                ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
                ParsedExtension::SubjectAlternativeName(names) => self.read_names(&names.general_names),
                _ => {}
            }
        }
    }

    fn read_names(&mut self, names: &[GeneralName<'_>]) {
        for name in names {
            match name {
                GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => self.dns_names.push((*dns).to_owned()),
                GeneralName::IPAddress(octets) => {
                    let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
                    self.ip_addresses
                        .extend(v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from)));
                }
                GeneralName::OtherName(oid, value) if oid.as_bytes() == HARDWARE_MODULE_NAME => {
                    self.hardware_serial = hardware_serial(value);
                }
                _ => {}
            }
        }
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

    /// Whether it may stand above a leaf: cA, critical keyCertSign, and no SPIFFE ID with a path (X509-SVID sections 3.1, 4.1, 4.3).
    pub fn may_sign_svids(&self) -> bool {
        let names_a_workload = self
            .uris
            .iter()
            .filter_map(|uri| SpiffeId::new(uri).ok())
            .any(|id| !id.path().is_empty());
        self.is_ca
            && self
                .key_usage
                .is_some_and(|usage| usage.critical && usage.key_cert_sign)
            && !names_a_workload
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

/// Every extended usage but those of TLS servers and clients.
fn other_usages(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let named = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let named = named.into_iter().filter(|(has, _)| *has);
    named
        .map(|(_, name)| name.to_owned())
        .chain(usage.other.iter().map(|oid| oid.to_id_string()))
        .collect()
}

/// The second member of `HardwareModuleName ::= SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET STRING }`, which
/// stands explicitly tagged in an otherName.
fn hardware_serial(other_name: &[u8]) -> Option<String> {
    let (_, tagged) = Any::from_der(other_name).ok()?;
    let content = if tagged.tag() == Tag::Sequence {
        tagged
    } else {
        Any::from_der(tagged.data).ok()?.1
    };
    let (serial, hardware_type) = Any::from_der(content.data).ok()?;
    let (_, serial) = Any::from_der(serial).ok()?;
    let fits = hardware_type.tag() == Tag::Oid && serial.tag() == Tag::OctetString;
    fits.then(|| crate::hex::encode(serial.data))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_serial_of_a_hardware_module_name_is_read_with_and_without_its_tag() {
        let name = [0x30, 8, 6, 2, 0x2a, 3, 4, 2, 0xab, 1];
        assert_eq!(super::hardware_serial(&name).as_deref(), Some("ab01"));
        let tagged = [&[0xa0, 10], name.as_slice()].concat();
        assert_eq!(super::hardware_serial(&tagged).as_deref(), Some("ab01"));
        assert_eq!(super::hardware_serial(&[0x30, 0]), None);
        assert_eq!(super::hardware_serial(&[4, 2, 0xab, 1]), None);
    }
}
