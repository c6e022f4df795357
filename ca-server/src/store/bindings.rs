//! Where the certificates that still count are recorded, by 8-byte fingerprints: enough to know that a key is not bound and that a
//! certificate has no successor, which is the answer for nearly every request. A hit is only a hint, confirmed in the record.

use std::collections::HashMap;

use super::entry::field;

/// Below this many it is not worth looking for what has ended.
const PRUNE_FROM: usize = 4096;

/// Fingerprint to the newest position that has it. Fingerprints are cut from digests, but callers choose what is digested: the hash
/// is seeded.
type Positions = HashMap<u64, u64, foldhash::fast::RandomState>;

/// The positions for each field that decisions look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    /// In the order of `FIELDS`.
    positions: [Positions; Self::FIELDS.len()],
    /// Until all that was recorded before a start has been read.
    is_partial: bool,
    kept_at_prune: usize,
}

impl Bindings {
    /// The fields of a record's keys that are taken in.
    pub(super) const FIELDS: [u8; 4] = [field::SERIAL, field::KEY, field::PARENT, field::CHILD];

    /// Of a store that was just opened: nothing is known yet of what its record holds.
    pub(super) fn partial() -> Self {
        Self {
            is_partial: true,
            ..Self::default()
        }
    }

    /// Whether what is not found here may still be in the record.
    pub(super) fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Adds what was recorded before the start, so that it is whole.
    pub(super) fn complete(&mut self, mut before: Self) {
        for (positions, since) in before.positions.iter_mut().zip(&self.positions) {
            take_in(
                positions,
                since
                    .iter()
                    .map(|(fingerprint, position)| (*fingerprint, *position)),
            );
        }
        before.is_partial = false;
        before.kept_at_prune = before.positions[0].len();
        *self = before;
    }

    /// The newest position whose record has this fingerprint in this field.
    pub(super) fn newest(&self, field: u8, fingerprint: u64) -> Option<u64> {
        self.positions[place(field)?].get(&fingerprint).copied()
    }

    /// Takes in a record's keys.
    pub(super) fn insert(&mut self, position: u64, keys: &[(u8, u64)]) {
        for (field, fingerprint) in keys {
            self.insert_field(*field, [(*fingerprint, position)]);
        }
    }

    /// Takes in fingerprints of one field with their positions. Older positions never take the place of newer ones.
    pub(super) fn insert_field(&mut self, field: u8, keys: impl IntoIterator<Item = (u64, u64)>) {
        if let Some(place) = place(field) {
            take_in(&mut self.positions[place], keys);
        }
    }

    /// Whether it has doubled since the last prune.
    pub(super) fn is_due(&self) -> bool {
        self.positions[0].len() >= PRUNE_FROM.max(2 * self.kept_at_prune)
    }

    /// Drops what is recorded at positions where every certificate has ended.
    pub(super) fn prune(&mut self, has_ended: impl Fn(u64) -> bool) {
        for positions in &mut self.positions {
            positions.retain(|_, position| !has_ended(*position));
            positions.shrink_to(2 * positions.len());
        }
        self.kept_at_prune = self.positions[0].len();
    }
}

/// When it was pruned last makes no difference to what it knows.
impl PartialEq for Bindings {
    fn eq(&self, other: &Self) -> bool {
        self.positions == other.positions && self.is_partial == other.is_partial
    }
}

fn place(field: u8) -> Option<usize> {
    Bindings::FIELDS.iter().position(|known| *known == field)
}

fn take_in(positions: &mut Positions, keys: impl IntoIterator<Item = (u64, u64)>) {
    let keys = keys.into_iter();
    positions.reserve(keys.size_hint().0);
    for (fingerprint, position) in keys {
        let newest = positions.entry(fingerprint).or_default();
        *newest = position.max(*newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_the_start_stays_when_what_was_before_is_added() {
        let mut bindings = Bindings::partial();
        bindings.insert(9, &[(field::KEY, 1), (field::SERIAL, 2)]);
        let mut before = Bindings::default();
        before.insert_field(field::KEY, [(1, 3), (7, 4)]);
        bindings.complete(before);
        assert!(!bindings.is_partial());
        let found = [1, 7, 8].map(|key| bindings.newest(field::KEY, key));
        assert_eq!(found, [Some(9), Some(4), None]);
        assert_eq!(bindings.newest(field::SERIAL, 2), Some(9));
    }
}
