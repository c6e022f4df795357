//! The gRPC front ends: they decode and encode. What they share stands here: the proof that a request brought, the check that its
//! caller is an administrator, and the services put together for a listener.

pub mod admin;
pub mod authorities;
pub mod certificates;
pub mod clock;
mod door;
mod issue;
mod istio;
pub mod resources;
mod services;
pub mod tokens;

use std::sync::Arc;

use identity::spiffe_id::Role;
use identity::{Clock, Reason};
use proto::Refusal;
use tonic::Request;
use tonic::metadata::MetadataMap;

pub use door::{Door, DoorLayer};
pub use issue::CertificateAuthorityService;
pub use istio::IstioCertificateService;
pub use services::{SERVICES, Services, transport};

use crate::caller::{Callers, Connection, Evidence, Peer, Verified};

/// What judges callers, found among each request's extensions.
#[derive(Clone)]
pub struct Judge {
    /// Attests callers.
    pub callers: Arc<Callers>,
    /// The time they are judged by.
    pub clock: Arc<dyn Clock>,
}

/// The caller as the record names it, if it is an administrator: whoever may open `admin.sock`, or an SVID under `/admin/`.
pub fn require_admin<T>(request: &Request<T>) -> Result<String, Refusal> {
    let connection = connection(request)?;
    if let peer @ Peer::Kernel { .. } = connection.peer() {
        return Ok(peer.to_string());
    }
    let judge: &Judge = request
        .extensions()
        .get()
        .ok_or_else(|| Refusal::new(Reason::Internal, "the listener knows no judge of callers"))?;
    match judge.callers.certificate(connection, judge.clock.now())? {
        None => Err(Refusal::new(
            Reason::NoProof,
            "an administrator's call carries no client certificate; use admin.sock or an SVID under /admin/",
        )),
        Some(Verified::Own(own)) if own.id.role() == Role::Admin => Ok(own.id.to_string()),
        Some(_) => Err(Refusal::new(
            Reason::NotAdmin,
            "the caller is no administrator; use admin.sock or an SVID under /admin/",
        )),
    }
}

/// The connection that a request came by.
fn connection<T>(request: &Request<T>) -> Result<&Arc<Connection>, Refusal> {
    request
        .extensions()
        .get()
        .ok_or_else(|| Refusal::new(Reason::Internal, "the listener knows nothing of its connections"))
}

/// The proof in a request's metadata and connection. More than one `authorization`, or one that is no bearer, is refused: nobody
/// should have to guess which of two proofs decided.
fn evidence<'a>(
    connection: &'a Connection,
    metadata: &'a MetadataMap,
    lenient_bearer: bool,
) -> Result<Evidence<'a>, Refusal> {
    let mut values = metadata.get_all("authorization").iter();
    let (first, more) = (values.next(), values.next());
    if more.is_some() {
        return Err(Refusal::new(
            Reason::TokenInvalid,
            "the call has two authorization headers, expected at most one",
        ));
    }
    let bearer = first
        .map(|value| {
            value
                .to_str()
                .ok()
                .and_then(|text| text.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                .map(|(_, token)| token.trim())
                .ok_or_else(|| {
                    Refusal::new(
                        Reason::TokenInvalid,
                        "authorization is not of the form `Bearer <join token or JWT>`",
                    )
                })
        })
        .transpose();
    let bearer = match bearer {
        Err(_) if lenient_bearer && !connection.chain().is_empty() => None,
        other => other?,
    };
    Ok(Evidence {
        connection,
        bearer,
        lenient_bearer,
    })
}

#[cfg(test)]
mod tests;
