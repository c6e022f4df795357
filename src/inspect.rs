//! `inspect FILE`: what a certificate, chain, bundle, CSR, join token, key or CRL is, in plain words. A private key is told by its
//! public half, a token without its secret.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use client_lib::PrivateKey;
use identity::{Clock as _, Facts, JoinToken, Reason, SystemClock, hex};
use issuance::{CsrError, request_facts};
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};
use zeroize::Zeroizing;

use crate::cli::Global;
use crate::failure::{Failure, Place};
use crate::output::{self, moment};

pub(crate) const EXAMPLE: &str =
    "Examples:\n  signet inspect web/svid.pem\n  signet inspect web.token -o json";
/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// Most PEM blocks that are told.
const MAX_BLOCKS: usize = 64;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// PEM with any number of blocks, a certificate, CSR or CRL in DER, or a join token
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let path = &arguments.file;
    if path.is_dir() {
        let why = "is a folder, expected a file in it, such as svid.pem";
        return Err(Failure::content(path, why));
    }
    let contents = read(path).map_err(|e| Failure::file("read", path, &e))?;
    let found = inspect(&contents, SystemClock.now())
        .map_err(|why| Failure::content(path, why).at(Place::of_file(path)))?;
    let value = match found.as_slice() {
        [only] => only.value(),
        several => output::items(several.iter().map(Facts::value)),
    };
    output::show(global.output, &value, || {
        found.iter().map(Facts::text).collect::<Vec<_>>().join("\n\n")
    })
}

fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut contents = Zeroizing::new(Vec::new());
    let bytes = std::fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut contents)?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > MAX_BYTES) {
        return Err(std::io::Error::other(format!("longer than {MAX_BYTES} bytes")));
    }
    Ok(contents)
}

fn inspect(contents: &[u8], now: OffsetDateTime) -> Result<Vec<Facts>, String> {
    if let Ok(text) = std::str::from_utf8(contents)
        && text.trim_start().starts_with(JoinToken::PREFIX)
    {
        return Ok(vec![token(text)?]);
    }
    if !contains(contents, b"-----BEGIN ") {
        return Ok(vec![der(contents, now)?]);
    }
    let blocks = pem::parse_many(contents).map_err(|e| e.to_string())?;
    if blocks.len() > MAX_BLOCKS {
        return Err(format!(
            "{} PEM blocks, expected at most {MAX_BLOCKS}",
            blocks.len()
        ));
    }
    blocks.into_iter().map(|block| one_block(&block, now)).collect()
}

fn contains(contents: &[u8], part: &[u8]) -> bool {
    contents.windows(part.len()).any(|window| window == part)
}

fn one_block(block: &pem::Pem, now: OffsetDateTime) -> Result<Facts, String> {
    let der = block.contents();
    match block.tag() {
        "CERTIFICATE" => Facts::of_certificate(der, now).map_err(|e| e.to_string()),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => request(der),
        "X509 CRL" => crl(der, now),
        "PRIVATE KEY" => {
            let key = PrivateKey::from_pkcs8(Zeroizing::new(der.to_vec())).map_err(|e| e.to_string())?;
            Ok(
                Facts::new("private key, not encrypted: whoever reads the file has it")
                    .fact("kind", "kind", "privateKey")
                    .fact("encrypted", "encrypted", false)
                    .fact("key digest", "keyDigest", key.digest().to_string()),
            )
        }
        "ENCRYPTED PRIVATE KEY" => Ok(Facts::new(
            "private key, encrypted: its passphrase is needed to tell more",
        )
        .fact("kind", "kind", "privateKey")
        .fact("encrypted", "encrypted", true)),
        other => Err(format!(
            "is a PEM block {other:?}, expected a certificate, a CSR, a CRL or a PKCS#8 key"
        )),
    }
}

/// DER does not say what it is: the parsers are asked in turn.
fn der(contents: &[u8], now: OffsetDateTime) -> Result<Facts, String> {
    Facts::of_certificate(contents, now)
        .or_else(|_| crl(contents, now))
        .or_else(|_| {
            request_facts(contents).map_err(|e| match e.reason() {
                Reason::CsrMalformed => {
                    "is neither PEM, a join token, nor a certificate, CRL or CSR in DER".to_owned()
                }
                _ => would_refuse(&e),
            })
        })
}

