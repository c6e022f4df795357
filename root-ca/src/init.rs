//! `root-ca init`: a key, a self-signed certificate, and the fingerprint by which others recognise it.

use identity::bundle::certificate_pem;
use identity::{Facts, Fingerprint};
use issuance::RootAuthority;
use time::OffsetDateTime;

use crate::cli::InitArguments;
use crate::error::CeremonyError;
use crate::files::{self, Readers};

/// File of the root's certificate in its folder.
pub(crate) const CERTIFICATE: &str = "root.pem";
/// File of the root's private key in its folder.
pub(crate) const KEY: &str = "root-key.pem";

pub(crate) fn run(arguments: &InitArguments, now: OffsetDateTime) -> Result<Facts, CeremonyError> {
    let (certificate, key) = (arguments.out.join(CERTIFICATE), arguments.out.join(KEY));
    files::must_not_exist(&certificate)?;
    files::must_not_exist(&key)?;
    let passphrase = files::passphrase(arguments.passphrase_file.as_ref())?;
    let passphrase = passphrase.as_ref().map(|p| p.as_str());

    let root = RootAuthority::create(arguments.trust_domain.clone(), arguments.life, arguments.key, now)?;
    let key_pem = root.to_pkcs8_pem(passphrase)?;
    files::make_folder(&arguments.out)?;
    // The key first: a certificate without its key is worth nothing, and says nothing of it.
    files::write_new(&key, key_pem.as_bytes(), Readers::Owner)?;
    let pem = certificate_pem(root.certificate());
    files::write_new(&certificate, pem.as_bytes(), Readers::Everybody)?;

    let report = Facts::new(format!("root of {} made", root.trust_domain()))
        .fact("trust domain", "trustDomain", root.trust_domain().as_str())
        .fact(
            "fingerprint",
            "fingerprint",
            Fingerprint::of(root.certificate()).to_string(),
        )
        .fact("certificate", "certificate", certificate.display().to_string())
        .fact("private key", "key", key.display().to_string())
        .fact("encrypted", "encrypted", passphrase.is_some())
        .fact("key type", "keyType", root.public_key().key_type().word())
        .moment("not before", "notBefore", root.validity().not_before())
        .moment("not after", "notAfter", root.validity().not_after());
    let report = if passphrase.is_some() {
        report
    } else {
        report.note("The private key is NOT encrypted: keep it on a medium that you can lock away, or use --passphrase-file.")
    };
    Ok(report.note(format!(
        "Next: root-ca sign --root {} --csr FILE --out FILE",
        arguments.out.display()
    )))
}
