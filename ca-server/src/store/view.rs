//! What a decision looks at: the state, over it what this batch has changed so far, and the record to confirm hits in.

use std::borrow::Cow;
use std::collections::HashMap;

use identity::{Reason, Serial};
use proto::Refusal;

use super::bindings::Bindings;
use super::entry::{Entry, Issued};
use super::medium::Records;
use super::rows::{self, AuthorityRow, InstanceRow, ResourceRow, RevocationRow, RowKey, RowKind, TokenRow};
use super::state::State;

/// Most records read to confirm what one fingerprint points to, so that nobody who keeps asking with one key can hold up the
/// writer. It matters only where the newest certificate of a key or parent does not count and older ones might.
const MAX_CONFIRMED: usize = 256;

/// Entries that are decided and not yet recorded.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The position before the first of them.
    base: u64,
    entries: Vec<(Entry, Vec<(u8, u64)>)>,
    rows: HashMap<RowKey, Option<RowKind>>,
    bindings: Bindings,
}

/// State, draft and record as one.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    draft: &'a Draft,
    records: &'a dyn Records,
}

/// What a fingerprint led to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is looked at once where it was made")]
pub(super) enum Hit<'a> {
    None,
    /// The certificate and where it is recorded.
    One(u64, Cow<'a, Issued>),
    /// None among the newest; older ones were not looked at.
    TooMany,
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
    pub(super) fn new(state: &'a State, draft: &'a Draft, records: &'a dyn Records) -> Self {
        Self {
            state,
            draft,
            records,
        }
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

    /// Whether any record, in the draft or still counting, has this fingerprint. For serial numbers of certificates that the caller
    /// has already compared with the record.
    pub(super) fn has(&self, field: u8, fingerprint: u64) -> Result<bool, Refusal> {
        Ok(self.newest(field, fingerprint)?.is_some())
    }

    /// The newest certificate for which `accept` holds among those with this fingerprint. One look into memory if there is
    /// none (for a while after a start also one into the record); at most one record read if it is the newest.
    pub(super) fn find(
        &self,
        field: u8,
        fingerprint: u64,
        accept: impl Fn(&Issued) -> bool,
    ) -> Result<Hit<'a>, Refusal> {
        let Some(newest) = self.newest(field, fingerprint)? else {
            return Ok(Hit::None);
        };
        if let Some(found) = self.issued_at(newest)?.filter(|issued| accept(issued)) {
            return Ok(Hit::One(newest, found));
        }
        let drafted = (self.draft.base + 1..self.draft.next()).rev();
        let recorded = self.records.find(field, fingerprint)?;
        let is_bounded = recorded.len() <= MAX_CONFIRMED;
        let older = drafted
            .chain(recorded.into_iter().take(MAX_CONFIRMED))
            .filter(|position| *position < newest);
        for position in older {
            if let Some(found) = self.issued_at(position)?.filter(|issued| accept(issued)) {
                return Ok(Hit::One(position, found));
            }
        }
        Ok(if is_bounded { Hit::None } else { Hit::TooMany })
    }

    /// Whether the certificate still counts.
    pub(super) fn is_live(&self, issued: &Issued, now: i64) -> bool {
        now <= issued.not_after && self.revocation(&issued.serial).is_none()
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

    /// The certificate with this serial number, and where it is recorded.
    pub(super) fn certificate(&self, serial: Serial) -> Result<Option<(u64, Issued)>, Refusal> {
        let field = super::entry::field::SERIAL;
        let fingerprint = super::entry::fingerprint(&[serial.as_bytes()]);
        let accept = |issued: &Issued| issued.serial == serial.as_bytes();
        if let Hit::One(position, found) = self.find(field, fingerprint, accept)? {
            return Ok(Some((position, found.into_owned())));
        }
        // One that ended long ago is in the record only.
        for position in self.records.find(field, fingerprint)? {
            if let Some(found) = self.issued_at(position)?.filter(|issued| accept(issued)) {
                return Ok(Some((position, found.into_owned())));
            }
        }
        Ok(None)
    }

    fn newest(&self, field: u8, fingerprint: u64) -> Result<Option<u64>, Refusal> {
        let known = self.state.bindings();
        let newest = self
            .draft
            .bindings
            .newest(field, fingerprint)
            .or_else(|| known.newest(field, fingerprint));
        if newest.is_none() && known.is_partial() {
            return Ok(self.records.find(field, fingerprint)?.first().copied());
        }
        Ok(newest)
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
