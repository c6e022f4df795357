//! Reads the facts of a certificate from DER (RFC 5280 section 4). x509-parser passes over trailing bytes
//! within extensions, names that it cannot read and extensions that occur twice; other validators refuse such
//! a certificate, so it is refused here, too.

use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, GeneralName, ParsedExtension, X509Extension,
};
use x509_parser::prelude::FromDer;

use super::{ExtendedUsage, KeyUsage, Leaf, LeafError, MAX_BYTES, names};
use crate::{KeyDigest, Serial, Validity, der};

/// Content of the object identifier id-on-hardwareModuleName, 1.3.6.1.5.5.7.8.4 (RFC 4108 section 5).
const HARDWARE_MODULE_NAME: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 8, 4];

/// The tag of an OBJECT IDENTIFIER.
const OBJECT_IDENTIFIER: u8 = 0x06;

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err by name")]
fn wrong(why: impl ToString) -> LeafError {
    LeafError { why: why.to_string() }
}

/// Parses one certificate that has one meaning, and whose every known extension can be read.
pub(crate) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, LeafError> {
    if der.len() > MAX_BYTES {
        return Err(wrong(format!("{} bytes, more than {MAX_BYTES}", der.len())));
    }
    let (rest, cert) = X509Certificate::from_der(der).map_err(wrong)?;
    if !rest.is_empty() {
        return Err(wrong(format!("{} trailing bytes", rest.len())));
    }
    der::check(der).map_err(wrong)?;
    // x509-parser ignores the class of a tag, the version, and one of two signature algorithms, so it may
    // read extensions where other validators read none.
    webpki::anchor_from_trusted_cert(&CertificateDer::from(der)).map_err(wrong)?;
    let mut kinds: Vec<&[u8]> = cert.extensions().iter().map(|e| e.oid.as_bytes()).collect();
    kinds.sort_unstable();
    if kinds.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(wrong("an extension occurs twice"));
    }
    for extension in cert.extensions() {
        check_extension(extension).map_err(|why| wrong(format!("extension {}: {why}", extension.oid)))?;
    }
    Ok(cert)
}

fn check_extension(extension: &X509Extension<'_>) -> Result<(), String> {
    let parsed = extension.parsed_extension();
    if parsed.unsupported() {
        return Ok(());
    }
    if let Some(error) = parsed.error() {
        return Err(error.to_string());
    }
    der::check(extension.value).map_err(|e| e.to_string())?;
    match parsed {
        ParsedExtension::SubjectAlternativeName(names) => names::check_names(&names.general_names),
        ParsedExtension::NameConstraints(limits) => names::check_constraints(limits),
        ParsedExtension::BasicConstraints(constraints) => check_constraints(constraints),
        ParsedExtension::AuthorityKeyIdentifier(id) => check_authority_key(id),
        ParsedExtension::ExtendedKeyUsage(_) if !der::has_only(OBJECT_IDENTIFIER, extension.value) => {
            Err("a purpose in it is not an object identifier".to_owned())
        }
        _ => Ok(()),
    }
}

/// RFC 5280 section 4.2.1.9: pathLenConstraint is meaningful only where cA is set.
fn check_constraints(constraints: &BasicConstraints) -> Result<(), String> {
    match constraints.path_len_constraint {
        Some(_) if !constraints.ca => Err("a path length without cA".to_owned()),
        _ => Ok(()),
    }
}

/// RFC 5280 section 4.2.1.1: issuer and serial number are both present or both absent.
fn check_authority_key(id: &AuthorityKeyIdentifier<'_>) -> Result<(), String> {
    if id.authority_cert_issuer.is_some() == id.authority_cert_serial.is_some() {
        Ok(())
    } else {
        Err("an issuer without a serial number, or the reverse".to_owned())
    }
}

impl Leaf {
    /// The facts of a certificate that [`certificate`] returned.
    pub(crate) fn read(cert: &X509Certificate<'_>) -> Result<Self, LeafError> {
        let time = |at: x509_parser::time::ASN1Time| OffsetDateTime::from_unix_timestamp(at.timestamp());
        let validity = time(cert.validity().not_before)
            .and_then(|begin| Ok((begin, time(cert.validity().not_after)?)))
            .map_err(wrong)
            .and_then(|(begin, end)| Validity::new(begin, end).map_err(wrong))?;
        if is_negative(cert.raw_serial()) {
            return Err(wrong("the serial number is negative"));
        }
        let serial = Serial::from_bytes(cert.raw_serial()).map_err(wrong)?;
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
            names_critical: false,
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
        leaf.read_extensions(cert);
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
                ParsedExtension::SubjectAlternativeName(names) => {
                    self.names_critical = extension.critical;
                    self.read_names(&names.general_names);
                }
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
}

/// Whether the contents of an INTEGER have their sign bit set.
pub(crate) fn is_negative(integer: &[u8]) -> bool {
    integer.first().is_some_and(|first| first & 0x80 != 0)
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

/// The second member of `HardwareModuleName ::= SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET STRING
/// }`, which stands explicitly tagged in an otherName.
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