fn request(der: &[u8]) -> Result<Facts, String> {
    request_facts(der).map_err(|e| would_refuse(&e))
}

fn would_refuse(error: &CsrError) -> String {
    format!("the CA would refuse it: {}: {error}", error.reason())
}

fn crl(der: &[u8], now: OffsetDateTime) -> Result<Facts, String> {
    let (rest, crl) = CertificateRevocationList::from_der(der).map_err(|e| e.to_string())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the CRL", rest.len()));
    }
    let next = crl.next_update().map(|at| at.to_datetime());
    let state = match next {
        Some(next) if next < now => "stale",
        Some(_) => "fresh",
        None => "without end",
    };
    let revoked: Vec<String> = crl
        .iter_revoked_certificates()
        .map(|one| hex::encode(one.raw_serial()))
        .collect();
    let number = crl.crl_number().map(ToString::to_string);
    Ok(
        Facts::new(format!("list of {} revoked certificates", revoked.len()))
            .fact("kind", "kind", "crl")
            .fact("issuer", "issuer", crl.issuer().to_string())
            .fact("number", "number", number.unwrap_or_default())
            .fact("made", "thisUpdate", moment(crl.last_update().to_datetime()))
            .fact("next", "nextUpdate", next.map(moment).unwrap_or_default())
            .fact("now", "state", state)
            .fact("revoked", "revoked", revoked),
    )
}

fn token(text: &str) -> Result<Facts, String> {
    let token = JoinToken::parse(text).map_err(|e| e.to_string())?;
    Ok(
        Facts::new("join token: whoever holds it can enrol once; its secret is not shown")
            .fact("kind", "kind", "joinToken")
            .fact("id", "id", token.id())
            .fact("server", "server", token.server())
            .fact("trust domain", "trustDomain", token.trust_domain().as_str())
            .fact("root", "fingerprint", token.fingerprint().to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use client_lib::KeyType;
    use identity::{Fingerprint, SpiffeId, TrustDomain};
    use serde_json::Value;

    fn only(contents: &[u8]) -> Value {
        let found = inspect(contents, OffsetDateTime::now_utc()).unwrap();
        assert_eq!(found.len(), 1);
        found[0].value()
    }

    #[test]
    fn a_token_and_a_key_are_told_without_their_secrets() {
        let secret = Zeroizing::new("s3cret".to_owned());
        let td = TrustDomain::new("td").unwrap();
        let token = JoinToken::new("id7", secret, "ca.example:15012", Fingerprint::of(b"root"), td).unwrap();
        let facts = only(token.text().as_bytes());
        assert_eq!(
            (&facts["kind"], &facts["id"]),
            (&"joinToken".into(), &"id7".into())
        );
        assert!(!facts.to_string().contains("s3cret"));

        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let facts = only(key.to_pem().as_bytes());
        assert_eq!(facts["keyDigest"], key.digest().to_string());
        assert_eq!(facts["encrypted"], false);
    }

    #[test]
    fn a_request_is_told_in_pem_and_in_der() {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let id = SpiffeId::new("spiffe://td/web").unwrap();
        let csr = key.request(Some(&id), &["web.example".to_owned()]).unwrap();
        for contents in [
            csr.to_vec(),
            identity::bundle::pem("CERTIFICATE REQUEST", &csr).into_bytes(),
        ] {
            let facts = only(&contents);
            assert_eq!(facts["kind"], "certificateRequest");
            assert_eq!(facts["uris"][0], "spiffe://td/web");
            assert_eq!(facts["dnsNames"][0], "web.example");
        }
    }

    #[test]
    fn what_is_nothing_known_is_an_error() {
        for contents in [
            b"".as_slice(),
            b"hello",
            b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n",
        ] {
            assert!(inspect(contents, OffsetDateTime::now_utc()).is_err());
        }
        let why = inspect(b"hello", OffsetDateTime::now_utc()).err().unwrap();
        assert!(!why.contains("refuse"), "nothing says that it is a CSR: {why}");
    }
}
