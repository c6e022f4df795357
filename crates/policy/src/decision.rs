//! How a connection ends: what a server of a mode does with what arrives. A permit to forward is made here and nowhere else, and
//! names what granted it.

use identity::SpiffeId;
use identity::spiffe_id::Role;
use resources::{Mode, Protocol};

use crate::inbound::Inbound;
use crate::outbound::Sends;
use crate::policies::Workload;

/// What a permitted connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carries {
    /// Mutual TLS between identities of the mesh.
    MutualTls,
    /// Other TLS, passed through.
    Tls,
    /// No TLS.
    Plaintext,
}

/// Leave to forward a connection. It cannot be made but by a decision:
/// ```compile_fail,E0451
/// fn forge(by: policy::Inbound<'_>) -> policy::Permit<'_> {
///     policy::Permit { carries: policy::Carries::Plaintext, by }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Permit<'p> {
    carries: Carries,
    by: Inbound<'p>,
}

/// A connection that is closed.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'p> {
    /// Why.
    pub why: Why,
    /// What the server takes, and which policy says so.
    pub by: Inbound<'p>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// STRICT, and plaintext came.
    PlaintextToStrict,
    /// STRICT, and TLS without an identity of the mesh came.
    TlsToStrict,
    /// TLS that is not the mesh's, to a port that is declared HTTP.
    TlsToHttp,
    /// The mesh's mutual TLS, to a workload without a proxy of the mesh.
    MutualTlsToUnenrolled,
    /// A certificate whose path is reserved for this role: it counts as none in the mesh.
    Reserved(Role),
}

impl Why {
    /// A clause for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Why::PlaintextToStrict => "the server takes mutual TLS alone, and the client sends plaintext",
            Why::TlsToStrict => {
                "the server takes mutual TLS alone, and the client's TLS proves no identity of the mesh"
            }
            Why::TlsToHttp => "the port is declared HTTP, and TLS that is not the mesh's arrives",
            Why::MutualTlsToUnenrolled => {
                "the client sends mutual TLS, and the server has no proxy of the mesh to answer it"
            }
            Why::Reserved(role) => match role {
                Role::Device => "the certificate is a device's, which counts as none in the mesh",
                Role::Agent => "the certificate is a node agent's, which counts as none in the mesh",
                Role::Server => {
                    "the certificate is an authority's server's, which counts as none in the mesh"
                }
                Role::Admin => "the certificate is an administrator's, which counts as none in the mesh",
                Role::Authority | Role::Workload => "the certificate names no workload",
            },
        }
    }
}

impl Carries {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Carries::MutualTls => "mtls",
            Carries::Tls => "tls",
            Carries::Plaintext => "plaintext",
        }
    }
}

impl<'p> Permit<'p> {
    /// What the connection carries.
    pub fn carries(&self) -> Carries {
        self.carries
    }

    /// What the server takes, and which policy says so.
    pub fn by(&self) -> &Inbound<'p> {
        &self.by
    }
}

/// Judges what arrives at a port of a workload; a port that nobody declared is TCP.
pub fn admit<'p>(
    server: &Workload<'_>,
    inbound: Inbound<'p>,
    port: Protocol,
    arrived: Sends,
) -> Result<Permit<'p>, Refused<'p>> {
    let permit = |carries| Ok(Permit { carries, by: inbound });
    let refuse = |why| Err(Refused { why, by: inbound });
    if !server.is_enrolled && arrived == Sends::MutualTls {
        return refuse(Why::MutualTlsToUnenrolled);
    }
    match (inbound.mode, arrived, port) {
        (Mode::Strict, Sends::Plaintext, _) => refuse(Why::PlaintextToStrict),
        (Mode::Strict, Sends::Tls | Sends::OwnMutualTls, _) => refuse(Why::TlsToStrict),
        (Mode::Strict | Mode::Permissive, Sends::MutualTls, _) => permit(Carries::MutualTls),
        (Mode::Disable | Mode::Permissive, Sends::Plaintext, _) => permit(Carries::Plaintext),
        // Nothing terminates it under DISABLE: the application gets the bytes, and one that speaks HTTP refuses them.
        (Mode::Permissive, Sends::Tls | Sends::OwnMutualTls, Protocol::Http)
        | (Mode::Disable, Sends::Tls | Sends::OwnMutualTls | Sends::MutualTls, Protocol::Http) => {
            refuse(Why::TlsToHttp)
        }
        (Mode::Disable | Mode::Permissive, Sends::Tls | Sends::OwnMutualTls, Protocol::Tcp) => {
            permit(Carries::Tls)
        }
        (Mode::Disable, Sends::MutualTls, Protocol::Tcp) => permit(Carries::MutualTls),
    }
}

/// Whether an identity is one of the mesh, at either end: those of devices, agents, servers and administrators are none, and
/// a connection with them ends as one without a certificate, for this reason.
pub fn mesh_peer(id: &SpiffeId) -> Result<(), Why> {
    match id.role() {
        Role::Workload => Ok(()),
        role => Err(Why::Reserved(role)),
    }
}
