//! What a decision looks at: the state, over it what this batch has changed so far, and the journal to
//! confirm hits in.

use std::borrow::Cow;
use std::collections::HashMap;

use identity::{KeyDigest, Reason, Serial};
use proto::Refusal;

use super::bindings::Bindings;
use super::command::Parent;
use super::entry::{Entry, Issued, field, fingerprint, request_fingerprint};
use super::medium::Records;
use super::rows::{self, AuthorityRow, InstanceRow, ResourceRow, RevocationRow, RowKey, RowKind, TokenRow};
use super::state::State;

/// Most records read to confirm what one fingerprint points to, so that no caller can hold up the writer.
/// More than one is read only where two keys have one fingerprint, or after a start while the bindings are
/// still being read.
const MAX_CONFIRMED: usize = 256;

/// Entries that are decided and not yet recorded.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The position before the first of them.
    base: u64,
    entries: Vec<(Entry, Vec<(u8, u64)>)>,
    rows: HashMap<RowKey, Option<RowKind>>,
    /// Keys of the authorities that these entries put.
    authority_keys: Vec<KeyDigest>,
    bindings: Bindings,
}

/// State, draft and record as one.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    draft: &'a Draft,
    records: &'a dyn Records,
    now: i64,
}

/// What a fingerprint led to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is looked at once where it was made")]
pub(super) enum Hit<'a> {
    None,
    /// The certificate and where it is recorded.
    One(u64, Cow<'a, Issued>),
    /// None among those that were looked at; there are more.
    TooMany,
}

impl Hit<'_> {
    fn expires_after(&self, other: &Self) -> bool {
        match (self, other) {
            (Hit::One(at, issued), Hit::One(other_at, other)) => {
                (issued.not_after, at) > (other.not_after, other_at)
            }
            (Hit::One(..), _) | (Hit::TooMany, Hit::None) => true,
            (Hit::None | Hit::TooMany, _) => false,
        }
    }
}

impl Draft {
    /// Entries that will follow `base`.
    pub(super) fn after(base: u64) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// The position that the next entry will have.
    pub(super) fn next(&self) -> u64 {
        self.base + 1 + self.entries.len() as u64
    }

    /// Adds an entry and returns the keys of its record.
    pub(super) fn add(&mut self, entry: Entry) -> &[(u8, u64)] {
        for row in &entry.puts {
            if let Some(RowKind::Authority(authority)) = &row.kind {
                self.authority_keys.extend(rows::authority_keys(authority));
            }
            if let Some(key) = row.key() {
                self.rows.insert(key, row.kind.clone());
            }
        }
        for key in &entry.deletes {
            self.rows.insert(key.clone(), None);
        }
        let keys = entry
            .issued
            .as_ref()
            .map(Issued::inventory_keys)
            .unwrap_or_default();
        self.bindings.insert(self.next(), &keys);
        self.entries.push((entry, keys));
        self.entries.last().map_or(&[], |(_, keys)| keys)
    }

    /// The entries with their positions and keys.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (u64, Entry, Vec<(u8, u64)>)> {
        (self.base + 1..)
            .zip(self.entries)
            .map(|(position, (entry, keys))| (position, entry, keys))
    }

    /// Takes out what becomes of rows: put, or removed.
    pub(super) fn take_changes(&mut self) -> HashMap<RowKey, Option<RowKind>> {
        std::mem::take(&mut self.rows)
    }

    fn entry(&self, position: u64) -> Option<&Entry> {
        let index = usize::try_from(position.checked_sub(self.base + 1)?).ok()?;
        self.entries.get(index).map(|(entry, _)| entry)
    }
}

impl<'a> View<'a> {
    /// At `now`, in seconds since 1970.
    pub(super) fn new(state: &'a State, draft: &'a Draft, records: &'a dyn Records, now: i64) -> Self {
        Self {
            state,
            draft,
            records,
            now,
        }
    }

    /// The time of the decision, in seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// The position that the entry now decided will have.
    pub(super) fn next_position(&self) -> u64 {
        self.draft.next()
    }

