//! The inventory: which certificates there are. Answered from the record and its indexes, newest first, in pages of bounded work;
//! nothing here is consulted while issuing.

use identity::{KeyDigest, Serial};
use proto::Refusal;

use super::Store;
use super::entry::{Issued, field, fingerprint};
use super::rows::RevocationRow;

/// Most certificates in a page.
pub const MAX_PAGE: usize = 1000;
/// Most entries read for a page. A page may be short, or empty, and others follow it.
const MAX_READS: usize = 4000;

/// Which certificates are looked for; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// A SPIFFE ID, or a prefix of it that ends with `*`; empty for any.
    pub spiffe_id: String,
    /// The digest of its public key.
    pub key: Option<KeyDigest>,
    /// Also those that have ended.
    pub include_expired: bool,
    /// Only those that end before this, in seconds since 1970.
    pub expires_before: Option<i64>,
}

/// A recorded certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its place in the record.
    pub position: u64,
    /// What was recorded.
    pub issued: Issued,
    /// Its revocation.
    pub revocation: Option<RevocationRow>,
}

/// Some of the certificates looked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Newest first.
    pub certificates: Vec<Found>,
    /// Where the next page begins: to be given as `before`.
    pub next: Option<u64>,
}

/// The certificates recorded before position `before` that fit, at most `size` and at most [`MAX_PAGE`] of them.
///
/// # Errors
/// `STORE_UNAVAILABLE` if the record cannot be read.
pub fn list(
    store: &dyn Store,
    query: &Query,
    size: usize,
    before: Option<u64>,
    now: i64,
) -> Result<Page, Refusal> {
    let end = before
        .unwrap_or(u64::MAX)
        .min(store.head().position.saturating_add(1));
    let size = size.clamp(1, MAX_PAGE);
    let indexed = match (&query.key, query.spiffe_id.as_str()) {
        (Some(key), _) => Some(store.find(field::KEY, fingerprint(&[key.as_bytes()]))?),
        (None, id) if !id.is_empty() && !id.ends_with('*') => {
            Some(store.find(field::SPIFFE_ID, fingerprint(&[id.as_bytes()]))?)
        }
        _ => None,
    };
    match indexed {
        Some(positions) => {
            let positions = positions.into_iter().filter(|position| *position < end);
            page(store, query, size, positions, now)
        }
        None => page(store, query, size, (1..end).rev(), now),
    }
}

/// The certificate with this serial number.
///
/// # Errors
/// `STORE_UNAVAILABLE` if the record cannot be read.
pub fn by_serial(store: &dyn Store, serial: Serial) -> Result<Option<Found>, Refusal> {
    for position in store.find(field::SERIAL, fingerprint(&[serial.as_bytes()]))? {
        if let Some(found) = at(store, position)?.filter(|found| found.issued.serial == serial.as_bytes()) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn page(
    store: &dyn Store,
    query: &Query,
    size: usize,
    positions: impl Iterator<Item = u64>,
    now: i64,
) -> Result<Page, Refusal> {
    let mut page = Page::default();
    let mut positions = positions.peekable();
    let mut reads = 0;
    while let Some(position) = positions.next() {
        page.certificates
            .extend(at(store, position)?.filter(|found| query.fits(&found.issued, now)));
        reads += 1;
        if page.certificates.len() == size || reads == MAX_READS {
            page.next = positions.peek().map(|_| position);
            break;
        }
    }
    Ok(page)
}

fn at(store: &dyn Store, position: u64) -> Result<Option<Found>, Refusal> {
    let Some(issued) = store.entry(position)?.and_then(|entry| entry.issued) else {
        return Ok(None);
    };
    let revocation = Serial::from_bytes(&issued.serial)
        .ok()
        .and_then(|serial| store.read().revocation(serial).cloned());
    Ok(Some(Found {
        position,
        issued,
        revocation,
    }))
}

impl Query {
    fn fits(&self, issued: &Issued, now: i64) -> bool {
        let is_named = match self.spiffe_id.strip_suffix('*') {
            Some(prefix) => issued.spiffe_id.starts_with(prefix),
            None => self.spiffe_id.is_empty() || issued.spiffe_id == self.spiffe_id,
        };
        is_named
            && self.key.is_none_or(|key| issued.key_digest == key.as_bytes())
            && (self.include_expired || now <= issued.not_after)
            && self.expires_before.is_none_or(|end| issued.not_after < end)
    }
}
