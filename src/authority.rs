//! `authority`: on the data folder; a running server is told of what was activated, and needs no restart.

use std::path::{Path, PathBuf};

use ca_server::authority::offline::{self, DEFAULT_TRUST_DOMAIN, OfflineError};
use ca_server::config::ServerName;
use clap::Subcommand;
use identity::{Reason, TrustDomain};
use issuance::{AuthorityCsr, AuthorityPath};
use proto::v1;
use proto::v1::authorities_client::AuthoritiesClient;
use proto::v1::certificate_authority_client::CertificateAuthorityClient;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use crate::cli::Global;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::message;
use crate::output::{self, Format, Table};

/// The server presents a certificate under the new root immediately, and clients know only the roots of their
/// bundle.
const NEW_ROOT: &str = "warning: the root is new; clients that are not connected at this time will reject the server, also with join \
                        tokens made before: renew each once with `signet cert renew DIR --bundle FILE`, where FILE holds \
                        what `signet bundle show` prints on the server, and make new tokens";

/// Signing authorities under an off-line root
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a key for an authority, and the CSR that the root signs
    #[command(
        after_help = "Example:\n  signet authority prepare --data DIR --csr-out authority.csr         (on the server)\n  \
        root-ca sign --root root --csr authority.csr --out authority.pem    (on the machine of the root)\n  \
        signet authority activate --data DIR --chain authority.pem --root root.pem"
    )]
    Prepare {
        /// File for the CSR, PEM
        #[arg(long, value_name = "FILE")]
        csr_out: PathBuf,
        /// Trust domain, fixed for this folder the first time [default: example.org]
        #[arg(long, value_name = "NAME")]
        trust_domain: Option<TrustDomain>,
        /// DNS name or IP address of the server, repeatable [default: localhost, 127.0.0.1, ::1, host name]
        #[arg(long = "server-name", value_name = "NAME")]
        server_names: Vec<ServerName>,
    },
    /// Put the chain to work that was signed for the CSR
    #[command(
        after_help = "Example:\n  signet authority activate --data DIR --chain authority.pem --root root.pem\n\n\
        A running server takes it without restart. The authority before it stays trusted until its last leaf has ended.\n\
        Under a new root, clients that are not connected then need its bundle once: cert renew --bundle."
    )]
    Activate {
        /// Certificates, PEM: the authority's own first, then those between it and the root
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// Certificate of the root, PEM
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
    },
    /// List the authorities on record
    #[command(after_help = "Example:\n  signet authority list --data DIR -o wide")]
    List,
}

pub(crate) async fn run(verb: Verb, global: &Global) -> Result<(), Failure> {
    let instance = Instance::locate(global)?;
    match verb {
        Verb::Prepare {
            csr_out,
            trust_domain,
            server_names,
        } => {
            let given = trust_domain.is_some();
            let csr = prepare(&instance, trust_domain, &server_names).await?;
            let pem = identity::bundle::pem("CERTIFICATE REQUEST", &csr);
            runtime::atomic::write(&csr_out, pem.as_bytes(), 0o644).map_err(Failure::internal)?;
            let csr = AuthorityCsr::parse(&csr).map_err(Failure::internal)?;
            if !given && csr.trust_domain().as_str() == DEFAULT_TRUST_DOMAIN {
                output::remark(
                    "no trust domain was given, so it is example.org for the life of this data folder; --trust-domain sets another in a new one",
                );
            }
            prepared(&csr_out, csr.trust_domain(), &instance, global.output)
        }
        Verb::Activate { chain, root } => {
            let (chain, root) = (certificates(&chain)?, one_certificate(&root)?);
            let before = authorities(&instance).await?;
            let authority = activate(&instance, chain, root).await?;
            if replaces_root(&before, &authority.root) {
                output::remark(NEW_ROOT);
            }
            output::remark(
                "warning: whoever else can issue under this root can pose to peers as any identity of the trust domain",
            );
            if let Some(certificate) = first_to_expire(&authority) {
                output::remark(&format!(
                    "warning: {certificate} expires before the authority's own certificate; nothing that the authority signs is \
                     valid longer"
                ));
            }
            let value = message::json("SigningAuthority", &authority);
            let until = message::moment(authority.not_after.as_ref());
            output::show(global.output, &value, || {
                format!("authority {} is active until {until}", authority.key_id)
            })
        }
        Verb::List => list(&instance, global.output).await,
    }
}

async fn prepare(
    instance: &Instance,
    trust_domain: Option<TrustDomain>,
    server_names: &[ServerName],
) -> Result<Vec<u8>, Failure> {
    if !instance.is_served().await {
        return offline::prepare(instance.dir(), trust_domain, server_names)
            .await
            .map_err(failure);
    }
    let mut client = CertificateAuthorityClient::new(instance.connect().await?);
    let bundle = client.get_bundle(v1::GetBundleRequest::default()).await?;
    let served = TrustDomain::new(&bundle.into_inner().trust_domain).map_err(Failure::internal)?;
    if let Some(other) = trust_domain.filter(|other| *other != served) {
        return Err(Failure::new(
            Reason::Conflict,
            format!("the running server is of trust domain {served}, not {other}"),
        ));
    }
    if !server_names.is_empty() {
        return Err(Failure::new(
            Reason::Conflict,
            "a running server has its names; give others at its next start",
        ));
    }
    Ok(offline::prepare_beside(instance.dir(), served)?)
}

