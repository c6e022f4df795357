//! A trust bundle: the roots of one trust domain, its CRLs, and a sequence that grows with every change
//! (SPIFFE Trust Domain and Bundle, sections 3 and 4). Bundles of two trust domains are never merged.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::Fingerprint;
use crate::spiffe_id::TrustDomain;

/// Most roots in one bundle; more is an attack, not a rollover.
pub const MAX_ROOTS: usize = 64;
/// Longest bundle that is parsed, in bytes of PEM or DER.
pub const MAX_BYTES: usize = 1 << 20;

/// The roots of one trust domain, each a certificate that can serve as a trust anchor.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    roots: Vec<CertificateDer<'static>>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    sequence: u64,
}

/// Why certificates are no trust bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not PEM, or another kind of PEM.
    #[error("trust bundle is not PEM certificates: {0}")]
    Pem(String),
    /// A certificate that cannot be a trust anchor.
    #[error(
        "certificate {index} of the trust bundle (sha-256 {fingerprint}) cannot be a trust anchor: {why}"
    )]
    Root {
        /// Its place, from 0.
        index: usize,
        /// Its fingerprint.
        fingerprint: Fingerprint,
        /// What the parser said.
        why: String,
    },
    /// Too many roots, or too many bytes.
    #[error("trust bundle of {found} {unit}, expected at most {limit}")]
    TooLarge {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
        /// Roots or bytes.
        unit: &'static str,
    },
}

impl TrustBundle {
    /// A bundle of these roots without CRLs and with sequence 0. No root at all is legal and trusts nobody.
    pub fn new(trust_domain: TrustDomain, roots: Vec<CertificateDer<'static>>) -> Result<Self, BundleError> {
        if roots.len() > MAX_ROOTS {
            return Err(BundleError::TooLarge {
                found: roots.len(),
                limit: MAX_ROOTS,
                unit: "roots",
            });
        }
        let bytes = roots.iter().map(|root| root.len()).sum();
        if bytes > MAX_BYTES {
            return Err(BundleError::TooLarge {
                found: bytes,
                limit: MAX_BYTES,
                unit: "bytes",
            });
        }
        for (index, root) in roots.iter().enumerate() {
            webpki::anchor_from_trusted_cert(root).map_err(|e| BundleError::Root {
                index,
                fingerprint: Fingerprint::of(root),
                why: e.to_string(),
            })?;
        }
        Ok(Self {
            trust_domain,
            roots,
            crls: Vec::new(),
            sequence: 0,
        })
    }

    /// Reads concatenated PEM certificates (RFC 7468); text between them is skipped. A block of any other
    /// kind is refused: a private key or a `TRUSTED CERTIFICATE` in a bundle is a mistake that would
    /// otherwise pass unnoticed.
    pub fn from_pem(trust_domain: TrustDomain, pem: &[u8]) -> Result<Self, BundleError> {
        if pem.len() > MAX_BYTES {
            return Err(BundleError::TooLarge {
                found: pem.len(),
                limit: MAX_BYTES,
                unit: "bytes",
            });
        }
        if let Some(label) = foreign_label(pem) {
            return Err(BundleError::Pem(format!(
                "found a block {label:?}, expected only CERTIFICATE"
            )));
        }
        let roots = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| BundleError::Pem(e.to_string()))?;
        Self::new(trust_domain, roots)
    }

    /// The same bundle with these CRLs.
    pub fn with_crls(self, crls: Vec<CertificateRevocationListDer<'static>>) -> Self {
        Self { crls, ..self }
    }

    /// The same bundle with this sequence.
    pub fn with_sequence(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// Whose roots these are.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots, in DER.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The CRLs, in DER.
    pub fn crls(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.crls
    }

    /// Grows with every change.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The one root with this fingerprint, if it is here.
    pub fn root(&self, fingerprint: &Fingerprint) -> Option<&CertificateDer<'static>> {
        self.roots
            .iter()
            .find(|root| Fingerprint::of(root) == *fingerprint)
    }

    /// The roots as concatenated PEM, each ending with a newline.
    pub fn to_pem(&self) -> String {
        self.roots.iter().map(|root| certificate_pem(root)).collect()
    }
}

