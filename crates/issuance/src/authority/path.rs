//! The certificates from an authority up to its root (RFC 5280 section 6.1): their order, the validity that
//! they have in common, and the rules by which TLS clients would reject what the authority signs. Each
//! problem is reported with its certificate and field.

use std::fmt;

use identity::{SpiffeId, TrustDomain, Validity, moment, printable};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::AuthorityError;
use super::constraints::Constraints;
use super::path_certificate::PathCertificate;

/// The path of one authority: its own certificate first, the root last.
#[derive(Debug)]
pub struct AuthorityPath {
    certificates: Vec<PathCertificate>,
    /// Certificates of the chain that are not on the path.
    unused: Vec<CertificatePlace>,
    /// The chain in the order of the path, without the root.
    chain: Vec<CertificateDer<'static>>,
    validity: Validity,
}

/// Which certificate of a path it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePlace {
    /// From 0, in the order given; absent for the root.
    index: Option<usize>,
    /// Safe to print.
    subject: String,
}

impl CertificatePlace {
    pub(super) fn of_chain(index: usize, subject: &str) -> Self {
        Self {
            index: Some(index),
            subject: printable(subject).into_owned(),
        }
    }

    pub(super) fn root(subject: &str) -> Self {
        Self {
            index: None,
            subject: printable(subject).into_owned(),
        }
    }

    pub(super) fn is_root(&self) -> bool {
        self.index.is_none()
    }

    /// `chain[1].extendedKeyUsage`, `root.validity`
    pub(super) fn field(&self, name: &str) -> String {
        match self.index {
            Some(index) => format!("chain[{index}].{name}"),
            None => format!("root.{name}"),
        }
    }
}

impl fmt::Display for CertificatePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "certificate {} of the chain ({})", index + 1, self.subject),
            None => write!(f, "the root ({})", self.subject),
        }
    }
}