fn prepared(
    csr_out: &Path,
    trust_domain: &TrustDomain,
    instance: &Instance,
    format: Format,
) -> Result<(), Failure> {
    let (csr, dir) = (csr_out.display(), instance.dir().display());
    let value = json!({ "csr": csr.to_string(), "trustDomain": trust_domain.as_str() });
    output::show(format, &value, || {
        format!(
            "CSR for an authority of {trust_domain} written to {csr}; its key stays under {dir}/keys\n\
             Have it signed, then: signet authority activate --data {dir} --chain CHAIN --root ROOT"
        )
    })
}

async fn activate(
    instance: &Instance,
    chain: Vec<CertificateDer<'static>>,
    root: CertificateDer<'static>,
) -> Result<v1::SigningAuthority, Failure> {
    if !instance.is_served().await {
        expect_folder(instance)?;
        return offline::activate(instance.dir(), &chain, &root)
            .await
            .map_err(failure);
    }
    let request = v1::ActivateAuthorityRequest {
        chain: chain.iter().map(|der| der.to_vec()).collect(),
        root: root.to_vec(),
    };
    let mut client = AuthoritiesClient::new(instance.connect().await?);
    Ok(client.activate_authority(request).await?.into_inner())
}

/// Whether there was an authority, and none under this root: clients know other roots only.
fn replaces_root(before: &[v1::SigningAuthority], root: &[u8]) -> bool {
    !before.is_empty() && before.iter().all(|authority| authority.root != root)
}

async fn authorities(instance: &Instance) -> Result<Vec<v1::SigningAuthority>, Failure> {
    if !instance.is_served().await {
        expect_folder(instance)?;
        return offline::list(instance.dir()).await.map_err(failure);
    }
    let mut client = AuthoritiesClient::new(instance.connect().await?);
    let listed = client.list_authorities(v1::ListAuthoritiesRequest {}).await?;
    Ok(listed.into_inner().authorities)
}

async fn list(instance: &Instance, format: Format) -> Result<(), Failure> {
    let authorities = authorities(instance).await?;
    let items = authorities
        .iter()
        .map(|authority| message::json("SigningAuthority", authority));
    output::show(format, &output::items(items), || {
        table(&authorities, format == Format::Wide)
    })
}

/// The certificate above an authority that expires before its own, with its place in the chain.
pub(crate) fn first_to_expire(authority: &v1::SigningAuthority) -> Option<String> {
    let chain: Vec<CertificateDer<'_>> = authority.chain.iter().map(|der| der.as_slice().into()).collect();
    let path = AuthorityPath::read(&chain, &authority.root.as_slice().into()).ok()?;
    path.earlier_end().map(|(certificate, _)| certificate.to_string())
}

/// Only `prepare` makes a folder.
pub(crate) fn expect_folder(instance: &Instance) -> Result<(), Failure> {
    let dir = instance.dir();
    if dir.is_dir() {
        return Ok(());
    }
    let message = format!("no data folder at {} ({instance})", dir.display());
    Err(Failure::new(Reason::NotFound, message).hint("name it with --data"))
}

fn table(authorities: &[v1::SigningAuthority], wide: bool) -> String {
    let more = ["NOT BEFORE", "REPLACED", "LAST LEAF ENDS"]
        .into_iter()
        .filter(|_| wide);
    let mut table = Table::new(["KEY ID", "STATE", "NOT AFTER", "AGE"].into_iter().chain(more));
    for authority in authorities {
        let cells = [
            authority.key_id.clone(),
            authority.state().as_str_name().to_lowercase(),
            message::moment(authority.not_after.as_ref()),
            message::age(authority.activated_at.as_ref()),
        ];
        let more = [
            &authority.not_before,
            &authority.replaced_at,
            &authority.last_leaf_ends,
        ];
        let more = more
            .into_iter()
            .filter(|_| wide)
            .map(|at| message::moment(at.as_ref()));
        table.row(cells.into_iter().chain(more));
    }
    table.text()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = std::fs::read(path).map_err(|e| Failure::file("read", path, &e))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|e| Failure::content(path, format!("{e}, expected PEM certificates")))?;
    if chain.is_empty() {
        return Err(Failure::content(
            path,
            "holds no certificate, expected PEM certificates",
        ));
    }
    Ok(chain)
}

fn one_certificate(path: &Path) -> Result<CertificateDer<'static>, Failure> {
    let mut found = certificates(path)?;
    match found.len() {
        1 => Ok(found.remove(0)),
        n => Err(Failure::content(
            path,
            format!("holds {n} certificates, expected the root alone"),
        )),
    }
}

pub(crate) fn failure(error: OfflineError) -> Failure {
    match error {
        OfflineError::Refused(refusal) => refusal.into(),
        OfflineError::NoJournal(_) => Failure::new(Reason::NotFound, error).hint("name it with --data"),
        OfflineError::Folder(error) => Failure::new(Reason::Conflict, error),
        OfflineError::Store(error) => Failure::new(Reason::StoreUnavailable, error),
    }
}
