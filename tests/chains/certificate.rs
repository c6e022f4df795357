//! Certificates written octet by octet, so that any rule of RFC 5280 can be broken in them.

use std::rc::Rc;

use time::OffsetDateTime;

use super::keys::Key;

/// The time at which all chains are verified: 2026-01-01 12:00:00 UTC.
pub const NOW: i64 = 1_767_268_800;

/// digitalSignature, keyCertSign and cRLSign as bits of [`Certificate::key_usage`]: the first bit of the BIT
/// STRING is the highest.
pub const DIGITAL_SIGNATURE: u8 = 0x80;
pub const KEY_CERT_SIGN: u8 = 0x04;
pub const CRL_SIGN: u8 = 0x02;

/// Purposes of extended key usage.
pub const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
pub const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
pub const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
pub const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0];

/// Tags of general names.
pub const EMAIL: u8 = 0x81;
pub const DNS: u8 = 0x82;
pub const DIRECTORY: u8 = 0xa4;
pub const URI: u8 = 0x86;
pub const IP: u8 = 0x87;
pub const REGISTERED_ID: u8 = 0x88;

/// Last octets of the object identifiers of id-ce (2.5.29).
pub const SUBJECT_KEY_ID: u8 = 14;
pub const KEY_USAGE: u8 = 15;
pub const SUBJECT_ALT_NAME: u8 = 17;
pub const BASIC_CONSTRAINTS: u8 = 19;
pub const NAME_CONSTRAINTS: u8 = 30;
pub const CERTIFICATE_POLICIES: u8 = 32;
pub const AUTHORITY_KEY_ID: u8 = 35;
pub const POLICY_CONSTRAINTS: u8 = 36;
pub const EXTENDED_KEY_USAGE: u8 = 37;

/// How a certificate refers to the key of its issuer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AuthorityKey {
    /// By the issuer's key identifier, where it has one.
    Linked,
    Absent,
    /// By an identifier that the issuer does not have.
    WrongKey,
    /// By the issuer's own issuer and serial number.
    Serial,
    /// By a serial number that the issuer does not have.
    WrongSerial,
}

/// Basic constraints; `ca` and the path length are left out where they are `None`.
#[derive(Clone, Copy)]
pub struct Constraints {
    pub critical: bool,
    pub ca: Option<bool>,
    pub path_length: Option<u8>,
}

/// An extension that is written as it is.
#[derive(Clone)]
pub struct Extension {
    pub oid: Vec<u8>,
    pub critical: bool,
    pub value: Vec<u8>,
}

/// Name constraints: general names that are permitted, and excluded.
#[derive(Clone)]
pub struct NameLimits {
    pub critical: bool,
    pub permitted: Vec<(u8, Vec<u8>)>,
    pub excluded: Vec<(u8, Vec<u8>)>,
}

/// A certificate before it is signed.
#[derive(Clone)]
pub struct Certificate {
    /// Content of the version; v1 leaves it out.
    pub version: Option<u8>,
    /// Content of the INTEGER.
    pub serial: Vec<u8>,
    pub subject: Vec<u8>,
    /// In place of its issuer's subject.
    pub issuer: Option<Vec<u8>>,
    /// Seconds from [`NOW`] to notBefore and notAfter.
    pub validity: (i64, i64),
    pub key: Rc<Key>,
    /// In place of its issuer's key.
    pub signed_by: Option<Rc<Key>>,
    pub constraints: Option<Constraints>,
    /// Whether it is critical, and its bits.
    pub key_usage: Option<(bool, u8)>,
    pub extended: Option<Vec<&'static [u8]>>,
    pub names: Vec<(u8, Vec<u8>)>,
    pub names_critical: bool,
    pub has_key_id: bool,
    pub authority_key: AuthorityKey,
    pub limits: Option<NameLimits>,
    pub others: Vec<Extension>,
    /// Whether a bit of the signature is flipped.
    pub corrupt: bool,
    /// Whether the algorithm outside of the signed part differs from that inside.
    pub two_algorithms: bool,
}

impl Certificate {
    /// Signs it as a certificate of this issuer.
    pub fn sign(&self, issuer: &Certificate) -> Vec<u8> {
        let signer = self.signed_by.as_ref().unwrap_or(&issuer.key);
        let name = self.issuer.as_ref().unwrap_or(&issuer.subject);
        let version = self.version.map_or(Vec::new(), |v| tlv(0xa0, &tlv(0x02, &[v])));
        let extensions: Vec<u8> = self
            .extensions(issuer)
            .iter()
            .flat_map(encode_extension)
            .collect();
        let extensions = match self.version {
            Some(_) => tlv(0xa3, &tlv(0x30, &extensions)),
            None => Vec::new(),
        };
        let (begin, end) = self.validity;
        let signed = sequence(&[
            &version,
            &tlv(0x02, &self.serial),
            &signer.algorithm,
            name,
            &sequence(&[&time(begin), &time(end)]),
            &self.subject,
            &self.key.spki,
            &extensions,
        ]);
        let mut signature = signer.sign(&signed);
        if self.corrupt {
            let last = signature.len() - 1;
            signature[last] ^= 1;
        }
        let outside = match self.two_algorithms {
            true => sequence(&[&signer.algorithm[2..], &[5, 0]]),
            false => signer.algorithm.clone(),
        };
        sequence(&[&signed, &outside, &bit_string(0, &signature)])
    }

