//! What the authority knows at one position of the record: rows, and where the certificates that still count are recorded.
//! It is made by applying entries in their order, live and at a start alike, so that both give the same.

mod parts;

use std::collections::BTreeMap;
use std::ops::Bound;

use identity::{KeyDigest, Serial};

use super::bindings::{Bindings, KeyUse};
use super::changes::RegistrationChanges;
use super::entry::{Entry, Issued, Snapshot, fingerprint};
use super::recent::Recent;
use super::rows::{
    self, AuthorityRow, CrlRow, InstanceRow, ResourceRow, RevocationRow, Row, RowKey, RowKind, TokenRow,
    prefix,
};

pub(super) use parts::Part;

/// Namespace of the registrations that tokens bring along.
pub const TOKEN_REGISTRATION_NAMESPACE: &str = "default";
/// What their names begin with; the token's id follows.
pub const TOKEN_REGISTRATION_PREFIX: &str = "token-";

/// State at one position. Reading it never waits for a disk.
#[derive(Clone, Debug, Default)]
pub struct State {
    position: u64,
    rows: BTreeMap<RowKey, RowKind>,
    /// Digests of the keys of authorities and of the certificates above them: derived from the rows.
    authority_keys: Vec<KeyDigest>,
    bindings: Bindings,
    recent: Recent,
    registration_changes: RegistrationChanges,
}

/// Where a certificate is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this position, to be confirmed there.
    At(u64),
    /// Nowhere, or it expired.
    None,
    /// To be looked up in the journal: a start has not read it all yet.
    Unknown,
}

impl State {
    /// The position of the last entry that it holds.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The revision of the last change of resources, authorities, revocations or CRLs.
    pub fn revision(&self) -> u64 {
        match self.rows.get(rows::revision_key().as_slice()) {
            Some(RowKind::Revision(revision)) => *revision,
            _ => 0,
        }
    }

    /// The journal position of the last accepted correction of the clock; 0 if there was none.
    pub fn last_correction(&self) -> u64 {
        match self.rows.get(rows::correction_key().as_slice()) {
            Some(RowKind::Correction(row)) => row.position,
            _ => 0,
        }
    }

    /// What was fixed at the first start.
    pub fn instance(&self) -> Option<&InstanceRow> {
        match self.rows.get(rows::instance_key().as_slice()) {
            Some(RowKind::Instance(row)) => Some(row),
            _ => None,
        }
    }

    /// The token of this id.
    pub fn token(&self, id: &str) -> Option<&TokenRow> {
        self.row(&rows::token_key(id)).and_then(as_token)
    }

    /// All tokens whose id is greater than `after`, in the order of their ids; `""` for all.
    pub fn tokens_after(&self, after: &str) -> impl Iterator<Item = &TokenRow> {
        self.from(Bound::Excluded(rows::token_key(after)), prefix::TOKEN)
            .filter_map(as_token)
    }

    /// The resource of this kind and name.
    pub fn resource(&self, kind: &str, namespace: &str, name: &str) -> Option<&ResourceRow> {
        self.row(&rows::resource_key(kind, namespace, name))
            .and_then(as_resource)
    }

    /// All resources, in the order of kind, namespace and name.
    pub fn resources(&self) -> impl Iterator<Item = &ResourceRow> {
        self.of(prefix::RESOURCE).filter_map(as_resource)
    }

    /// The resources of a kind, in the order of namespace and name.
    pub fn resources_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a ResourceRow> {
        self.from(
            Bound::Included(rows::resource_key(kind, "", "")),
            prefix::RESOURCE,
        )
        .filter_map(as_resource)
        .take_while(move |row| row.kind == kind)
    }

    /// Which registrations changed last.
    pub fn registration_changes(&self) -> &RegistrationChanges {
        &self.registration_changes
    }

    /// The revocation of the certificate with this serial number.
    pub fn revocation(&self, serial: Serial) -> Option<&RevocationRow> {
        self.row(&rows::revocation_key(serial.as_bytes()))
            .and_then(as_revocation)
    }

