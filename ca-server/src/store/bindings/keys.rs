//! Which certificates a key has. One caller may have very many, so that their number must not matter to a
//! look-up.

use std::collections::{BTreeSet, HashMap};

/// A certificate of a key. The order is by expiry, then by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct KeyUse {
    /// Its notAfter in seconds since 1970, or a later time where that is not known.
    pub(in crate::store) expires: i64,
    /// Where it is recorded.
    pub(in crate::store) position: u64,
}

type Map<T> = HashMap<u64, T, foldhash::fast::RandomState>;

/// The certificates of each key, by the key's fingerprint.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct KeyUses {
    /// The certificate that expires last.
    last: Map<KeyUse>,
    /// All others of a key; nearly every key has a single certificate.
    others: Map<BTreeSet<KeyUse>>,
}

impl KeyUses {
    /// Those of one key, the one that expires last first.
    pub(super) fn of(&self, fingerprint: u64) -> impl Iterator<Item = KeyUse> {
        let others = self.others.get(&fingerprint).into_iter().flatten().rev();
        self.last.get(&fingerprint).into_iter().chain(others).copied()
    }

    pub(super) fn reserve(&mut self, more: usize) {
        self.last.reserve(more);
    }

    pub(super) fn insert(&mut self, fingerprint: u64, certificate: KeyUse) {
        let last = self.last.entry(fingerprint).or_insert(certificate);
        if *last == certificate {
            return;
        }
        let earlier = certificate.min(*last);
        *last = certificate.max(*last);
        self.others.entry(fingerprint).or_default().insert(earlier);
    }

    pub(super) fn append(&mut self, more: &Self) {
        for (fingerprint, certificate) in &more.last {
            self.insert(*fingerprint, *certificate);
        }
        for (fingerprint, others) in &more.others {
            others.iter().for_each(|other| self.insert(*fingerprint, *other));
        }
    }

    /// Removes one certificate, by its position if its expiry is not the one that is known here.
    pub(super) fn remove(&mut self, fingerprint: u64, certificate: KeyUse) {
        let Some(last) = self.last.get_mut(&fingerprint) else {
            return;
        };
        let others = self.others.get_mut(&fingerprint);
        if last.position == certificate.position {
            match others.and_then(BTreeSet::pop_last) {
                Some(next) => *last = next,
                None => drop(self.last.remove(&fingerprint)),
            }
        } else if let Some(others) = others
            && !others.remove(&certificate)
        {
            others.retain(|other| other.position != certificate.position);
        }
        if self.others.get(&fingerprint).is_some_and(BTreeSet::is_empty) {
            self.others.remove(&fingerprint);
        }
    }

    /// Drops those that expired before `bound`.
    pub(super) fn prune(&mut self, bound: i64) {
        self.last.retain(|_, last| last.expires >= bound);
        self.last.shrink_to(2 * self.last.len());
        self.others.retain(|_, others| {
            others.retain(|other| other.expires >= bound);
            !others.is_empty()
        });
        self.others.shrink_to(2 * self.others.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expires: i64, position: u64) -> KeyUse {
        KeyUse { expires, position }
    }

    #[test]
    fn the_last_to_expire_comes_first_whatever_was_added_or_removed() {
        let mut uses = KeyUses::default();
        let all = [of(30, 1), of(10, 2), of(50, 3), of(40, 4), of(50, 3)];
        all.iter().for_each(|certificate| uses.insert(7, *certificate));
        let positions = |uses: &KeyUses| uses.of(7).map(|found| found.position).collect::<Vec<_>>();
        assert_eq!(positions(&uses), [3, 4, 1, 2]);
        uses.remove(7, of(50, 3));
        uses.remove(7, of(99, 1));
        assert_eq!(
            positions(&uses),
            [4, 2],
            "also where the expiry was not known exactly"
        );
        uses.prune(20);
        assert_eq!(positions(&uses), [4]);
        uses.remove(7, of(40, 4));
        uses.remove(7, of(40, 4));
        assert_eq!(uses, KeyUses::default());
    }
}