    fn extensions(&self, issuer: &Certificate) -> Vec<Extension> {
        let mut list = Vec::new();
        let mut push =
            |kind: u8, critical: bool, value: Vec<u8>| list.push(Extension::standard(kind, critical, value));
        if self.has_key_id {
            push(SUBJECT_KEY_ID, false, tlv(0x04, &self.key.id()));
        }
        if let Some(value) = self.authority_key_id(issuer) {
            push(AUTHORITY_KEY_ID, false, value);
        }
        if let Some(limits) = self.constraints {
            let ca = limits
                .ca
                .map_or(Vec::new(), |ca| tlv(0x01, &[if ca { 0xff } else { 0 }]));
            let length = limits
                .path_length
                .map_or(Vec::new(), |length| tlv(0x02, &[length]));
            push(BASIC_CONSTRAINTS, limits.critical, sequence(&[&ca, &length]));
        }
        if let Some((critical, bits)) = self.key_usage {
            let unused = u8::try_from(bits.trailing_zeros().min(7)).expect("at most 7");
            push(KEY_USAGE, critical, bit_string(unused, &[bits]));
        }
        if let Some(purposes) = &self.extended {
            let purposes: Vec<u8> = purposes.iter().flat_map(|purpose| oid(purpose)).collect();
            push(EXTENDED_KEY_USAGE, false, sequence(&[&purposes]));
        }
        if !self.names.is_empty() {
            let names: Vec<u8> = self
                .names
                .iter()
                .flat_map(|(tag, name)| tlv(*tag, name))
                .collect();
            push(SUBJECT_ALT_NAME, self.names_critical, sequence(&[&names]));
        }
        if let Some(limits) = &self.limits {
            push(NAME_CONSTRAINTS, limits.critical, limits.encode());
        }
        list.extend(self.others.iter().cloned());
        list
    }

    fn authority_key_id(&self, issuer: &Certificate) -> Option<Vec<u8>> {
        let by_serial = |serial: &[u8]| {
            let name = issuer.issuer.as_ref().unwrap_or(&issuer.subject);
            sequence(&[&tlv(0xa1, &tlv(DIRECTORY, name)), &tlv(0x82, serial)])
        };
        match self.authority_key {
            AuthorityKey::Absent => None,
            AuthorityKey::Linked if !issuer.has_key_id => None,
            AuthorityKey::Linked => Some(sequence(&[&tlv(0x80, &issuer.key.id())])),
            AuthorityKey::WrongKey => Some(sequence(&[&tlv(0x80, &[9; 20])])),
            AuthorityKey::Serial => Some(by_serial(&issuer.serial)),
            AuthorityKey::WrongSerial => Some(by_serial(&[0x11, 0x22])),
        }
    }
}

impl Extension {
    /// One of id-ce.
    pub fn standard(kind: u8, critical: bool, value: Vec<u8>) -> Self {
        let oid = vec![0x55, 0x1d, kind];
        Self { oid, critical, value }
    }
}

impl NameLimits {
    fn encode(&self) -> Vec<u8> {
        let subtrees = |tag: u8, names: &[(u8, Vec<u8>)]| match names {
            [] => Vec::new(),
            names => tlv(
                tag,
                &names
                    .iter()
                    .flat_map(|(tag, name)| sequence(&[&tlv(*tag, name)]))
                    .collect::<Vec<u8>>(),
            ),
        };
        sequence(&[&subtrees(0xa0, &self.permitted), &subtrees(0xa1, &self.excluded)])
    }
}

fn encode_extension(extension: &Extension) -> Vec<u8> {
    let critical = if extension.critical {
        tlv(0x01, &[0xff])
    } else {
        Vec::new()
    };
    sequence(&[&oid(&extension.oid), &critical, &tlv(0x04, &extension.value)])
}

/// A distinguished name of one common name.
pub fn name(common_name: &str) -> Vec<u8> {
    let attribute = sequence(&[&oid(&[0x55, 4, 3]), &tlv(0x0c, common_name.as_bytes())]);
    sequence(&[&tlv(0x31, &attribute)])
}

/// One element of DER.
pub fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let octets = length.to_be_bytes();
    let significant = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(significant.len()).expect("at most 8"));
            out.extend_from_slice(significant);
        }
    }
    out.extend_from_slice(value);
    out
}

/// A SEQUENCE of these elements.
pub fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &elements.concat())
}

/// An OBJECT IDENTIFIER of this content.
pub fn oid(content: &[u8]) -> Vec<u8> {
    tlv(0x06, content)
}

/// A BIT STRING whose last `unused` bits are padding.
pub fn bit_string(unused: u8, bits: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[unused], bits].concat())
}

fn time(from_now: i64) -> Vec<u8> {
    let at = OffsetDateTime::from_unix_timestamp(NOW + from_now).expect("a year of four digits");
    let (month, day, hour) = (u8::from(at.month()), at.day(), at.hour());
    let rest = format!("{month:02}{day:02}{hour:02}{:02}{:02}Z", at.minute(), at.second());
    match at.year() {
        year if year < 2050 => tlv(0x17, format!("{:02}{rest}", year % 100).as_bytes()),
        year => tlv(0x18, format!("{year:04}{rest}").as_bytes()),
    }
}
