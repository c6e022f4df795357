//! Which certificates a revocation means. A certificate may be renewed while they are looked up, so the
//! store's writer selects them, in the decision itself. Reading thousands of records would hold up everything
//! else that the writer does: they are read ahead, and the writer looks only at those recorded since.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use identity::{Reason, Serial, SpiffeId};
use proto::Refusal;

use super::Store;
use super::entry::{Issued, field, fingerprint};
use super::inventory;

/// Most certificates, and most keys, that one entry revokes; more take several. Few in tests, so that they
/// come to it.
pub(super) const MAX_PER_ENTRY: usize = if cfg!(test) { 8 } else { 100_000 };
/// So many records are left for the writer to look at; they are still in memory.
const FEW: u64 = 128;
/// So many of the newest keys are looked up in the journal. Of the others those certificates are found that
/// are valid, and those selected.
const MAX_KEYS: usize = 1000;
/// How often what was recorded meanwhile is read ahead, too.
const PASSES: usize = 5;

/// What selects the certificates to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The one with this serial number.
    Serial(Serial),
    /// Every valid certificate of this SPIFFE ID.
    SpiffeId(SpiffeId),
    /// The one with this serial number and every one renewed from it, directly or not.
    Lineage(Serial),
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Revocation::Serial(serial) => write!(f, "certificate {serial}"),
            Revocation::SpiffeId(id) => write!(f, "the certificates of {id}"),
            Revocation::Lineage(first) => write!(f, "the lineage of {first}"),
        }
    }
}

/// The certificates that a revocation selects among those recorded up to a position. Records never change, so
/// what was selected ahead of the decision stays selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The last position that was looked at.
    upto: u64,
    /// By position.
    certificates: BTreeMap<u64, Selected>,
    /// Others of the same key, for the case that it is compromised.
    same_key: BTreeMap<u64, Selected>,
    /// Of a lineage: the serial numbers of its certificates.
    lineage: HashSet<Serial>,
    /// Of a lineage whose keys are compromised: these keys. What has one of them belongs to it, and what is
    /// renewed from that, since it may have been obtained with a stolen key.
    keys: Option<HashSet<Vec<u8>>>,
}

/// A certificate to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) serial: Serial,
    pub(super) key_digest: Vec<u8>,
    pub(super) not_after: i64,
    pub(super) authority: Vec<u8>,
    pub(super) authority_generation: u32,
}

/// Selects among the certificates that are recorded now. Where the reason is that keys are compromised, that
/// concerns all certificates of those keys. Blocks while records are read from disk.
///
/// # Errors
/// `NOT_FOUND` if there is no certificate with the serial number, `STORE_UNAVAILABLE` if the journal cannot
/// be read.
pub fn select(store: &dyn Store, which: &Revocation, is_compromise: bool) -> Result<Selection, Refusal> {
    let mut selection = Selection::default();
    let head = store.head().position;
    match which {
        Revocation::Serial(serial) => {
            let found = inventory::by_serial(store, *serial)?.ok_or_else(|| unknown(*serial))?;
            selection.take(which, found.position, &found.issued)?;
        }
        Revocation::SpiffeId(id) => selection.read_identity(store, which, id.as_str(), head)?,
        Revocation::Lineage(serial) => {
            let found = inventory::by_serial(store, *serial)?.ok_or_else(|| unknown(*serial))?;
            selection.keys = is_compromise.then(HashSet::new);
            // A certificate renews its own identity. An earlier one may have the key of a later one.
            let mut known = usize::MAX;
            while known != selection.lineage.len() {
                known = selection.lineage.len();
                selection.read_identity(store, which, &found.issued.spiffe_id, head)?;
            }
        }
    }
    if is_compromise {
        selection.read_keys(store)?;
    }
    selection.upto = head;
    for _ in 0..PASSES {
        let head = store.head().position;
        if head - selection.upto <= FEW {
            break;
        }
        for position in selection.upto + 1..=head {
            if let Some(issued) = issued_at(store, position)? {
                selection.take(which, position, &issued)?;
            }
        }
        selection.upto = head;
    }
    Ok(selection)
}

impl Selection {
    /// The last position that was looked at.
    pub(super) fn upto(&self) -> u64 {
        self.upto
    }

    /// Looks at a certificate that was recorded after all that were looked at before.
    pub(super) fn take(&mut self, which: &Revocation, position: u64, issued: &Issued) -> Result<(), Refusal> {
        let selected = Selected::of(issued)?;
        let is_meant = match which {
            Revocation::Serial(serial) => selected.serial == *serial,
            Revocation::SpiffeId(id) => issued.spiffe_id == id.as_str(),
            Revocation::Lineage(first) => {
                let parent = Serial::from_bytes(&issued.parent);
                let is_child = parent.is_ok_and(|parent| self.lineage.contains(&parent));
                let keys = self.keys.as_ref();
                let has_key = keys.is_some_and(|keys| keys.contains(&selected.key_digest));
                let is_in_it = is_child || has_key || selected.serial == *first;
                if let (true, Some(keys)) = (is_in_it, &mut self.keys) {
                    keys.insert(selected.key_digest.clone());
                }
                is_in_it && self.lineage.insert(selected.serial)
            }
        };
        if is_meant {
            self.certificates.insert(position, selected);
        }
        Ok(())
    }

    /// What was selected, by position, and others of the same key.
    pub(super) fn into_parts(self) -> (BTreeMap<u64, Selected>, BTreeMap<u64, Selected>) {
        (self.certificates, self.same_key)
    }

    /// Looks at all certificates of the keys that were selected.
    fn read_keys(&mut self, store: &dyn Store) -> Result<(), Refusal> {
        let keys = self
            .certificates
            .values()
            .rev()
            .map(|selected| &selected.key_digest);
        let keys: BTreeSet<_> = keys.take(MAX_KEYS).cloned().collect();
        for key in keys {
            for position in store.find(field::KEY, fingerprint(&[&key]))? {
                if let Some(issued) = issued_at(store, position)?
                    && issued.key_digest == key
                {
                    self.same_key.insert(position, Selected::of(&issued)?);
                }
            }
        }
        Ok(())
    }

    /// Looks at the certificates of an identity up to `head`, in the order in which they were recorded.
    fn read_identity(
        &mut self,
        store: &dyn Store,
        which: &Revocation,
        id: &str,
        head: u64,
    ) -> Result<(), Refusal> {
        let positions = store.find(field::SPIFFE_ID, fingerprint(&[id.as_bytes()]))?;
        for position in positions.into_iter().rev().filter(|position| *position <= head) {
            if let Some(issued) = issued_at(store, position)? {
                self.take(which, position, &issued)?;
            }
        }
        Ok(())
    }
}

impl Selected {
    pub(super) fn of(issued: &Issued) -> Result<Self, Refusal> {
        let serial = Serial::from_bytes(&issued.serial).map_err(|e| {
            Refusal::new(
                Reason::Internal,
                format!("the journal holds a certificate without a serial number: {e}"),
            )
        })?;
        Ok(Self {
            serial,
            key_digest: issued.key_digest.clone(),
            not_after: issued.not_after,
            authority: issued.authority.clone(),
            authority_generation: issued.authority_generation,
        })
    }
}

/// The refusal of a serial number that no certificate has.
pub fn unknown(serial: Serial) -> Refusal {
    let message = format!("no certificate has the serial number {serial}; `signet cert list` shows them");
    Refusal::new(Reason::NotFound, message).with("name", serial)
}

fn issued_at(store: &dyn Store, position: u64) -> Result<Option<Issued>, Refusal> {
    Ok(store.entry(position)?.and_then(|entry| entry.issued))
}
