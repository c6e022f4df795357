//! A map of which a changed copy shares almost everything with its original: readers keep the copy that they
//! have, and a change costs one of many parts, however large the whole is.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// About the root of the number of registrations of a large mesh: copying all handles and copying one part
/// cost the same.
const SHARDS: usize = 1 << u8::BITS;

/// A map from texts to values that are cheap to copy.
#[derive(Clone, Debug)]
pub(super) struct Shards<V> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<Arc<str>, V>>>,
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Arc::default()).collect(),
        }
    }
}

impl<V: Clone> Shards<V> {
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.shards[self.index(key)].get(key)
    }

    pub(super) fn insert(&mut self, key: &str, value: V) {
        let index = self.index(key);
        Arc::make_mut(&mut self.shards[index]).insert(key.into(), value);
    }

    /// Removes a key; a map that does not have it is left as it is, shared with its copies.
    pub(super) fn remove(&mut self, key: &str) -> Option<V> {
        let index = self.index(key);
        if !self.shards[index].contains_key(key) {
            return None;
        }
        Arc::make_mut(&mut self.shards[index]).remove(key)
    }

    /// Changes the value of a key in place, a new one if there is none; a value that `change` does not want
    /// to keep is removed.
    pub(super) fn update(&mut self, key: &str, change: impl FnOnce(&mut V) -> bool)
    where
        V: Default,
    {
        let index = self.index(key);
        let shard = Arc::make_mut(&mut self.shards[index]);
        let keep = match shard.get_mut(key) {
            Some(value) => change(value),
            None => change(shard.entry(key.into()).or_default()),
        };
        if !keep {
            shard.remove(key);
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    fn index(&self, key: &str) -> usize {
        // One byte of the hash has as many values as there are parts.
        usize::from(self.hasher.hash_one(key).to_be_bytes()[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_changed_without_its_original_and_shares_the_other_parts() {
        let mut original = Shards::default();
        for number in 0..10_000_u32 {
            original.insert(&number.to_string(), number);
        }
        let mut copy = original.clone();
        copy.insert("7", 70);
        copy.remove("8");
        copy.update("7", |value| {
            *value += 1;
            true
        });
        copy.update("9", |_| false);
        copy.update("new", |_| false);
        assert_eq!(copy.remove("absent"), None);
        assert_eq!((original.get("7"), original.get("8")), (Some(&7), Some(&8)));
        assert_eq!((copy.get("7"), copy.get("8")), (Some(&71), None));
        assert_eq!(
            (original.values().count(), copy.values().count()),
            (10_000, 9_998)
        );
        let pairs = original.shards.iter().zip(&copy.shards);
        let copied = pairs.filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert!((1..=4).contains(&copied), "{copied}");
    }
}
