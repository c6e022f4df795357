//! The inventory: which certificates were issued, to whom and why, and their revocation. All of it is read from the record, entry by
//! entry; nothing here waits for the writer, and the issuing path waits for nothing here.

use std::collections::HashSet;
use std::sync::Arc;

use identity::{KeyDigest, Leaf, Reason, Serial, SpiffeId, hex};
use issuance::RevocationReason;
use proto::{Refusal, v1};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};
use v1::revoke_certificates_request::Which;

use super::admin::{Admin, invalid, page_size};
use crate::store::entry::{field, fingerprint};
use crate::store::{Command, Issued, Outcome, Store};

/// Most entries that are read for one page. A page may come short; its token goes on where it stopped.
const MAX_READ: usize = 20_000;
/// Most certificates that are revoked by one request.
const MAX_REVOKED: usize = 100_000;

/// `signet.v1.Certificates`.
#[derive(Clone)]
pub struct CertificatesService {
    admin: Admin,
}

/// Which certificates are asked for.
struct Filter {
    id: IdFilter,
    key_digest: Option<KeyDigest>,
    /// notAfter at least this, in seconds since 1970.
    ends_from: i64,
    /// notAfter less than this.
    ends_before: i64,
}

enum IdFilter {
    Any,
    Exactly(SpiffeId),
    Prefix(String),
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
        let now = self.admin.clock.now().unix_timestamp();
        let filter = Filter {
            id: id_filter(&spiffe_id)?,
            key_digest: (!key_digest.is_empty())
                .then(|| key_digest.parse())
                .transpose()
                .map_err(|e| invalid("key_digest", e))?,
            ends_from: if include_expired { i64::MIN } else { now },
            ends_before: expires_before.map_or(i64::MAX, |at| at.seconds),
        };
        self.page(&filter, page_size(asked)?, before(&page_token)?)
    }

    /// The newest certificates first, recorded before the position `before`.
    fn page(
        &self,
        filter: &Filter,
        size: usize,
        before: u64,
    ) -> Result<v1::ListCertificatesResponse, Refusal> {
        let store = self.admin.store.as_ref();
        let (mut certificates, mut last) = (Vec::new(), 0);
        let mut read = 0;
        for position in positions(store, filter, before)? {
            if certificates.len() == size || read == MAX_READ {
                let next_page_token = last.to_string();
                return Ok(v1::ListCertificatesResponse {
                    certificates,
                    next_page_token,
                });
            }
            (last, read) = (position, read + 1);
            if let Some(issued) = issued_at(store, position)?.filter(|issued| filter.matches(issued)) {
                certificates.push(to_message(store, position, issued)?);
            }
        }
        Ok(v1::ListCertificatesResponse {
            certificates,
            next_page_token: String::new(),
        })
    }

    fn get(&self, request: v1::GetCertificateRequest) -> Result<v1::Certificate, Refusal> {
        let v1::GetCertificateRequest { serial } = request;
        let serial: Serial = serial.parse().map_err(|e| invalid("serial", e))?;
        let store = self.admin.store.as_ref();
        let (position, issued) = by_serial(store, serial)?.ok_or_else(|| unknown(serial))?;
        to_message(store, position, issued)
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
        let now = self.admin.clock.now();
        let store = Arc::clone(&self.admin.store);
        let serials = off_the_runtime(move || select(store.as_ref(), which, now)).await?;
        let command = Command::Revoke {
            serials,
            reason: reason.word().to_owned(),
            by: by.to_owned(),
        };
        let Outcome::Revoked { serials } = self.admin.submit(command).await? else {
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
        let serials = serials.iter().map(Serial::to_string).collect();
        Ok(v1::RevokeCertificatesResponse { serials })
    }
}

impl Filter {
    fn matches(&self, issued: &Issued) -> bool {
        let id = match &self.id {
            IdFilter::Any => true,
            IdFilter::Exactly(id) => issued.spiffe_id == id.as_str(),
            IdFilter::Prefix(prefix) => issued.spiffe_id.starts_with(prefix),
        };
        let key = self
            .key_digest
            .is_none_or(|digest| issued.key_digest == digest.as_bytes());
        id && key && (self.ends_from..self.ends_before).contains(&issued.not_after)
    }
}

fn id_filter(text: &str) -> Result<IdFilter, Refusal> {
    if text.is_empty() {
        return Ok(IdFilter::Any);
    }
    match text.strip_suffix('*') {
        Some(prefix) if prefix.contains('*') => Err(invalid("spiffe_id", "a * stands only at the end")),
        Some(prefix) => Ok(IdFilter::Prefix(prefix.to_owned())),
        None => SpiffeId::new(text)
            .map(IdFilter::Exactly)
            .map_err(|e| invalid("spiffe_id", e)),
    }
}

/// A page's token is the position of the last entry that the page before looked at.
fn before(page_token: &str) -> Result<u64, Refusal> {
    match page_token {
        "" => Ok(u64::MAX),
        text => text
            .parse()
            .map_err(|_| invalid("page_token", "not one that this server gave")),
    }
}

