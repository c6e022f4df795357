//! The facts of one certificate between a leaf and the root, the root included, and the rules that TLS
//! clients apply to it (RFC 5280 sections 4.2 and 6.1.4). Where verifiers differ the strictest of
//! rustls-webpki, OpenSSL and Go applies.

use identity::Validity;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

use super::AuthorityError;
use super::constraints::Constraints;
use super::path::CertificatePlace;

/// Critical extensions that every common verifier processes: key usage, SAN, basic constraints, name
/// constraints, extended usage.
const PROCESSED: [&str; 5] = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.37"];
/// Signatures that every common verifier accepts: ECDSA, RSA and RSA-PSS with SHA-256 or longer, Ed25519.
const SIGNATURES: [&str; 7] = [
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.113549.1.1.10",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.3.101.112",
];
const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;

/// One certificate of a path.
#[derive(Debug)]
pub(super) struct PathCertificate {
    place: CertificatePlace,
    /// Whole Names, byte for byte.
    subject: Vec<u8>,
    issuer: Vec<u8>,
    issuer_text: String,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    validity: Validity,
    is_v3: bool,
    is_ca: bool,
    path_length: Option<u32>,
    key_usage: Option<KeyUsage>,
    extended: Option<ExtendedUsage>,
    constraints: Option<Constraints>,
    uris: Vec<String>,
    /// Object identifiers of critical extensions that common verifiers do not process.
    unprocessed: Vec<String>,
    /// Object identifier of the algorithm that it is signed with.
    signature: String,
    /// Why no common verifier uses its key, if so.
    key_problem: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct KeyUsage {
    critical: bool,
    key_cert_sign: bool,
}

#[derive(Clone, Copy, Debug)]
struct ExtendedUsage {
    server: bool,
    client: bool,
}

impl PathCertificate {
    /// Reads the certificate at `index` of a chain, or the root.
    pub(super) fn read(index: Option<usize>, der: &[u8]) -> Result<Self, AuthorityError> {
        let named = |subject: &str| match index {
            Some(index) => CertificatePlace::of_chain(index, subject),
            None => CertificatePlace::root(subject),
        };
        let unreadable = |why: String| AuthorityError::Path {
            place: Box::new(named("unreadable")),
            field: "certificate",
            why: format!("cannot be read: {why}"),
        };
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|e| unreadable(e.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable(format!("{} bytes follow it", rest.len())));
        }
        let place = named(&parsed.subject().to_string());
        let time = |at: x509_parser::time::ASN1Time| {
            OffsetDateTime::from_unix_timestamp(at.timestamp()).map_err(|e| e.to_string())
        };
        let validity = time(parsed.validity().not_before)
            .and_then(|begin| Ok((begin, time(parsed.validity().not_after)?)))
            .and_then(|(begin, end)| Validity::new(begin, end).map_err(|e| e.to_string()))
            .map_err(|why| AuthorityError::Path {
                place: Box::new(place.clone()),
                field: "validity",
                why,
            })?;
        let mut certificate = Self {
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            issuer_text: parsed.issuer().to_string(),
            subject_key_id: None,
            authority_key_id: None,
            validity,
            is_v3: parsed.version() == X509Version::V3,
            is_ca: false,
            path_length: None,
            key_usage: None,
            extended: None,
            constraints: None,
            uris: Vec::new(),
            unprocessed: Vec::new(),
            signature: parsed.signature_algorithm.algorithm.to_id_string(),
            key_problem: key_problem(&parsed),
            place,
        };
        certificate.read_extensions(&parsed)?;
        Ok(certificate)
    }

