//! Trust bundles between the wire and `identity`.

use std::time::Duration;

use identity::bundle::BundleError;
use identity::{SpiffeIdError, TrustBundle, TrustDomain};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::v1;

/// How soon a subscriber without a stream should ask again (SPIFFE Trust Domain and Bundle, section 4.1.2).
const REFRESH_HINT: Duration = Duration::from_secs(300);

/// A bundle message that cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleMessageError {
    /// Field `trust_domain`.
    #[error("field trust_domain: {0}")]
    TrustDomain(#[from] SpiffeIdError),
    /// Field `x509_authorities`.
    #[error("field x509_authorities: {0}")]
    Authorities(#[from] BundleError),
}

/// Reads a bundle off the wire; every root must be able to serve as a trust anchor.
pub fn bundle_from_message(message: v1::TrustBundle) -> Result<TrustBundle, BundleMessageError> {
    let v1::TrustBundle {
        trust_domain,
        x509_authorities,
        crls,
        sequence,
        refresh_hint: _,
        jwt_keys: _,
    } = message;
    let roots = x509_authorities.into_iter().map(CertificateDer::from).collect();
    let crls = crls.into_iter().map(CertificateRevocationListDer::from).collect();
    Ok(TrustBundle::new(TrustDomain::new(&trust_domain)?, roots)?
        .with_crls(crls)
        .with_sequence(sequence))
}

/// Writes a bundle for the wire.
pub fn bundle_to_message(bundle: &TrustBundle) -> v1::TrustBundle {
    v1::TrustBundle {
        trust_domain: bundle.trust_domain().as_str().to_owned(),
        x509_authorities: bundle.roots().iter().map(|root| root.to_vec()).collect(),
        crls: bundle.crls().iter().map(|crl| crl.to_vec()).collect(),
        sequence: bundle.sequence(),
        refresh_hint: Some(crate::duration_to_message(REFRESH_HINT)),
        jwt_keys: Vec::new(),
    }
}
