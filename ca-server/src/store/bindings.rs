//! Where the certificates that still count are recorded, by 8-byte fingerprints: enough to know that a key is not bound and that a
//! certificate has no successor, which is the answer for nearly every request. A hit is only a hint, confirmed in the record.

use std::collections::HashMap;

use super::entry::field;

/// Below this many it is not worth looking for what has ended.
const PRUNE_FROM: usize = 4096;

/// Fingerprint to the newest position that has it, for each field that decisions look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    serials: HashMap<u64, u64>,
    keys: HashMap<u64, u64>,
    parents: HashMap<u64, u64>,
    children: HashMap<u64, u64>,
    kept_at_prune: usize,
}

impl Bindings {
    /// The fields of a record's keys that are taken in.
    pub(super) const FIELDS: [u8; 4] = [field::SERIAL, field::KEY, field::PARENT, field::CHILD];

    /// The newest position whose record has this fingerprint in this field.
    pub(super) fn newest(&self, field: u8, fingerprint: u64) -> Option<u64> {
        self.map(field)?.get(&fingerprint).copied()
    }

    /// Takes in a record's keys. Older positions never take the place of newer ones.
    pub(super) fn insert(&mut self, position: u64, keys: &[(u8, u64)]) {
        for (field, fingerprint) in keys {
            if let Some(map) = self.map_mut(*field) {
                let newest = map.entry(*fingerprint).or_default();
                *newest = position.max(*newest);
            }
        }
    }

    /// Whether it has doubled since the last prune.
    pub(super) fn is_due(&self) -> bool {
        self.serials.len() >= PRUNE_FROM.max(2 * self.kept_at_prune)
    }

    /// Drops what is recorded at positions where every certificate has ended.
    pub(super) fn prune(&mut self, has_ended: impl Fn(u64) -> bool) {
        for map in [
            &mut self.serials,
            &mut self.keys,
            &mut self.parents,
            &mut self.children,
        ] {
            map.retain(|_, position| !has_ended(*position));
            map.shrink_to(2 * map.len());
        }
        self.kept_at_prune = self.serials.len();
    }

    fn map(&self, field: u8) -> Option<&HashMap<u64, u64>> {
        match field {
            field::SERIAL => Some(&self.serials),
            field::KEY => Some(&self.keys),
            field::PARENT => Some(&self.parents),
            field::CHILD => Some(&self.children),
            _ => None,
        }
    }

    fn map_mut(&mut self, field: u8) -> Option<&mut HashMap<u64, u64>> {
        match field {
            field::SERIAL => Some(&mut self.serials),
            field::KEY => Some(&mut self.keys),
            field::PARENT => Some(&mut self.parents),
            field::CHILD => Some(&mut self.children),
            _ => None,
        }
    }
}

/// When it was pruned last makes no difference to what it knows.
impl PartialEq for Bindings {
    fn eq(&self, other: &Self) -> bool {
        self.serials == other.serials
            && self.keys == other.keys
            && self.parents == other.parents
            && self.children == other.children
    }
}
