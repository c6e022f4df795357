//! `cert issue`: a first certificate for a proof, written as a certificate folder.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use client_lib::boot_time::Reading;
use client_lib::folder::FolderError;
use client_lib::renewal::Receipt;
use client_lib::{Ca, CaServer, Folder, KeyType, Proof, Stored, Wish};
use identity::{Fingerprint, JoinToken, Leaf, PeerVerifier, Reason, SpiffeId, TrustDomain, Usage};
use issuance::VerifiedCsr;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::Global;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::output::{self, Format};

pub(super) const EXAMPLE: &str = "Example:\n  \
    signet token create --spiffe-id spiffe://example.org/ns/default/sa/web --out web.token\n  \
    signet cert issue --token-file web.token --out web\n\n\
    web/ then holds svid.pem, svid_key.pem, bundle.pem and source.json. A token names the server;\n\
    with other proofs it is that of --data, or of --server, --fingerprint and --trust-domain.";
/// Longest token that is read from standard input.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("proof").args(["token_file", "token", "jwt_file", "certificate"]))]
pub(crate) struct Arguments {
    /// Folder for the certificate; a symbolic link, swapped at each renewal
    #[arg(long, value_name = "D")]
    out: PathBuf,
    /// Proof: the join token in this file, - for standard input; without any proof SIGNET_TOKEN is read
    #[arg(long, value_name = "FILE", help_heading = "Proof")]
    token_file: Option<PathBuf>,
    /// Proof: a join token; others on this machine can see it in `ps`
    #[arg(long, value_name = "TOKEN", help_heading = "Proof")]
    token: Option<Secret>,
    /// Proof: the JWT in this file
    #[arg(long, value_name = "FILE", help_heading = "Proof")]
    jwt_file: Option<PathBuf>,
    /// Proof: a certificate of this CA, or of a factory that it knows (PEM, leaf first); with --key
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "Proof")]
    certificate: Option<PathBuf>,
    /// Its private key (PKCS#8 PEM)
    #[arg(long, value_name = "FILE", requires = "certificate", help_heading = "Proof")]
    key: Option<PathBuf>,
    /// Identity; needed only where several are granted
    #[arg(long, value_name = "ID", help_heading = "Wishes")]
    spiffe_id: Option<SpiffeId>,
    /// DNS name, repeatable [default: all that the registration grants]
    #[arg(
        long = "dns",
        value_name = "NAME",
        conflicts_with = "csr",
        help_heading = "Wishes"
    )]
    dns_names: Vec<String>,
    /// How long it should count [default: the registration's]
    #[arg(long, value_name = "DURATION", value_parser = identity::duration::parse, help_heading = "Wishes")]
    life: Option<Duration>,
    /// Sign this CSR (PEM or DER) instead of making a key; no key is written
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "key_type",
        help_heading = "Wishes"
    )]
    csr: Option<PathBuf>,
    /// Kind of key: p256, p384, ed25519 or rsa2048
    #[arg(long, value_name = "KIND", default_value = "p256", help_heading = "Wishes")]
    key_type: KeyType,
    /// Address of the CA
    #[arg(long, value_name = "HOST:PORT", help_heading = "Server")]
    server: Option<String>,
    /// SHA-256 of the CA's root, where neither a token nor --data tells it
    #[arg(long, value_name = "SHA256", requires_all = ["server", "trust_domain"], help_heading = "Server")]
    fingerprint: Option<Fingerprint>,
    /// Trust domain of the CA, with --fingerprint
    #[arg(long, value_name = "NAME", requires = "fingerprint", help_heading = "Server")]
    trust_domain: Option<TrustDomain>,
}

/// A token on the command line; it stands in no `Debug`.
#[derive(Clone)]
struct Secret(Zeroizing<String>);