    /// All revocations, in the order of their serial numbers' octets.
    pub fn revocations(&self) -> impl Iterator<Item = &RevocationRow> {
        self.of(prefix::REVOCATION).filter_map(as_revocation)
    }

    /// Where the certificate with this serial number is recorded, if it may be valid at `now`, in seconds
    /// since 1970.
    pub fn position_of(&self, serial: Serial, now: i64) -> Place {
        match self.bindings.serial(fingerprint(&[serial.as_bytes()])) {
            Some(position) => Place::At(position),
            None if self.bindings.is_partial(now) => Place::Unknown,
            None => Place::None,
        }
    }

    /// Whether the key with this digest was revoked for compromise.
    pub fn is_compromised(&self, key_digest: &[u8]) -> bool {
        self.row(&rows::compromised_key(key_digest)).is_some()
    }

    /// The authority with this subject key id.
    pub fn authority(&self, key_id: &[u8]) -> Option<&AuthorityRow> {
        self.row(&rows::authority_key(key_id)).and_then(as_authority)
    }

    /// All authorities whose leaves may still be valid.
    pub fn authorities(&self) -> impl Iterator<Item = &AuthorityRow> {
        self.of(prefix::AUTHORITY).filter_map(as_authority)
    }

    /// The authority that signs now.
    pub fn active_authority(&self) -> Option<&AuthorityRow> {
        self.authorities().find(|row| row.replaced_at == 0)
    }

    /// Whether the key with this digest is that of an authority, or of a certificate above one: no leaf may
    /// have it.
    pub(super) fn is_authority_key(&self, key_digest: &[u8]) -> bool {
        self.authority_keys
            .iter()
            .any(|known| known.as_bytes() == key_digest)
    }

    /// The number of the last CRL of this authority; 0 before the first.
    pub fn crl_number(&self, authority: &[u8]) -> u64 {
        match self.row(&rows::crl_key(authority)) {
            Some(RowKind::Crl(CrlRow { number, .. })) => *number,
            _ => 0,
        }
    }

    pub(super) fn row(&self, key: &[u8]) -> Option<&RowKind> {
        self.rows.get(key)
    }

    pub(super) fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    pub(super) fn bindings_mut(&mut self) -> &mut Bindings {
        &mut self.bindings
    }

    /// Takes in what was read of the journal; see [`Bindings::complete_with`].
    pub(super) fn complete_bindings(&mut self, before: Bindings, complete_from: i64) {
        self.bindings.complete_with(before, complete_from);
        let revocations = self
            .rows
            .range(vec![prefix::REVOCATION]..vec![prefix::REVOCATION + 1]);
        for (_, row) in revocations {
            release_key(&mut self.bindings, row);
        }
    }

