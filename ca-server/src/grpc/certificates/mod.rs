//! `signet.v1.Certificates`: which certificates were issued, to whom and why, and their revocation. All of it is answered from the
//! inventory; nothing here waits for the writer, and the issuing path waits for nothing here.

use std::sync::Arc;

use identity::{Leaf, Reason, Serial, SpiffeId, hex};
use issuance::RevocationReason;
use proto::{Refusal, v1};
use tonic::{Request, Response, Status};
use v1::revoke_certificates_request::Which;

use super::admin::{Admin, invalid, page_size};
use crate::store::inventory::{self, Found, Query};
use crate::store::{Command, Outcome, Revocation, revocation};

/// `signet.v1.Certificates`.
#[derive(Clone)]
pub struct CertificatesService {
    admin: Admin,
}

impl CertificatesService {
    /// For the administrators of this server.
    pub fn new(admin: Admin) -> Self {
        Self { admin }
    }

    fn list(&self, request: v1::ListCertificatesRequest) -> Result<v1::ListCertificatesResponse, Refusal> {
        let v1::ListCertificatesRequest {
            spiffe_id,
            key_digest,
            include_expired,
            expires_before,
            page_size: asked,
            page_token,
        } = request;
        let query = Query {
            spiffe_id: id_or_prefix(spiffe_id)?,
            key: (!key_digest.is_empty())
                .then(|| key_digest.parse())
                .transpose()
                .map_err(|e| invalid("key_digest", e))?,
            include_expired,
            expires_before: expires_before.map(|at| at.seconds),
        };
        let now = self.admin.clock.now().unix_timestamp();
        let store = self.admin.store.as_ref();
        let page = inventory::list(store, &query, page_size(asked)?, before(&page_token)?, now)?;
        Ok(v1::ListCertificatesResponse {
            certificates: page
                .certificates
                .into_iter()
                .map(to_message)
                .collect::<Result<_, _>>()?,
            next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
        })
    }

    fn get(&self, request: v1::GetCertificateRequest) -> Result<v1::Certificate, Refusal> {
        let v1::GetCertificateRequest { serial } = request;
        let serial: Serial = serial.parse().map_err(|e| invalid("serial", e))?;
        let found = inventory::by_serial(self.admin.store.as_ref(), serial)?;
        to_message(found.ok_or_else(|| revocation::unknown(serial))?)
    }

    async fn revoke(
        &self,
        by: &str,
        request: v1::RevokeCertificatesRequest,
    ) -> Result<v1::RevokeCertificatesResponse, Refusal> {
        let v1::RevokeCertificatesRequest { which, reason } = request;
        let reason: RevocationReason = match reason.as_str() {
            "" => RevocationReason::default(),
            word => word
                .parse()
                .map_err(|e| invalid("reason", e).with("found", word))?,
        };
        let which = which.ok_or_else(|| invalid("which", "absent, expected serial, spiffe_id or lineage"))?;
        let which = revocation_of(which)?;
        let mut serials: Vec<Serial> = Vec::new();
        // Very many certificates take several entries. What is revoked by one is not selected for the next,
        // and no certificate is renewed from it.
        loop {
            let (revoked, is_complete) = self.revoke_some(by, which.clone(), reason).await?;
            // What was recorded meanwhile may have brought another key into a compromised lineage.
            let is_closed = reason != RevocationReason::KeyCompromise || revoked.is_empty();
            serials.extend(revoked);
            if is_complete && is_closed {
                break;
            }
        }
        let serials = serials.iter().map(Serial::to_string).collect();
        Ok(v1::RevokeCertificatesResponse { serials })
    }

    /// One entry of a revocation: what it revoked, and whether nothing is left.
    async fn revoke_some(
        &self,
        by: &str,
        which: Revocation,
        reason: RevocationReason,
    ) -> Result<(Vec<Serial>, bool), Refusal> {
        let store = Arc::clone(&self.admin.store);
        let (which, known) = off_the_runtime(move || {
            let is_compromise = reason == RevocationReason::KeyCompromise;
            let known = revocation::select(store.as_ref(), &which, is_compromise)?;
            Ok((which, known))
        })
        .await?;
        let command = Command::Revoke {
            which,
            known,
            reason: reason.word().to_owned(),
            by: by.to_owned(),
        };
        let Outcome::Revoked { serials, is_complete } = self.admin.submit(command).await? else {
            return Err(Refusal::new(
                Reason::Internal,
                "the store answered a revocation with something else",
            ));
        };
        for serial in &serials {
            self.admin
                .changed(by, format!("revoked certificate {serial}: {reason}"), |line| {
                    line.serial = Some(*serial);
                });
        }
        Ok((serials, is_complete))
    }
}

