//! `root-ca inspect`: tells what a file is, in plain words. Private keys are told by their public half.

use std::path::Path;

use identity::{Fingerprint, Leaf, Reason};
use issuance::{AuthorityCsr, CsrError, PublicKey, VerifiedCsr};
use time::OffsetDateTime;

use crate::error::CeremonyError;
use crate::files;
use crate::report::Report;

pub(crate) fn run(path: &Path, now: OffsetDateTime) -> Result<Report, CeremonyError> {
    let contents = files::read(path, files::MAX_BYTES)?;
    let wrong = |why: String| CeremonyError::Content {
        path: path.to_owned(),
        why,
    };
    let refused = |source| CeremonyError::Csr {
        path: path.to_owned(),
        source,
    };
    let Some(label) = pem_label(&contents) else {
        return match Leaf::parse(&contents) {
            Ok(leaf) => Ok(certificate(&leaf, &contents, now)),
            Err(_) => request(&contents).map_err(refused),
        };
    };
    match label {
        "CERTIFICATE" => {
            let blocks = pem::parse_many(contents.as_slice()).map_err(|e| wrong(e.to_string()))?;
            let first = blocks
                .first()
                .ok_or_else(|| wrong("holds no whole PEM block".to_owned()))?;
            let leaf = Leaf::parse(first.contents()).map_err(|e| wrong(e.to_string()))?;
            let report = certificate(&leaf, first.contents(), now);
            Ok(match blocks.len() {
                1 => report,
                n => report.note(format!("{} more in this file are not shown.", n - 1)),
            })
        }
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => request(&contents).map_err(refused),
        "ENCRYPTED PRIVATE KEY" => Ok(Report::new(
            "private key, encrypted: its passphrase is needed to tell more",
        )
        .fact("kind", "kind", "private key")
        .fact("encrypted", "encrypted", true)),
        "PRIVATE KEY" => {
            let text = files::read_text(path, files::MAX_BYTES)?;
            let key = PublicKey::of_authority_key(&text, None)?;
            Ok(
                Report::new("private key, not encrypted: whoever reads the file has it")
                    .fact("kind", "kind", "private key")
                    .fact("encrypted", "encrypted", false)
                    .fact("key type", "keyType", key.key_type().word())
                    .fact("key digest", "keyDigest", key.digest().to_string()),
            )
        }
        other => Err(wrong(format!(
            "is a PEM block {other:?}, expected a certificate, a CSR or a PKCS#8 key"
        ))),
    }
}

/// The label of the first PEM block. A block is parsed only once it is known to hold no secret.
fn pem_label(contents: &[u8]) -> Option<&str> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let at = contents.windows(BEGIN.len()).position(|window| window == BEGIN)?;
    let rest = &contents[at + BEGIN.len()..];
    let end = rest.windows(5).take(64).position(|window| window == b"-----")?;
    std::str::from_utf8(&rest[..end]).ok()
}

fn certificate(leaf: &Leaf, der: &[u8], now: OffsetDateTime) -> Report {
    let what = match (leaf.is_ca(), leaf.svid_id()) {
        (true, _) if leaf.may_sign_svids() => {
            "certificate of an authority, which may sign identities".to_owned()
        }
        (true, _) => "certificate of an authority that may not sign identities".to_owned(),
        (false, Ok(id)) => format!("certificate of {id}"),
        (false, Err(why)) => format!("certificate that is no SPIFFE identity: {why}"),
    };
    let validity = leaf.validity();
    let state = if validity.contains(now) {
        "valid"
    } else if now < validity.not_before() {
        "not yet valid"
    } else {
        "ended"
    };
    let addresses: Vec<String> = leaf.ip_addresses().iter().map(ToString::to_string).collect();
    let hex = |id: Option<&[u8]>| id.map_or_else(|| "none".to_owned(), identity::hex::encode);
    Report::new(what)
        .fact("kind", "kind", "certificate")
        .fact("subject", "subject", leaf.subject())
        .fact("URI names", "uris", leaf.uris())
        .fact("DNS names", "dnsNames", leaf.dns_names())
        .fact("IP addresses", "ipAddresses", addresses)
        .fact("serial", "serial", leaf.serial().to_string())
        .moment("not before", "notBefore", validity.not_before())
        .moment("not after", "notAfter", validity.not_after())
        .fact("now", "state", state)
        .fact("authority", "isAuthority", leaf.is_ca())
        .fact("key digest", "keyDigest", leaf.key_digest().to_string())
        .fact("key id", "subjectKeyId", hex(leaf.subject_key_id()))
        .fact("signed by key id", "authorityKeyId", hex(leaf.authority_key_id()))
        .fact("fingerprint", "fingerprint", Fingerprint::of(der).to_string())
}

/// An authority's request, or a workload's; what neither may ask for is an error that says why.
fn request(input: &[u8]) -> Result<Report, CsrError> {
    let about = |key: &PublicKey, headline: String| {
        Report::new(headline)
            .fact("kind", "kind", "certificate request")
            .fact("key type", "keyType", key.key_type().word())
            .fact("key digest", "keyDigest", key.digest().to_string())
    };
    match AuthorityCsr::parse(input) {
        Ok(csr) => {
            let headline = format!(
                "request for an authority of {}; its signature is good",
                csr.trust_domain()
            );
            Ok(about(csr.public_key(), headline).fact(
                "trust domain",
                "trustDomain",
                csr.trust_domain().as_str(),
            ))
        }
        Err(error) if error.reason() == Reason::CsrSan => {
            let csr = VerifiedCsr::parse(input)?;
            let others: Vec<String> = csr.other_names().iter().map(ToString::to_string).collect();
            let uris: Vec<&str> = csr.uri().iter().map(|id| id.as_str()).collect();
            Ok(about(
                csr.public_key(),
                "request for an identity; its signature is good".to_owned(),
            )
            .fact("URI names", "uris", uris)
            .fact("DNS names", "dnsNames", csr.dns_names())
            .fact("other names", "otherNames", others))
        }
        Err(error) => Err(error),
    }
}
