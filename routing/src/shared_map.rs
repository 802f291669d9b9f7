//! A map for snapshots: a writer changes a few entries of its copy, readers keep theirs, and the copies share the rest. Two
//! copies tell what differs between them in time that follows the difference and not their size, so that a reader can do
//! work for what changed alone, however many snapshots it has skipped.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Index;
use std::sync::Arc;

/// See the module head. A change copies one of 256 shards. The order of the entries is the same in every process, and none
/// that means anything.
pub struct SharedMap<K, V: ?Sized> {
    /// As many as [`SHARDS`], or none where the map has never held anything.
    shards: Arc<[Shard<K, V>]>,
    len: usize,
}

type Shard<K, V> = Option<Arc<BTreeMap<K, Arc<V>>>>;

/// An entry that differs between two maps: a new one, one with another value, or one that is gone.
#[derive(Debug)]
pub struct Changed<'m, K, V: ?Sized> {
    /// The key.
    pub key: &'m K,
    /// What the earlier map holds.
    pub before: Option<&'m Arc<V>>,
    /// What the later map holds.
    pub after: Option<&'m Arc<V>>,
}

impl<K, V: ?Sized> SharedMap<K, V> {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.shards.iter().flatten().flat_map(|shard| shard.iter())
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Every value.
    pub fn values(&self) -> impl Iterator<Item = &Arc<V>> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether the two are copies of one map that nothing was done to.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shards, &other.shards)
    }
}

impl<K: Ord + Hash, V: ?Sized> SharedMap<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + Hash + ?Sized>(&self, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.shards.get(shard_of(key))?.as_ref()?.get(key)
    }

    /// Whether there is a value of a key.
    pub fn contains_key<Q: Ord + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// What differs from an earlier map. Values are compared by their place, so a writer that leaves an equal value where it
    /// is makes no difference.
    pub fn changes_since<'m>(&'m self, before: &'m Self) -> Vec<Changed<'m, K, V>> {
        let mut changed = Vec::new();
        if self.is_same(before) {
            return changed;
        }
        for at in 0..SHARDS {
            let shards = [before, self].map(|map| map.shards.get(at).and_then(Option::as_ref));
            match shards {
                [Some(before), Some(after)] if Arc::ptr_eq(before, after) => {}
                [before, after] => {
                    compare(before.map(AsRef::as_ref), after.map(AsRef::as_ref), &mut changed);
                }
            }
        }
        changed
    }
}

impl<K: Ord + Hash + Clone, V: ?Sized> SharedMap<K, V> {
    /// Puts a value in, and gives the one that was there.
    pub fn insert(&mut self, key: K, value: Arc<V>) -> Option<Arc<V>> {
        if self.shards.is_empty() {
            self.shards = (0..SHARDS).map(|_| None).collect();
        }
        let shard = &mut Arc::make_mut(&mut self.shards)[shard_of(&key)];
        let known = Arc::make_mut(shard.get_or_insert_default()).insert(key, value);
        self.len += usize::from(known.is_none());
        known
    }

    /// Takes a value out, if there is one.
    pub fn remove<Q: Ord + Hash + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        // Nothing is copied in vain.
        self.get(key)?;
        let shard = Arc::make_mut(&mut self.shards)[shard_of(key)].as_mut()?;
        let known = Arc::make_mut(shard).remove(key);
        self.len -= usize::from(known.is_some());
        known
    }

    /// Puts a value in or takes it out.
    pub fn set(&mut self, key: K, value: Option<Arc<V>>) {
        match value {
            Some(value) => drop(self.insert(key, value)),
            None => drop(self.remove(&key)),
        }
    }
}

fn compare<'m, K: Ord, V: ?Sized>(
    before: Option<&'m BTreeMap<K, Arc<V>>>,
    after: Option<&'m BTreeMap<K, Arc<V>>>,
    changed: &mut Vec<Changed<'m, K, V>>,
) {
    let mut old = before.into_iter().flatten().peekable();
    for (key, after) in after.into_iter().flatten() {
        while let Some((key, before)) = old.next_if(|(old, _)| *old < key) {
            changed.push(Changed { key, before: Some(before), after: None });
        }
        let before = old.next_if(|(old, _)| *old == key).map(|(_, before)| before);
        if before.is_none_or(|before| !Arc::ptr_eq(before, after)) {
            changed.push(Changed { key, before, after: Some(after) });
        }
    }
    changed.extend(old.map(|(key, before)| Changed { key, before: Some(before), after: None }));
}