/// A page's token is the position of the last entry that the page before looked at.
fn before(page_token: &str) -> Result<Option<u64>, Refusal> {
    (!page_token.is_empty())
        .then(|| page_token.parse())
        .transpose()
        .map_err(|_| invalid("page_token", "not one that this server gave"))
}

/// A SPIFFE ID, or a prefix of one with a `*` behind it.
fn id_or_prefix(text: String) -> Result<String, Refusal> {
    match text.strip_suffix('*') {
        Some(prefix) if prefix.contains('*') => {
            return Err(invalid("spiffe_id", "a * stands only at the end"));
        }
        None if !text.is_empty() => drop(SpiffeId::new(&text).map_err(|e| invalid("spiffe_id", e))?),
        _ => {}
    }
    Ok(text)
}

fn revocation_of(which: Which) -> Result<Revocation, Refusal> {
    Ok(match which {
        Which::Serial(text) => Revocation::Serial(text.parse().map_err(|e| invalid("serial", e))?),
        Which::SpiffeId(text) => {
            Revocation::SpiffeId(SpiffeId::new(&text).map_err(|e| invalid("spiffe_id", e))?)
        }
        Which::Lineage(text) => Revocation::Lineage(text.parse().map_err(|e| invalid("lineage", e))?),
    })
}

fn to_message(found: Found) -> Result<v1::Certificate, Refusal> {
    let Found {
        position,
        issued,
        revocation,
    } = found;
    let leaf = Leaf::parse(&issued.der).map_err(|e| {
        Refusal::new(
            Reason::Internal,
            format!("the certificate recorded at {position} cannot be read: {e}"),
        )
    })?;
    let (revoked_at, revocation_reason) = match revocation {
        Some(row) => (Some(seconds(row.at)), row.reason),
        None => (None, String::new()),
    };
    Ok(v1::Certificate {
        serial: leaf.serial().to_string(),
        spiffe_id: issued.spiffe_id,
        dns_names: leaf.dns_names().to_vec(),
        key_digest: leaf.key_digest().to_string(),
        not_before: Some(proto::timestamp_to_message(leaf.validity().not_before())),
        not_after: Some(proto::timestamp_to_message(leaf.validity().not_after())),
        registration: issued.registration,
        method: issued.method,
        caller: issued.caller,
        parent_serial: Serial::from_bytes(&issued.parent)
            .map_or_else(|_| String::new(), |parent| parent.to_string()),
        authority: hex::encode(&issued.authority),
        revoked_at,
        revocation_reason,
        der: issued.der,
        journal_position: position,
    })
}

fn seconds(at: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at,
        nanos: 0,
    }
}

/// The record is on a disk: reading much of it must not hold up the calls that share a thread with it.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        Err(Refusal::new(
            Reason::Internal,
            format!("reading the record failed: {e}"),
        ))
    })
}

#[tonic::async_trait]
impl v1::certificates_server::Certificates for CertificatesService {
    async fn list_certificates(
        &self,
        request: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        self.admin.reader(&request)?;
        let service = self.clone();
        let listed = off_the_runtime(move || service.list(request.into_inner())).await?;
        Ok(Response::new(listed))
    }

    async fn get_certificate(
        &self,
        request: Request<v1::GetCertificateRequest>,
    ) -> Result<Response<v1::Certificate>, Status> {
        self.admin.reader(&request)?;
        let service = self.clone();
        let found = off_the_runtime(move || service.get(request.into_inner())).await?;
        Ok(Response::new(found))
    }

    async fn revoke_certificates(
        &self,
        request: Request<v1::RevokeCertificatesRequest>,
    ) -> Result<Response<v1::RevokeCertificatesResponse>, Status> {
        let by = self.admin.writer(&request)?;
        let revoked = self.revoke(&by, request.into_inner()).await;
        Ok(Response::new(self.admin.told(&by, revoked)?))
    }
}

#[cfg(test)]
mod tests;
