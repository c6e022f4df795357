//! The facts of `ready.json`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

/// Where the parts of a running server are; what does not run is absent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Version of the program.
    pub version: &'static str,
    /// Process id: an old file after a kill names another.
    pub pid: u32,
    /// The trust domain.
    pub trust_domain: String,
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