    pub(super) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// All rows, in the order of their keys.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&RowKey, &RowKind)> {
        self.rows.iter()
    }

    /// Takes in the entry at `position`; `keys` are those of its record.
    pub(super) fn apply(&mut self, position: u64, entry: Entry, keys: &[(u8, u64)]) {
        for row in entry.puts {
            self.put(row);
        }
        for key in &entry.deletes {
            let Some(row) = self.rows.remove(key) else {
                continue;
            };
            self.registration_changes.note(&row);
            if matches!(row, RowKind::Authority(_)) {
                self.list_authority_keys();
            }
        }
        if let Some(issued) = entry.issued {
            self.bindings.insert(position, keys);
            self.note_end(&issued);
            self.recent.push(position, issued);
        }
        self.position = position;
    }

    /// Takes rows as they were at `position`.
    pub(super) fn restore(&mut self, position: u64, snapshot: Snapshot) {
        self.rows.clear();
        self.registration_changes.reset();
        self.authority_keys.clear();
        for row in snapshot.rows {
            self.put(row);
        }
        self.position = position;
    }

    /// Goes on to a position that changed nothing.
    pub(super) fn pass(&mut self, position: u64) {
        self.position = position;
    }

    /// A row of a kind that this program does not know is left out: a newer program's, which bars older ones by its format.
    fn put(&mut self, row: Row) {
        if let (Some(key), Some(mut kind)) = (row.key(), row.kind) {
            if let Some(known) = self.rows.get(&key) {
                keep_end(&mut kind, known);
            }
            release_key(&mut self.bindings, &kind);
            self.registration_changes.note(&kind);
            let is_authority = matches!(kind, RowKind::Authority(_));
            self.rows.insert(key, kind);
            if is_authority {
                self.list_authority_keys();
            }
        }
    }

    fn list_authority_keys(&mut self) {
        let keys = self.authorities().flat_map(rows::authority_keys).collect();
        self.authority_keys = keys;
    }

    /// How long an authority, and a registration that a token brought along, must stay.
    fn note_end(&mut self, issued: &Issued) {
        if let Some(RowKind::Authority(row)) = self.rows.get_mut(&rows::authority_key(&issued.authority)) {
            row.last_leaf_ends = row.last_leaf_ends.max(issued.not_after);
            let mut earlier = row.earlier.iter_mut();
            if let Some(own) = earlier.find(|own| own.generation == issued.authority_generation) {
                own.last_leaf_ends = own.last_leaf_ends.max(issued.not_after);
            }
        }
        let token = issued
            .registration
            .strip_prefix(TOKEN_REGISTRATION_NAMESPACE)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|name| name.strip_prefix(TOKEN_REGISTRATION_PREFIX));
        if let Some(id) = token
            && let Some(RowKind::Token(row)) = self.rows.get_mut(&rows::token_key(id))
        {
            row.last_leaf_ends = row.last_leaf_ends.max(issued.not_after);
        }
    }

    fn of(&self, letter: u8) -> impl Iterator<Item = &RowKind> {
        self.from(Bound::Included(vec![letter]), letter)
    }

    fn from(&self, start: Bound<RowKey>, letter: u8) -> impl Iterator<Item = &RowKind> {
        self.rows
            .range((start, Bound::Excluded(vec![letter + 1])))
            .map(|(_, row)| row)
    }
}

/// What it has at hand of the record makes no difference to what it knows.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position && self.rows == other.rows && self.bindings == other.bindings
    }
}

/// A row was decided on what stood before its batch, in which certificates may have moved the end: it never comes nearer.
fn keep_end(row: &mut RowKind, known: &RowKind) {
    match (row, known) {
        (RowKind::Authority(row), RowKind::Authority(known)) => {
            row.last_leaf_ends = row.last_leaf_ends.max(known.last_leaf_ends);
            for own in &mut row.earlier {
                let end = known
                    .earlier
                    .iter()
                    .find(|other| other.generation == own.generation)
                    .map(|other| other.last_leaf_ends)
                    .or((known.generation == own.generation).then_some(known.last_leaf_ends));
                own.last_leaf_ends = own.last_leaf_ends.max(end.unwrap_or_default());
            }
        }
        (RowKind::Token(row), RowKind::Token(known)) => {
            row.last_leaf_ends = row.last_leaf_ends.max(known.last_leaf_ends);
        }
        _ => {}
    }
}

/// A revoked certificate binds its key no more. Rows of earlier releases do not say which key that is: such a
/// certificate is recognised when a decision reads it.
fn release_key(bindings: &mut Bindings, row: &RowKind) {
    if let RowKind::Revocation(row) = row
        && !row.key_digest.is_empty()
    {
        let certificate = KeyUse {
            expires: row.not_after,
            position: row.position,
        };
        bindings.release_key(fingerprint(&[&row.key_digest]), certificate);
    }
}

fn as_token(kind: &RowKind) -> Option<&TokenRow> {
    match kind {
        RowKind::Token(row) => Some(row),
        _ => None,
    }
}

fn as_resource(kind: &RowKind) -> Option<&ResourceRow> {
    match kind {
        RowKind::Resource(row) => Some(row),
        _ => None,
    }
}

fn as_revocation(kind: &RowKind) -> Option<&RevocationRow> {
    match kind {
        RowKind::Revocation(row) => Some(row),
        _ => None,
    }
}

fn as_authority(kind: &RowKind) -> Option<&AuthorityRow> {
    match kind {
        RowKind::Authority(row) => Some(row),
        _ => None,
    }
}