    fn read_extensions(&mut self, parsed: &X509Certificate<'_>) -> Result<(), AuthorityError> {
        for extension in parsed.extensions() {
            let oid = extension.oid.to_id_string();
            if extension.critical && !PROCESSED.contains(&oid.as_str()) {
                self.unprocessed.push(oid.clone());
            }
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    self.is_ca = constraints.ca;
                    self.path_length = constraints.path_len_constraint;
                }
                ParsedExtension::KeyUsage(usage) => {
                    self.key_usage = Some(KeyUsage {
                        critical: extension.critical,
                        key_cert_sign: usage.key_cert_sign(),
                    });
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    self.extended = Some(ExtendedUsage {
                        server: usage.server_auth,
                        client: usage.client_auth,
                    });
                }
                ParsedExtension::NameConstraints(constraints) => {
                    let read = Constraints::read(self.place.clone(), constraints);
                    self.constraints = Some(read.map_err(|why| self.wrong("nameConstraints", why))?);
                }
                ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    self.authority_key_id = id.key_identifier.as_ref().map(|key| key.0.to_vec());
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    let uris = names.general_names.iter().filter_map(|name| match name {
                        GeneralName::URI(uri) => Some((*uri).to_owned()),
                        _ => None,
                    });
                    self.uris.extend(uris);
                }
                ParsedExtension::ParseError { .. } => {
                    return Err(self.wrong("extensions", format!("extension {oid} cannot be read")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn place(&self) -> &CertificatePlace {
        &self.place
    }

    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    pub(super) fn issuer_text(&self) -> &str {
        &self.issuer_text
    }

    pub(super) fn uris(&self) -> &[String] {
        &self.uris
    }

    pub(super) fn constraints(&self) -> Option<&Constraints> {
        self.constraints.as_ref()
    }

    /// Whether the names match.
    pub(super) fn is_issued_by(&self, other: &Self) -> bool {
        self.issuer == other.subject
    }

    /// Whether the key ids match, where both are there.
    pub(super) fn names_key_of(&self, issuer: &Self) -> bool {
        match (&self.authority_key_id, &issuer.subject_key_id) {
            (Some(named), Some(own)) => named == own,
            _ => true,
        }
    }

    /// An error about this certificate.
    pub(super) fn wrong(&self, field: &'static str, why: String) -> AuthorityError {
        AuthorityError::Path {
            place: Box::new(self.place.clone()),
            field,
            why,
        }
    }

    /// Checks that leaves for clients and servers may be signed under it, with `below` authorities between it
    /// and them.
    pub(super) fn may_sign(&self, below: usize) -> Result<(), AuthorityError> {
        let wrong = |field, why: &str| Err(self.wrong(field, why.to_owned()));
        if !self.is_v3 {
            return wrong("version", "is not 3, expected an X.509 v3 certificate");
        }
        if !self.is_ca {
            return wrong("basicConstraints", "do not say CA:TRUE");
        }
        if let Some(limit) = self.path_length.filter(|limit| (*limit as usize) < below) {
            let why =
                format!("pathlen is {limit}, expected at least {below}, the number of authorities below it");
            return Err(self.wrong("basicConstraints", why));
        }
        match self.key_usage {
            // Only identity::verify insists on it, and it never looks at the root.
            None if !self.place.is_root() => {
                return wrong("keyUsage", "is absent, expected critical keyCertSign");
            }
            Some(usage) if !usage.key_cert_sign => return wrong("keyUsage", "lacks keyCertSign"),
            Some(usage) if !usage.critical && !self.place.is_root() => {
                return wrong("keyUsage", "is not critical");
            }
            _ => {}
        }
        let lacking = match self.extended {
            Some(ExtendedUsage { server: false, .. }) => Some("serverAuth"),
            Some(ExtendedUsage { client: false, .. }) => Some("clientAuth"),
            _ => None,
        };
        if let Some(lacking) = lacking {
            let why =
                format!("lacks {lacking}, expected both serverAuth and clientAuth, or no extended key usage");
            return Err(self.wrong("extendedKeyUsage", why));
        }
        if let Some(oid) = self.unprocessed.first() {
            let why = format!("has the critical extension {oid}, which common verifiers do not process");
            return Err(self.wrong("extensions", why));
        }
        // A root's own signature is not verified.
        if !self.place.is_root() && !SIGNATURES.contains(&self.signature.as_str()) {
            let why = format!(
                "has the algorithm {}, expected ECDSA, RSA or Ed25519 with SHA-256, SHA-384 or SHA-512",
                self.signature
            );
            return Err(self.wrong("signatureAlgorithm", why));
        }
        Ok(())
    }

    /// Checks that common verifiers can use its key.
    pub(super) fn has_verifiable_key(&self) -> Result<(), AuthorityError> {
        match &self.key_problem {
            Some(why) => Err(self.wrong("publicKey", why.clone())),
            None => Ok(()),
        }
    }
}

fn key_problem(parsed: &X509Certificate<'_>) -> Option<String> {
    let expected = "expected P-256, P-384, Ed25519, or RSA of 2048 to 8192 bits";
    match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&key.key_size()) => {
            Some(format!("is RSA of {} bits, {expected}", key.key_size()))
        }
        Ok(PublicKey::EC(point)) if !matches!(point.key_size(), 256 | 384) => {
            Some(format!("is EC of {} bits, {expected}", point.key_size()))
        }
        Ok(PublicKey::DSA(_)) => Some(format!("is DSA, {expected}")),
        // Other problems show when the path is verified.
        _ => None,
    }
}
