//! Where the certificates that may still be valid are recorded, by 8-byte fingerprints: enough to know that a
//! key is not bound and that a certificate has no successor, which is the answer for nearly every request. A
//! hit is only a hint, confirmed in the journal.

mod keys;

use std::collections::HashMap;

use super::entry::field;
pub(super) use keys::KeyUse;
use keys::KeyUses;

/// Below this many it is not worth looking for what has expired. Few in tests, so that they come to it.
const PRUNE_FROM: usize = if cfg!(test) { 16 } else { 4096 };

/// Fingerprint to one position that has it. Fingerprints are cut from digests, but callers choose what is
/// digested: the hash is seeded.
type Positions = HashMap<u64, u64, foldhash::fast::RandomState>;

/// The first certificate renewed from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstChild {
    /// Where it is recorded.
    pub(super) position: u64,
    /// Fingerprint of its key. A decision compares it without a look into the journal: to find another key
    /// with the fingerprint of one that is given takes 2^64 attempts.
    pub(super) key: u64,
}

/// What the journal says of the certificate at a position, where only one field of it is at hand.
pub(super) struct Facts {
    /// Its notAfter in seconds since 1970, or a later time where that is not known.
    pub(super) expires: i64,
    /// Fingerprint of its key.
    pub(super) key: u64,
}

/// The positions for each field that decisions look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    /// Serial number to its certificate.
    serials: Positions,
    /// Parent to the first certificate renewed from it.
    first_children: HashMap<u64, FirstChild, foldhash::fast::RandomState>,
    /// Renewal request to the newest certificate that answers it.
    requests: Positions,
    /// Key to all its certificates.
    keys: KeyUses,
    /// Every certificate that matters at this time or later is here; `None` until what was recorded before a
    /// start has been read. In seconds since 1970.
    complete_from: Option<i64>,
    kept_at_prune: usize,
}

impl Bindings {
    /// The fields of a record's keys that are taken in.
    pub(super) const FIELDS: [u8; 4] = [field::SERIAL, field::KEY, field::PARENT, field::REQUEST];

    /// Of an empty journal: nothing is missing, whatever the time.
    pub(super) fn complete() -> Self {
        Self {
            complete_from: Some(i64::MIN),
            ..Self::default()
        }
    }

    /// Of a store that was just opened: nothing is known yet of what its journal holds.
    pub(super) fn partial() -> Self {
        Self::default()
    }

    /// Whether what is not found here may still be in the journal. That depends on the time: what had expired
    /// when it was left out is valid again for a clock that is set back.
    pub(super) fn is_partial(&self, now: i64) -> bool {
        self.complete_from.is_none_or(|from| now < from)
    }

    /// Takes in what the journal holds, read up to some time after this was made; what is here already is
    /// newer. Certificates that matter only before `complete_from` were left out.
    pub(super) fn complete_with(&mut self, mut before: Self, complete_from: i64) {
        for (newest, since) in [
            (&mut before.serials, &self.serials),
            (&mut before.requests, &self.requests),
        ] {
            since.iter().for_each(|(key, at)| keep_newest(newest, *key, *at));
        }
        for (parent, child) in &self.first_children {
            before.keep_first_child(*parent, *child);
        }
        before.keys.append(&self.keys);
        before.complete_from = Some(complete_from);
        before.kept_at_prune = before.serials.len();
        *self = before;
    }

    /// The position of the certificate with this serial number.
    pub(super) fn serial(&self, fingerprint: u64) -> Option<u64> {
        self.serials.get(&fingerprint).copied()
    }

    /// The first certificate renewed from this parent.
    pub(super) fn first_child(&self, fingerprint: u64) -> Option<FirstChild> {
        self.first_children.get(&fingerprint).copied()
    }

    /// The position of the newest certificate that answers this renewal request.
    pub(super) fn request(&self, fingerprint: u64) -> Option<u64> {
        self.requests.get(&fingerprint).copied()
    }

    /// The certificates of this key that were not revoked, the one that expires last first.
    pub(super) fn key(&self, fingerprint: u64) -> impl Iterator<Item = KeyUse> {
        self.keys.of(fingerprint)
    }

    /// Takes in a record's keys.
    pub(super) fn insert(&mut self, position: u64, keys: &[(u8, u64)]) {
        let of = |wanted| {
            keys.iter()
                .find(|(field, _)| *field == wanted)
                .map(|(_, value)| *value)
        };
        let expires = of(field::EXPIRY).map_or(i64::MAX, u64::cast_signed);
        let key = of(field::KEY).unwrap_or_default();
        for (field, fingerprint) in keys {
            self.insert_field(*field, [(*fingerprint, position)], |_| Facts { expires, key });
        }
    }