    pub(super) fn instance(&self) -> Option<&'a InstanceRow> {
        match self.row(&rows::instance_key()) {
            Some(RowKind::Instance(row)) => Some(row),
            _ => None,
        }
    }

    pub(super) fn revision(&self) -> u64 {
        match self.row(&rows::revision_key()) {
            Some(RowKind::Revision(revision)) => *revision,
            _ => 0,
        }
    }

    pub(super) fn token(&self, id: &str) -> Option<&'a TokenRow> {
        match self.row(&rows::token_key(id)) {
            Some(RowKind::Token(row)) => Some(row),
            _ => None,
        }
    }

    pub(super) fn resource(&self, kind: &str, namespace: &str, name: &str) -> Option<&'a ResourceRow> {
        match self.row(&rows::resource_key(kind, namespace, name)) {
            Some(RowKind::Resource(row)) => Some(row),
            _ => None,
        }
    }

    pub(super) fn revocation(&self, serial: &[u8]) -> Option<&'a RevocationRow> {
        match self.row(&rows::revocation_key(serial)) {
            Some(RowKind::Revocation(row)) => Some(row),
            _ => None,
        }
    }

    pub(super) fn is_compromised(&self, key_digest: &[u8]) -> bool {
        self.row(&rows::compromised_key(key_digest)).is_some()
    }

    /// Whether the key is that of an authority or of a certificate above one. One that this batch replaces is
    /// included.
    pub(super) fn is_authority_key(&self, key_digest: &[u8]) -> bool {
        let mut drafted = self.draft.authority_keys.iter();
        drafted.any(|known| known.as_bytes() == key_digest) || self.state.is_authority_key(key_digest)
    }

    pub(super) fn authority(&self, key_id: &[u8]) -> Option<&'a AuthorityRow> {
        match self.row(&rows::authority_key(key_id)) {
            Some(RowKind::Authority(row)) => Some(row),
            _ => None,
        }
    }

    /// The authorities of the state and of the draft.
    pub(super) fn authorities(&self) -> impl Iterator<Item = &'a AuthorityRow> {
        let drafted = self.draft.rows.values().filter_map(|row| match row {
            Some(RowKind::Authority(row)) => Some(row.key_id.as_slice()),
            _ => None,
        });
        let known = self.state.authorities().map(|row| row.key_id.as_slice());
        let all: std::collections::BTreeSet<&'a [u8]> = known.chain(drafted).collect();
        let view = *self;
        all.into_iter().filter_map(move |key_id| view.authority(key_id))
    }

    pub(super) fn crl_number(&self, authority: &[u8]) -> u64 {
        match self.row(&rows::crl_key(authority)) {
            Some(RowKind::Crl(row)) => row.number,
            _ => 0,
        }
    }

    /// Whether a certificate with this serial number is recorded. For one that the caller has compared with
    /// its record already, byte by byte.
    pub(super) fn is_recorded(&self, serial: Serial) -> Result<bool, Refusal> {
        let of_serial = fingerprint(&[serial.as_bytes()]);
        let known = self.draft.bindings.serial(of_serial);
        let known = known.or_else(|| self.state.bindings().serial(of_serial));
        Ok(known.is_some() || self.newest_in_partial(field::SERIAL, of_serial)?.is_some())
    }

    /// The fingerprint of the key of the first certificate renewed from this parent. Serial numbers are
    /// random and ours: no caller can make two with one fingerprint.
    pub(super) fn first_child_key(&self, parent: &Parent) -> Result<Option<u64>, Refusal> {
        let of_parent = fingerprint(&[parent.serial.as_bytes()]);
        let bindings = self.state.bindings();
        if bindings.is_partial(self.now)
            && let Some(first) = self.records.find(field::PARENT, of_parent)?.last()
        {
            let child = self.issued_at(*first)?;
            return Ok(child.map(|issued| fingerprint(&[&issued.key_digest])));
        }
        let first = bindings
            .first_child(of_parent)
            .or_else(|| self.draft.bindings.first_child(of_parent));
        Ok(first.map(|child| child.key))
    }

    /// The newest certificate that answers this renewal request, and where it is recorded.
    pub(super) fn answer_to(
        &self,
        parent: &Parent,
        key_digest: &[u8],
        wish: &[u8],
    ) -> Result<Option<(u64, Cow<'a, Issued>)>, Refusal> {
        let of_request = request_fingerprint(parent.serial.as_bytes(), key_digest, wish);
        let drafted = self.draft.bindings.request(of_request);
        let known = drafted.or_else(|| self.state.bindings().request(of_request));
        let newest = match known {
            Some(position) => Some(position),
            None => self.newest_in_partial(field::REQUEST, of_request)?,
        };
        let Some(position) = newest else {
            return Ok(None);
        };
        let answer = self.issued_at(position)?.filter(|issued| {
            issued.parent == parent.serial.as_bytes()
                && issued.key_digest == key_digest
                && issued.wish == wish
        });
        Ok(answer.map(|issued| (position, issued)))
    }

    /// The valid certificate of this key that expires last. It speaks for all: while one is valid, no other
    /// identity gets one.
    pub(super) fn valid_of_key(&self, key_digest: &[u8]) -> Result<Hit<'a>, Refusal> {
        let of_key = fingerprint(&[key_digest]);
        let bindings = self.state.bindings();
        let drafted = self.draft.bindings.key(of_key).map(|found| found.position);
        let mut last = self.last_valid(drafted, key_digest, 1)?;
        let recorded = if bindings.is_partial(self.now) {
            self.last_valid(self.records.find(field::KEY, of_key)?, key_digest, usize::MAX)?
        } else {
            let unexpired = bindings.key(of_key).take_while(|found| self.now <= found.expires);
            self.last_valid(unexpired.map(|found| found.position), key_digest, 1)?
        };
        if recorded.expires_after(&last) {
            last = recorded;
        }
        Ok(last)
    }

    /// Of the certificates at these positions the valid one of this key that expires last, among the first
    /// `enough` valid ones.
    fn last_valid(
        &self,
        positions: impl IntoIterator<Item = u64>,
        key_digest: &[u8],
        enough: usize,
    ) -> Result<Hit<'a>, Refusal> {
        let (mut last, mut found) = (Hit::None, 0);
        for (reads, position) in positions.into_iter().enumerate() {
            if reads == MAX_CONFIRMED {
                return Ok(if found == 0 { Hit::TooMany } else { last });
            }
            let issued = self.issued_at(position)?;
            let valid = issued.filter(|issued| issued.key_digest == key_digest && self.is_valid(issued));
            if let Some(issued) = valid {
                found += 1;
                let hit = Hit::One(position, issued);
                if hit.expires_after(&last) {
                    last = hit;
                }
                if found == enough {
                    break;
                }
            }
        }
        Ok(last)
    }

    /// Positions of the certificates of a key that were not revoked and may be valid, and of some whose key
    /// has the same fingerprint.
    pub(super) fn positions_of_key(&self, key_digest: &[u8]) -> Result<Vec<u64>, Refusal> {
        let of_key = fingerprint(&[key_digest]);
        let bindings = self.state.bindings();
        let mut positions = if bindings.is_partial(self.now) {
            self.records.find(field::KEY, of_key)?
        } else {
            bindings.key(of_key).map(|found| found.position).collect()
        };
        positions.extend(self.draft.bindings.key(of_key).map(|found| found.position));
        Ok(positions)
    }

    /// Whether the certificate is valid.
    pub(super) fn is_valid(&self, issued: &Issued) -> bool {
        self.now <= issued.not_after && self.revocation(&issued.serial).is_none()
    }

    /// The certificate recorded at this position.
    pub(super) fn issued_at(&self, position: u64) -> Result<Option<Cow<'a, Issued>>, Refusal> {
        if let Some(entry) = self.draft.entry(position) {
            return Ok(entry.issued.as_ref().map(Cow::Borrowed));
        }
        if let Some(issued) = self.state.recent().at(position) {
            return Ok(Some(Cow::Borrowed(issued)));
        }
        let recorded = self.records.entry(position)?.and_then(|entry| entry.issued);
        Ok(recorded.map(Cow::Owned))
    }

    /// In the journal, while the bindings are partial.
    fn newest_in_partial(&self, field: u8, fingerprint: u64) -> Result<Option<u64>, Refusal> {
        if !self.state.bindings().is_partial(self.now) {
            return Ok(None);
        }
        Ok(self.records.find(field, fingerprint)?.first().copied())
    }

    fn row(&self, key: &[u8]) -> Option<&'a RowKind> {
        if !self.draft.rows.is_empty()
            && let Some(changed) = self.draft.rows.get(key)
        {
            return changed.as_ref();
        }
        self.state.row(key)
    }
}

/// A record that cannot be read: nothing can be decided.
pub(super) fn unreadable(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        Reason::StoreUnavailable,
        format!("the record cannot be read: {why}"),
    )
}