fn shard_of<Q: Hash + ?Sized>(key: &Q) -> usize {
    // Without a seed: within a shard the order of the keys counts, so that whoever chooses them wins nothing.
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::from(hasher.finish().to_le_bytes()[0])
}

impl<K, V: ?Sized> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards), len: self.len }
    }
}

impl<K, V: ?Sized> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { shards: Arc::from([]), len: 0 }
    }
}

impl<K: PartialEq, V: PartialEq + ?Sized> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (&Shard<K, V>, &Shard<K, V>)| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            (one, other) => [one, other].into_iter().flatten().all(|shard| shard.is_empty()),
        };
        self.len == other.len && (self.len == 0 || self.shards.iter().zip(&*other.shards).all(same))
    }
}

impl<K: Eq, V: Eq + ?Sized> Eq for SharedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug + ?Sized> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Hash + Borrow<Q>, Q: Ord + Hash + ?Sized, V: ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("indexed by a key that is there")
    }
}

impl<'m, K, V: ?Sized> IntoIterator for &'m SharedMap<K, V> {
    type Item = (&'m K, &'m Arc<V>);
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'm>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl<K: Ord + Hash + Clone, V: ?Sized> FromIterator<(K, Arc<V>)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<V>)>>(entries: I) -> Self {
        let mut map = Self::default();
        map.extend(entries);
        map
    }
}

impl<K: Ord + Hash + Clone, V: ?Sized, const N: usize> From<[(K, Arc<V>); N]> for SharedMap<K, V> {
    fn from(entries: [(K, Arc<V>); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Ord + Hash + Clone, V: ?Sized> Extend<(K, Arc<V>)> for SharedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, Arc<V>)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

/// A change copies a shard and the list of them: with some ten thousand entries about as much of each.
const SHARDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Map = SharedMap<u16, u8>;

    fn content(map: &Map) -> BTreeMap<u16, u8> {
        map.iter().map(|(key, value)| (*key, **value)).collect()
    }

    #[test]
    fn copies_share_the_shards_that_did_not_change() {
        let before: Map = (0..1000).map(|key| (key, Arc::new(0))).collect();
        let mut after = before.clone();
        assert!(after.is_same(&before) && after.remove(&5000).is_none() && after.is_same(&before));
        after.insert(7, Arc::new(1));
        let shared = before.shards.iter().zip(&*after.shards).filter(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => a.is_none() && b.is_none(),
        });
        assert_eq!(shared.count(), SHARDS - 1);
    }

    proptest! {
        /// Against the standard map: what is in it, and what differs between any two copies.
        #[test]
        fn it_holds_what_a_map_holds_and_tells_every_difference(
            steps in proptest::collection::vec((0_u16..40, proptest::option::of(0_u8..3)), 0..60),
            kept in 0_usize..60,
        ) {
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            let (mut before, mut before_model) = (map.clone(), model.clone());
            for (at, (key, value)) in steps.into_iter().enumerate() {
                if at == kept {
                    (before, before_model) = (map.clone(), model.clone());
                }
                map.set(key, value.map(Arc::new));
                match value {
                    Some(value) => drop(model.insert(key, value)),
                    None => drop(model.remove(&key)),
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.get(&key).map(|value| **value), model.get(&key).copied());
            }
            prop_assert_eq!(content(&map), model.clone());
            prop_assert_eq!(content(&before), before_model.clone(), "a copy stays as it was");
            let mut patched = before_model;
            for changed in map.changes_since(&before) {
                prop_assert_eq!(changed.before.map(|value| **value), patched.get(changed.key).copied());
                match changed.after {
                    Some(value) => drop(patched.insert(*changed.key, **value)),
                    None => drop(patched.remove(changed.key)),
                }
            }
            prop_assert_eq!(patched, model.clone());
            let fresh: Map = model.into_iter().map(|(key, value)| (key, Arc::new(value))).collect();
            prop_assert_eq!(fresh, map);
        }
    }
}