pub(super) async fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let proof = arguments.proof()?;
    let mut ca = Ca::new(arguments.ca(&proof, global)?);
    let folder = Folder::new(&arguments.out)?;
    refuse_strangers(&arguments.out)?;
    let wish = Wish {
        spiffe_id: arguments.spiffe_id.clone(),
        dns_names: arguments.dns_names.clone(),
        life: arguments.life,
    };
    let (request, pending) = match &arguments.csr {
        Some(path) => (read_csr(path)?, None),
        // The key is on disk before the proof is used: a folder that cannot be written costs no token.
        None => {
            let pending = folder.next_key(arguments.key_type, &[])?;
            let request = pending.key.request(wish.spiffe_id.as_ref(), &wish.dns_names)?;
            (request.to_vec(), Some(pending))
        }
    };
    let issued = ca
        .issue(&proof, &request, &wish)
        .await
        .inspect_err(|error| forget(&folder, error.reason()))?;
    let age = pending.as_ref().map(|pending| pending.age).unwrap_or_default();
    let receipt = issued.receipt(age, None)?;
    let leaf = judge(&issued, &request, &receipt)?;
    folder.write(&Stored {
        chain: issued.chain,
        key: pending.map(|pending| pending.key),
        bundle: issued.bundle,
        server: ca.server().clone(),
        life: arguments.life,
        proof: proof.fingerprint().ok(),
        receipt: Some(receipt.clone()),
    })?;
    warn_of_clock(&receipt, &leaf);
    if issued.life_clipped {
        output::remark(
            "warning: the life was cut, because the signing authority ends before the life that was asked for",
        );
    }
    report(&leaf, &arguments, global.output)
}

/// A key that will never be accepted is not tried again.
pub(super) fn forget(folder: &Folder, reason: Reason) {
    if reason.is_about_the_key()
        && let Err(error) = folder.forget_pending()
    {
        output::remark(&format!("warning: {error}"));
    }
}

/// What is there and not ours is found before a token is spent, not when the certificate is to be written.
fn refuse_strangers(out: &Path) -> Result<(), Failure> {
    let is_free = match std::fs::symlink_metadata(out) {
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        Ok(found) if found.is_dir() => std::fs::read_dir(out).is_ok_and(|mut inside| inside.next().is_none()),
        Ok(found) => found.is_symlink(),
    };
    if is_free {
        return Ok(());
    }
    Err(FolderError::NotOurs { path: out.to_owned() }.into())
}

/// A wrong clock does not cost the certificate, but peers and programs on this machine may refuse it.
pub(super) fn warn_of_clock(receipt: &Receipt, leaf: &Leaf) {
    if let Some(skew) = receipt.clock_skew(leaf.validity(), &Reading::now()) {
        output::remark(&format!("warning: {skew}"));
    }
}

/// Verifies the answer as peers will, at the time of the CA, and that it is for the key that was sent.
fn judge(issued: &client_lib::Issued, request: &[u8], receipt: &Receipt) -> Result<Leaf, Failure> {
    let peer = PeerVerifier::new(&issued.bundle)
        .verify(&issued.chain, Usage::Client, receipt.ca_time())
        .map_err(|e| Failure::new(e.reason(), format!("certificate from the CA is not used: {e}")))?;
    let expected = VerifiedCsr::parse(request)
        .map_err(|e| Failure::new(e.reason(), e))?
        .key_digest();
    if peer.leaf.key_digest() != expected {
        let found = peer.leaf.key_digest();
        let message =
            format!("certificate from the CA is for the key {found}, expected {expected}; it is not used");
        return Err(Failure::new(Reason::CertificateNotSvid, message));
    }
    Ok(peer.leaf)
}

fn read_csr(path: &Path) -> Result<Vec<u8>, Failure> {
    let text = std::fs::read(path).map_err(|e| Failure::file("read", path, &e))?;
    VerifiedCsr::parse(&text).map_err(|e| {
        let place = crate::failure::Place::of_file(path);
        Failure::new(e.reason(), format!("{}: {e}", path.display())).at(place)
    })?;
    Ok(text)
}

fn report(leaf: &Leaf, arguments: &Arguments, format: Format) -> Result<(), Failure> {
    let validity = leaf.validity();
    let id = leaf.uris().first().cloned().unwrap_or_default();
    let until = output::moment(validity.not_after());
    let folder = arguments.out.display();
    let value = json!({
        "spiffeId": id,
        "serial": leaf.serial().to_string(),
        "dnsNames": leaf.dns_names(),
        "notBefore": output::moment(validity.not_before()),
        "notAfter": until,
        "folder": folder.to_string(),
    });
    output::show(format, &value, || {
        format!("{id} until {until}, serial {}, in {folder}", leaf.serial())
    })
}

