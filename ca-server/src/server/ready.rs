//! The facts of `ready.json`, and keeping the file true.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use identity::Fingerprint;
use runtime::ready::ReadyFile;
use serde::Serialize;
use tokio::sync::watch;

/// Pause after the file could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// Where the parts of a running server are; what does not run is absent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Version of the program.
    pub version: &'static str,
    /// Process id: an old file after a kill names another.
    pub pid: u32,
    /// Whether it has a certificate to present: it waits for an authority, or for the time.
    #[serde(skip)]
    pub has_certificate: bool,
    /// The trust domain.
    pub trust_domain: String,
    /// The namespace of the mesh's own policies.
    pub root_namespace: String,
    /// SHA-256 of the root's DER, hex; absent while there is no authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// gRPC over TLS.
    pub grpc: SocketAddr,
    /// CRLs, authority certificates and roots over plain HTTP.
    pub crl: SocketAddr,
    /// Metrics and probes.
    pub metrics: SocketAddr,
    /// The administrators' socket.
    pub admin_socket: PathBuf,
    /// The roots of the trust domain, PEM.
    pub bundle: PathBuf,
}

/// Writes the file anew whenever an authority under another root is put to work, until it is dropped.
pub(super) async fn keep(file: &ReadyFile, mut facts: Ready, mut root: watch::Receiver<Option<Fingerprint>>) {
    loop {
        let fingerprint = root.borrow_and_update().map(|root| root.to_string());
        if fingerprint != facts.fingerprint {
            facts.fingerprint = fingerprint;
            while let Err(e) = file.rewrite(&facts) {
                tracing::error!("cannot tell the fingerprint of the new root, trying again: {e}");
                tokio::time::sleep(RETRY).await;
            }
        }
        if root.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