impl std::fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roots: Vec<String> = self
            .roots
            .iter()
            .map(|r| Fingerprint::of(r).to_string())
            .collect();
        write!(
            f,
            "TrustBundle({}, sequence {}, roots {roots:?})",
            self.trust_domain, self.sequence
        )
    }
}

/// The label of the first PEM block that is not a certificate. The PEM reader skips labels that it does not
/// know.
fn foreign_label(pem: &[u8]) -> Option<String> {
    const LONGEST_LABEL: usize = 64;
    pem.split(|byte| matches!(byte, b'\n' | b'\r'))
        .filter_map(|line| line.trim_ascii().strip_prefix(b"-----BEGIN "))
        .map(|label| label.strip_suffix(b"-----").unwrap_or(label))
        .find(|label| *label != b"CERTIFICATE")
        .map(|label| String::from_utf8_lossy(&label[..label.len().min(LONGEST_LABEL)]).into_owned())
}

/// One certificate as PEM (RFC 7468) with 64 columns, LF line ends and a final newline.
pub fn certificate_pem(der: &[u8]) -> String {
    pem("CERTIFICATE", der)
}

/// A PEM block (RFC 7468) with 64 columns, LF line ends and a final newline.
pub fn pem(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_bundle_reads_the_pem_that_it_writes() {
        let td = TrustDomain::new("example.org").unwrap();
        let bundle = TrustBundle::new(td.clone(), vec![root(), root()]).unwrap();
        assert!(bundle.to_pem().ends_with("-----END CERTIFICATE-----\n"));
        assert_eq!(TrustBundle::from_pem(td, bundle.to_pem().as_bytes()), Ok(bundle));
    }

    #[test]
    fn a_block_that_is_no_certificate_is_refused_naming_its_label() {
        let td = TrustDomain::new("td").unwrap();
        let good = certificate_pem(&root());
        for label in [
            "PRIVATE KEY",
            "TRUSTED CERTIFICATE",
            "X509 CRL",
            "CERTIFICATE REQUEST",
        ] {
            for text in [
                format!("{good}{}", pem(label, b"x")),
                format!("{}{good}", pem(label, b"x")),
            ] {
                let refused = TrustBundle::from_pem(td.clone(), text.as_bytes()).unwrap_err();
                assert!(refused.to_string().contains(label), "{refused}");
            }
        }
        let commented = format!("root of 2026\r\n{}", good.replace('\n', "\r\n"));
        let read = TrustBundle::from_pem(td, commented.as_bytes()).unwrap();
        assert_eq!(read.roots().len(), 1);
    }

    #[test]
    fn a_root_is_found_by_its_fingerprint_only() {
        let (a, b) = (root(), root());
        let bundle = TrustBundle::new(TrustDomain::new("td").unwrap(), vec![a.clone()]).unwrap();
        assert_eq!(bundle.root(&Fingerprint::of(&a)), Some(&a));
        assert_eq!(bundle.root(&Fingerprint::of(&b)), None);
    }

    #[test]
    fn garbage_and_crowds_are_refused() {
        let td = TrustDomain::new("td").unwrap();
        let garbage = CertificateDer::from(vec![0x30, 0x00]);
        assert!(matches!(
            TrustBundle::new(td.clone(), vec![garbage]),
            Err(BundleError::Root { index: 0, .. })
        ));
        let crowd = vec![root(); MAX_ROOTS + 1];
        assert!(matches!(
            TrustBundle::new(td.clone(), crowd),
            Err(BundleError::TooLarge { found: 65, .. })
        ));
        assert!(matches!(
            TrustBundle::from_pem(td, &vec![b' '; MAX_BYTES + 1]),
            Err(BundleError::TooLarge { .. })
        ));
    }
}
