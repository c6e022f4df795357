//! What a request asks for, in plain words: an authority's, or a workload's. What neither may ask for is an error that says why.

use identity::Facts;

use super::{AuthorityCsr, CsrError, PublicKey, VerifiedCsr};

/// The facts of a PKCS#10 request, PEM or DER.
///
/// # Errors
/// Why the CA would refuse it.
pub fn request_facts(input: &[u8]) -> Result<Facts, CsrError> {
    let about = |key: &PublicKey, headline: String| {
        Facts::new(headline)
            .fact("kind", "kind", "certificateRequest")
            .fact("key type", "keyType", key.key_type().word())
            .fact("key digest", "keyDigest", key.digest().to_string())
    };
    if let Ok(csr) = AuthorityCsr::parse(input) {
        let td = csr.trust_domain();
        let headline = format!("request for an authority of {td}; its signature is good");
        return Ok(about(csr.public_key(), headline).fact("trust domain", "trustDomain", td.as_str()));
    }
    let csr = VerifiedCsr::parse(input)?;
    let uris: Vec<&str> = csr.uri().iter().map(|id| id.as_str()).collect();
    let others: Vec<String> = csr.other_names().iter().map(ToString::to_string).collect();
    let headline = "request for an identity; its signature is good".to_owned();
    Ok(about(csr.public_key(), headline)
        .fact("URI names", "uris", uris)
        .fact("DNS names", "dnsNames", csr.dns_names())
        .fact("other names", "otherNames", others))
}
