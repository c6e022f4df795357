//! `root-ca sign`: shows what the root would sign, asks, and signs an authority.

use std::path::Path;

use identity::Facts;
use identity::bundle::certificate_pem;
use issuance::{AuthorityCsr, Profile, ProfileName, RootAuthority};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;

use crate::cli::SignArguments;
use crate::console::Console;
use crate::error::CeremonyError;
use crate::files::{self, Readers};
use crate::init::{CERTIFICATE, KEY};

pub(crate) fn run(
    arguments: &SignArguments,
    console: &mut Console<'_>,
    now: OffsetDateTime,
) -> Result<Facts, CeremonyError> {
    files::must_not_exist(&arguments.out)?;
    let request = files::read(&arguments.csr, files::MAX_BYTES)?;
    let csr = AuthorityCsr::parse(&request).map_err(|source| CeremonyError::Csr {
        path: arguments.csr.clone(),
        source,
    })?;
    let root = read_root(arguments)?;

    let default = Profile::default_of(ProfileName::Intermediate).default_life();
    let profile = Profile::new(
        ProfileName::Intermediate,
        default.min(arguments.max_life),
        arguments.max_life,
    )?;
    let (validity, clipped) = root.intermediate_validity(&csr, &profile, arguments.life, now)?;
    let key = csr.public_key();
    let mut about =
        Facts::new("about to sign an authority, which may issue every identity of its trust domain:")
            .fact("trust domain", "trustDomain", csr.trust_domain().as_str())
            .fact("key type", "keyType", key.key_type().word())
            .fact("key digest", "keyDigest", key.digest().to_string())
            .fact("life", "life", identity::duration::print(arguments.life))
            .moment("not before", "notBefore", validity.not_before())
            .moment("not after", "notAfter", validity.not_after());
    if clipped {
        about = about.note("The root ends before that life would: it is clipped to the root's end.");
    }
    if !arguments.yes {
        match console.ask(&about.text(), "sign it?")? {
            None => return Err(CeremonyError::NobodyThere),
            Some(false) => return Err(CeremonyError::Declined),
            Some(true) => {}
        }
    }

    let issued = root.sign_intermediate(&csr, &profile, arguments.life, now)?;
    files::write_new(
        &arguments.out,
        certificate_pem(&issued.der).as_bytes(),
        Readers::Everybody,
    )?;
    let report = Facts::new(format!("authority of {} signed", root.trust_domain()))
        .fact("trust domain", "trustDomain", root.trust_domain().as_str())
        .fact("serial", "serial", issued.serial.to_string())
        .fact("key type", "keyType", key.key_type().word())
        .fact("key digest", "keyDigest", issued.key_digest.to_string())
        .moment("not before", "notBefore", issued.validity.not_before())
        .moment("not after", "notAfter", issued.validity.not_after())
        .fact("life clipped", "lifeClipped", issued.life_clipped)
        .fact("chain", "chain", arguments.out.display().to_string());
    Ok(report.note(format!(
        "Next, on the server: signet authority activate --data DIR --chain {} --root {CERTIFICATE}",
        arguments.out.display()
    )))
}

fn read_root(arguments: &SignArguments) -> Result<RootAuthority, CeremonyError> {
    let path = arguments.root.join(CERTIFICATE);
    let certificate = read_certificate(&path)?;
    let key = files::read_text(&arguments.root.join(KEY), files::MAX_BYTES)?;
    let passphrase = files::passphrase(arguments.passphrase_file.as_ref())?;
    Ok(RootAuthority::from_parts(
        &key,
        passphrase.as_ref().map(|p| p.as_str()),
        certificate,
    )?)
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, CeremonyError> {
    let pem = files::read(path, files::MAX_BYTES)?;
    CertificateDer::from_pem_slice(&pem).map_err(|e| CeremonyError::Content {
        path: path.to_owned(),
        why: format!("no certificate can be read: {e}, expected one in PEM"),
    })
}