impl Arguments {
    fn proof(&self) -> Result<Proof, Failure> {
        if let Some(path) = &self.token_file {
            return if path.as_os_str() == "-" {
                token_of_stdin()
            } else {
                Ok(Proof::token_file(path)?)
            };
        }
        if let Some(text) = &self.token {
            output::remark(
                "warning: --token shows the token to everybody who runs `ps`; --token-file and SIGNET_TOKEN do not",
            );
            return token_of(&text.0);
        }
        if let Some(path) = &self.jwt_file {
            return Ok(Proof::jwt_file(path));
        }
        if let (Some(chain), Some(key)) = (&self.certificate, &self.key) {
            return Ok(Proof::certificate_files(chain, key));
        }
        match std::env::var("SIGNET_TOKEN") {
            Ok(text) if !text.trim().is_empty() => token_of(&Zeroizing::new(text)),
            _ => Err(Failure::usage(
                "no proof is given, expected one of --token-file, --jwt-file, --certificate with --key, or SIGNET_TOKEN",
            )),
        }
    }

    /// The CA that was named, else that of the token, else that of the data folder.
    fn ca(&self, proof: &Proof, global: &Global) -> Result<CaServer, Failure> {
        let (known, fingerprint, trust_domain) = match (&self.fingerprint, &self.trust_domain, proof.server())
        {
            (Some(fingerprint), Some(trust_domain), _) => (None, *fingerprint, trust_domain.clone()),
            (_, _, Some(server)) => (
                Some(server.address().to_owned()),
                server.fingerprint(),
                server.trust_domain().clone(),
            ),
            _ => of_instance(global)?,
        };
        let address = self
            .server
            .clone()
            .or(known)
            .expect("--fingerprint requires --server");
        CaServer::new(address, fingerprint, trust_domain).map_err(Failure::usage)
    }
}

fn of_instance(global: &Global) -> Result<(Option<String>, Fingerprint, TrustDomain), Failure> {
    let instance = Instance::locate(global)?;
    let ready = instance.ready().map_err(|e| {
        e.hint("this proof does not name the CA: give --data of a server on this machine, or --server, --fingerprint and --trust-domain")
    })?;
    let wrong = |e: &dyn std::fmt::Display| Failure::internal(format!("ready.json: {e}"));
    let fingerprint = match ready.fingerprint {
        Some(fingerprint) => fingerprint.parse().map_err(|e| wrong(&e))?,
        // The authority came after the start.
        None => first_root(&instance.dir().join("bundle.pem"))?,
    };
    Ok((
        Some(reachable(&ready.grpc)),
        fingerprint,
        TrustDomain::new(&ready.trust_domain).map_err(|e| wrong(&e))?,
    ))
}

fn first_root(bundle: &Path) -> Result<Fingerprint, Failure> {
    let text = std::fs::read(bundle).map_err(|e| Failure::file("read", bundle, &e))?;
    let root = CertificateDer::from_pem_slice(&text)
        .map_err(|_| Failure::new(Reason::NotReady, "the server has no signing authority yet"))?;
    Ok(Fingerprint::of(&root))
}

/// What listens on all addresses is reached by the name that every server has.
fn reachable(address: &str) -> String {
    match address.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => format!("localhost:{}", address.port()),
        _ => address.to_owned(),
    }
}

fn token_of(text: &str) -> Result<Proof, Failure> {
    let token = JoinToken::parse(text).map_err(|e| Failure::new(Reason::TokenInvalid, e))?;
    Ok(Proof::token(token))
}

fn token_of_stdin() -> Result<Proof, Failure> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| Failure::internal(format!("cannot read standard input: {e}")))?;
    token_of(&text)
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_refused_before_anything_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("empty")).unwrap();
        std::fs::create_dir(path("full")).unwrap();
        std::fs::write(path("full/file"), "").unwrap();
        std::os::unix::fs::symlink("full", path("link")).unwrap();
        for free in ["absent", "empty", "link"] {
            refuse_strangers(&path(free)).unwrap();
        }
        for taken in ["full", "full/file"] {
            assert_eq!(
                refuse_strangers(&path(taken)).unwrap_err().reason(),
                Reason::Conflict,
                "{taken}"
            );
        }
    }

    #[test]
    fn a_token_stands_in_no_debug() {
        let secret: Secret = "sgt1.abc".parse().unwrap();
        assert!(!format!("{secret:?}").contains("abc"));
    }

    #[test]
    fn a_server_on_all_addresses_is_reached_by_localhost() {
        assert_eq!(reachable("[::]:15012"), "localhost:15012");
        assert_eq!(reachable("0.0.0.0:1"), "localhost:1");
        assert_eq!(reachable("127.0.0.1:15012"), "127.0.0.1:15012");
    }
}
