//! `root-ca inspect`: tells what a file is, in plain words. Private keys are told by their public half.

use std::path::Path;

use identity::Facts;
use issuance::{PublicKey, request_facts};
use time::OffsetDateTime;

use crate::error::CeremonyError;
use crate::files;

pub(crate) fn run(path: &Path, now: OffsetDateTime) -> Result<Facts, CeremonyError> {
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
        return Facts::of_certificate(&contents, now).or_else(|_| request_facts(&contents).map_err(refused));
    };
    match label {
        "CERTIFICATE" => {
            let blocks = pem::parse_many(contents.as_slice()).map_err(|e| wrong(e.to_string()))?;
            let first = blocks
                .first()
                .ok_or_else(|| wrong("holds no whole PEM block".to_owned()))?;
            let report = Facts::of_certificate(first.contents(), now).map_err(|e| wrong(e.to_string()))?;
            Ok(match blocks.len() {
                1 => report,
                n => report.note(format!("{} more in this file are not shown.", n - 1)),
            })
        }
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => request_facts(&contents).map_err(refused),
        "ENCRYPTED PRIVATE KEY" => Ok(Facts::new(
            "private key, encrypted: its passphrase is needed to tell more",
        )
        .fact("kind", "kind", "privateKey")
        .fact("encrypted", "encrypted", true)),
        "PRIVATE KEY" => {
            let text = files::read_text(path, files::MAX_BYTES)?;
            let key = PublicKey::of_authority_key(&text, None)?;
            Ok(
                Facts::new("private key, not encrypted: whoever reads the file has it")
                    .fact("kind", "kind", "privateKey")
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