    /// Takes in fingerprints of one field with their positions; `facts` gives what else is known of the
    /// certificate at a position.
    pub(super) fn insert_field(
        &mut self,
        field: u8,
        keys: impl IntoIterator<Item = (u64, u64)>,
        facts: impl Fn(u64) -> Facts,
    ) {
        let keys = keys.into_iter();
        match field {
            field::SERIAL => {
                self.serials.reserve(keys.size_hint().0);
                keys.for_each(|(key, at)| keep_newest(&mut self.serials, key, at));
            }
            field::REQUEST => keys.for_each(|(key, at)| keep_newest(&mut self.requests, key, at)),
            field::PARENT => {
                for (parent, position) in keys {
                    let key = facts(position).key;
                    self.keep_first_child(parent, FirstChild { position, key });
                }
            }
            field::KEY => {
                self.keys.reserve(keys.size_hint().0);
                for (key, position) in keys {
                    let expires = facts(position).expires;
                    self.keys.insert(key, KeyUse { expires, position });
                }
            }
            _ => {}
        }
    }

    fn keep_first_child(&mut self, parent: u64, child: FirstChild) {
        let first = self.first_children.entry(parent).or_insert(child);
        if child.position < first.position {
            *first = child;
        }
    }

    /// A revoked certificate binds its key no more.
    pub(super) fn release_key(&mut self, fingerprint: u64, certificate: KeyUse) {
        self.keys.remove(fingerprint, certificate);
    }

    /// Whether it has doubled since the last prune.
    pub(super) fn is_due(&self) -> bool {
        self.serials.len() >= PRUNE_FROM.max(2 * self.kept_at_prune)
    }

    /// Drops what matters only before `bound`; `has_ended` says so of what is recorded at a position.
    pub(super) fn prune(&mut self, bound: i64, has_ended: impl Fn(u64) -> bool) {
        for positions in [&mut self.serials, &mut self.requests] {
            positions.retain(|_, position| !has_ended(*position));
            positions.shrink_to(2 * positions.len());
        }
        self.first_children.retain(|_, child| !has_ended(child.position));
        self.first_children.shrink_to(2 * self.first_children.len());
        self.keys.prune(bound);
        self.complete_from = self.complete_from.map(|from| from.max(bound));
        self.kept_at_prune = self.serials.len();
    }
}

/// When it was pruned last makes no difference to what it knows.
impl PartialEq for Bindings {
    fn eq(&self, other: &Self) -> bool {
        self.serials == other.serials
            && self.first_children == other.first_children
            && self.requests == other.requests
            && self.keys == other.keys
    }
}

fn keep_newest(positions: &mut Positions, fingerprint: u64, position: u64) {
    let newest = positions.entry(fingerprint).or_default();
    *newest = position.max(*newest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_since_the_start_stays_when_what_was_before_is_added() {
        let mut bindings = Bindings::partial();
        assert!(bindings.is_partial(i64::MAX));
        bindings.insert(
            9,
            &[
                (field::SERIAL, 2),
                (field::REQUEST, 3),
                (field::PARENT, 4),
                (field::EXPIRY, 50),
                (field::KEY, 1),
            ],
        );
        let mut before = Bindings::default();
        for field in [field::REQUEST, field::PARENT] {
            before.insert_field(field, [(3, 5), (4, 6)], |_| Facts { expires: 0, key: 8 });
        }
        before.insert_field(field::KEY, [(1, 3), (7, 4)], |_| Facts { expires: 40, key: 0 });
        bindings.complete_with(before, 10);
        assert!(!bindings.is_partial(10) && bindings.is_partial(9));
        assert_eq!(bindings.serial(2), Some(9));
        assert_eq!(bindings.request(3), Some(9), "the newest answers");
        assert_eq!(
            bindings.first_child(4),
            Some(FirstChild { position: 6, key: 8 }),
            "the first child stays the first"
        );
        let uses: Vec<_> = bindings
            .key(1)
            .map(|use_| (use_.expires, use_.position))
            .collect();
        assert_eq!(uses, [(50, 9), (40, 3)]);
    }

    #[test]
    fn what_was_pruned_is_missing_for_an_earlier_time() {
        let mut bindings = Bindings::complete();
        assert!(!bindings.is_partial(i64::MIN));
        bindings.insert(1, &[(field::KEY, 1), (field::EXPIRY, 100)]);
        bindings.insert(2, &[(field::KEY, 1), (field::EXPIRY, 200)]);
        bindings.prune(150, |position| position == 1);
        assert_eq!(bindings.key(1).count(), 1);
        assert!(bindings.is_partial(149) && !bindings.is_partial(150));
    }
}