impl AuthorityPath {
    /// Follows the issuers from the first certificate of `chain` up to `root`. A root among `chain` is left
    /// out.
    pub fn read(chain: &[CertificateDer<'_>], root: &CertificateDer<'_>) -> Result<Self, AuthorityError> {
        let mut rest: Vec<(PathCertificate, &CertificateDer<'_>)> = Vec::new();
        for (index, der) in chain.iter().enumerate() {
            if der != root {
                rest.push((PathCertificate::read(Some(index), der)?, der));
            }
        }
        if rest.is_empty() {
            return Err(AuthorityError::Chain {
                why: "it holds no certificate apart from the root".to_owned(),
            });
        }
        let root = PathCertificate::read(None, root)?;
        let (own, own_der) = rest.remove(0);
        let mut ordered = vec![own_der.clone().into_owned()];
        let mut certificates = vec![own];
        loop {
            let last = certificates
                .last()
                .expect("the path begins with the authority's own");
            if last.is_issued_by(&root) {
                break;
            }
            // A certificate whose key id differs is taken only if none matches: it is reported as such later.
            let next = rest
                .iter()
                .position(|(other, _)| last.is_issued_by(other) && last.names_key_of(other))
                .or_else(|| rest.iter().position(|(other, _)| last.is_issued_by(other)));
            let Some(next) = next else {
                return Err(last.wrong(
                    "issuer",
                    format!(
                        "is {}, expected the subject of the root or of another certificate of the chain",
                        printable(last.issuer_text())
                    ),
                ));
            };
            let (certificate, der) = rest.remove(next);
            ordered.push(der.clone().into_owned());
            certificates.push(certificate);
        }
        certificates.push(root);
        let validity = common_validity(&certificates)?;
        Ok(Self {
            certificates,
            unused: rest
                .into_iter()
                .map(|(certificate, _)| certificate.place().clone())
                .collect(),
            chain: ordered,
            validity,
        })
    }

    /// The part of time in which every certificate of the path is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate above the authority that expires before the authority itself does, and when; the
    /// earliest of them.
    pub fn earlier_end(&self) -> Option<(&CertificatePlace, OffsetDateTime)> {
        let own = self.own().validity().not_after();
        self.certificates
            .iter()
            .skip(1)
            .map(|certificate| (certificate.place(), certificate.validity().not_after()))
            .filter(|(_, end)| *end < own)
            .min_by_key(|(_, end)| *end)
    }

    /// The name constraints on the path.
    pub(super) fn constraints(&self) -> Vec<Constraints> {
        let certificates = self.certificates.iter();
        certificates
            .filter_map(|certificate| certificate.constraints().cloned())
            .collect()
    }

    pub(super) fn into_chain(self) -> Vec<CertificateDer<'static>> {
        self.chain
    }

    fn own(&self) -> &PathCertificate {
        self.certificates
            .first()
            .expect("a path begins with the authority's own")
    }

    /// Checks that the chain held nothing but the path.
    pub(super) fn has_no_others(&self) -> Result<(), AuthorityError> {
        match self.unused.first() {
            None => Ok(()),
            Some(place) => Err(AuthorityError::Path {
                place: Box::new(place.clone()),
                field: "subject",
                why: "is not on the path from the authority to the root, expected only the certificates between them"
                    .to_owned(),
            }),
        }
    }

    /// Checks every rule by which a TLS client or server could reject what this authority signs, except for
    /// signatures.
    pub(super) fn check(
        &self,
        trust_domain: &TrustDomain,
        now: OffsetDateTime,
    ) -> Result<(), AuthorityError> {
        for (below, certificate) in self.certificates.iter().enumerate() {
            is_valid_at(certificate, now)?;
            certificate.may_sign(below)?;
            names_no_other(certificate, trust_domain)?;
        }
        for pair in self.certificates.windows(2) {
            let [certificate, issuer] = pair else { continue };
            if !certificate.names_key_of(issuer) {
                return Err(certificate.wrong(
                    "authorityKeyIdentifier",
                    format!(
                        "is not the subject key identifier of {}, expected that of its issuer",
                        issuer.place()
                    ),
                ));
            }
            issuer.has_verifiable_key()?;
        }
        Ok(())
    }
}

fn common_validity(certificates: &[PathCertificate]) -> Result<Validity, AuthorityError> {
    let mut common: Option<Validity> = None;
    for certificate in certificates {
        let own = certificate.validity();
        let part = match common {
            None => Some(own),
            Some(below) => below.intersection(own),
        };
        common = Some(part.ok_or_else(|| {
            certificate.wrong(
                "validity",
                format!(
                    "from {} to {} has no second in common with the certificates below it",
                    moment(own.not_before()),
                    moment(own.not_after())
                ),
            )
        })?);
    }
    Ok(common.expect("a path has at least two certificates"))
}

fn is_valid_at(certificate: &PathCertificate, now: OffsetDateTime) -> Result<(), AuthorityError> {
    let validity = certificate.validity();
    if validity.contains(now) {
        return Ok(());
    }
    Err(certificate.wrong(
        "validity",
        format!(
            "is valid from {} to {}, it is now {}",
            moment(validity.not_before()),
            moment(validity.not_after()),
            moment(now)
        ),
    ))
}

/// X509-SVID section 3.2 and 4.1: a signing certificate names no workload, and no trust domain but its own.
fn names_no_other(certificate: &PathCertificate, trust_domain: &TrustDomain) -> Result<(), AuthorityError> {
    let ids = certificate
        .uris()
        .iter()
        .filter_map(|uri| SpiffeId::new(uri).ok());
    for id in ids {
        if !id.path().is_empty() {
            return Err(certificate.wrong(
                "subjectAltName",
                format!("has {id}, expected no SPIFFE ID with a path in a signing certificate"),
            ));
        }
        if id.trust_domain() != *trust_domain {
            return Err(certificate.wrong(
                "subjectAltName",
                format!("has {id}, expected no other trust domain than {trust_domain}"),
            ));
        }
    }
    Ok(())
}