/// Where to look, newest first: by the inventory if the filter names an identity or a key, else the whole record.
fn positions(
    store: &dyn Store,
    filter: &Filter,
    before: u64,
) -> Result<Box<dyn Iterator<Item = u64> + Send>, Refusal> {
    let indexed = match (&filter.id, &filter.key_digest) {
        (IdFilter::Exactly(id), _) => Some((field::SPIFFE_ID, fingerprint(&[id.as_str().as_bytes()]))),
        (_, Some(digest)) => Some((field::KEY, fingerprint(&[digest.as_bytes()]))),
        _ => None,
    };
    Ok(match indexed {
        Some((field, fingerprint)) => {
            let found = store.find(field, fingerprint)?;
            Box::new(found.into_iter().filter(move |position| *position < before))
        }
        None => {
            let end = store.head().position.saturating_add(1).min(before);
            Box::new((1..end).rev())
        }
    })
}

fn issued_at(store: &dyn Store, position: u64) -> Result<Option<Issued>, Refusal> {
    Ok(store.entry(position)?.and_then(|entry| entry.issued))
}

fn by_serial(store: &dyn Store, serial: Serial) -> Result<Option<(u64, Issued)>, Refusal> {
    for position in store.find(field::SERIAL, fingerprint(&[serial.as_bytes()]))? {
        if let Some(issued) = issued_at(store, position)?.filter(|issued| issued.serial == serial.as_bytes())
        {
            return Ok(Some((position, issued)));
        }
    }
    Ok(None)
}

/// The serial numbers that a revocation names. By identity and by lineage those that still count: the others need none.
fn select(store: &dyn Store, which: Which, now: OffsetDateTime) -> Result<Vec<Serial>, Refusal> {
    let now = now.unix_timestamp();
    match which {
        Which::Serial(text) => {
            let serial = text.parse().map_err(|e| invalid("serial", e))?;
            Ok(vec![serial])
        }
        Which::SpiffeId(text) => {
            let id = SpiffeId::new(&text).map_err(|e| invalid("spiffe_id", e))?;
            let mut serials = Vec::new();
            for position in store.find(field::SPIFFE_ID, fingerprint(&[id.as_str().as_bytes()]))? {
                let found = issued_at(store, position)?;
                if let Some(issued) =
                    found.filter(|issued| issued.spiffe_id == id.as_str() && issued.not_after >= now)
                {
                    serials.push(serial_of(&issued)?);
                }
            }
            some(serials, || {
                format!("no certificate of {id} counts, so none was revoked")
            })
        }
        Which::Lineage(text) => {
            let first = text.parse().map_err(|e| invalid("lineage", e))?;
            let serials = lineage(store, first, now)?;
            some(serials, || {
                format!("no certificate of the lineage of {first} counts, so none was revoked")
            })
        }
    }
}

fn some(serials: Vec<Serial>, why: impl FnOnce() -> String) -> Result<Vec<Serial>, Refusal> {
    match serials.len() {
        0 => Err(Refusal::new(Reason::NotFound, why())),
        1..=MAX_REVOKED => Ok(serials),
        found => Err(Refusal::new(
            Reason::TooLarge,
            format!("{found} certificates, expected at most {MAX_REVOKED} to be revoked at once"),
        )
        .with("found", found)
        .with("limit", MAX_REVOKED)),
    }
}

/// A certificate and everything renewed from it, whatever has ended in between.
fn lineage(store: &dyn Store, first: Serial, now: i64) -> Result<Vec<Serial>, Refusal> {
    let (_, issued) = by_serial(store, first)?.ok_or_else(|| unknown(first))?;
    let (mut open, mut seen, mut serials) = (vec![issued], HashSet::from([first]), Vec::new());
    while let Some(issued) = open.pop() {
        let serial = serial_of(&issued)?;
        if issued.not_after >= now {
            serials.push(serial);
        }
        for position in store.find(field::PARENT, fingerprint(&[serial.as_bytes()]))? {
            let child = issued_at(store, position)?.filter(|child| child.parent == serial.as_bytes());
            if let Some(child) = child
                && seen.insert(serial_of(&child)?)
            {
                open.push(child);
            }
        }
        if seen.len() > MAX_REVOKED {
            return some(seen.into_iter().collect(), String::new);
        }
    }
    Ok(serials)
}

fn to_message(store: &dyn Store, position: u64, issued: Issued) -> Result<v1::Certificate, Refusal> {
    let leaf = Leaf::parse(&issued.der).map_err(|e| {
        Refusal::new(
            Reason::Internal,
            format!("the certificate recorded at {position} cannot be read: {e}"),
        )
    })?;
    let revocation = store.read().revocation(leaf.serial()).cloned();
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

fn serial_of(issued: &Issued) -> Result<Serial, Refusal> {
    Serial::from_bytes(&issued.serial).map_err(|e| {
        Refusal::new(
            Reason::Internal,
            format!("the record holds a certificate without serial number: {e}"),
        )
    })
}

fn unknown(serial: Serial) -> Refusal {
    let message = format!("no certificate has the serial number {serial}; `signet cert list` shows them");
    Refusal::new(Reason::NotFound, message).with("name", serial)
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
