//! A map for snapshots: a writer changes a few entries of its copy, readers keep theirs, and the copies share the rest. Two
//! copies tell what differs between them in time that follows the difference and not their size, so that a reader can do
//! work for what changed alone, however many snapshots it has skipped.

mod node;

use node::Node;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Index;
use std::sync::Arc;

/// See the module head. A change copies a few small nodes, however large the map is. The order of the entries is the same in
/// every process, and none that means anything.
pub struct SharedMap<K, V: ?Sized> {
    root: Node<K, V>,
}

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
        self.root.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.root.iter()
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
        self.root.is_same(&other.root)
    }
}

impl<K: Ord + Hash, V: ?Sized> SharedMap<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + Hash + ?Sized>(&self, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.root.get(hash_of(key), key)
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
        node::compare(&before.root, &self.root, &mut changed);
        changed
    }
}

impl<K: Ord + Hash + Clone, V: ?Sized> SharedMap<K, V> {
    /// Puts a value in, and gives the one that was there.
    pub fn insert(&mut self, key: K, value: Arc<V>) -> Option<Arc<V>> {
        self.root.insert(hash_of(&key), 0, key, value)
    }

    /// Takes a value out, if there is one.
    pub fn remove<Q: Ord + Hash + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        let hash = hash_of(key);
        // Nothing is copied in vain.
        self.root.get(hash, key)?;
        self.root.remove(hash, key)
    }

    /// Puts a value in or takes it out.
    pub fn set(&mut self, key: K, value: Option<Arc<V>>) {
        match value {
            Some(value) => drop(self.insert(key, value)),
            None => drop(self.remove(&key)),
        }
    }
}

fn hash_of<Q: Hash + ?Sized>(key: &Q) -> u64 {
    // Without a seed: keys that are chosen to have one hash share a leaf, in which their order counts.
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl<K, V: ?Sized> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<K, V: ?Sized> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<K: PartialEq, V: PartialEq + ?Sized> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        // Maps with the same keys have the same nodes.
        self.len() == other.len() && (self.is_same(other) || self.iter().eq(other.iter()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Map = SharedMap<u16, u8>;

    fn content(map: &Map) -> BTreeMap<u16, u8> {
        map.iter().map(|(key, value)| (*key, **value)).collect()
    }

    #[test]
    fn a_change_of_a_large_map_copies_next_to_nothing_of_it() {
        let before: SharedMap<u32, u8> = (0..100_000).map(|key| (key, Arc::new(0))).collect();
        let mut after = before.clone();
        assert!(after.is_same(&before) && after.remove(&500_000).is_none() && after.is_same(&before));
        after.insert(7, Arc::new(1));
        assert!(!after.is_same(&before));
        // An entry of a node that both share has one owner more in neither of them.
        let copied = before.values().filter(|value| Arc::strong_count(value) > 1).count();
        assert!(copied < node::LEAF, "{copied} entries were copied");
    }

    #[test]
    fn keys_of_one_hash_are_all_held() {
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        struct Alike(u32);
        impl Hash for Alike {
            fn hash<H: Hasher>(&self, _: &mut H) {}
        }
        let mut map: SharedMap<Alike, u32> = (0..100).map(|key| (Alike(key), Arc::new(key))).collect();
        assert_eq!((map.len(), map.get(&Alike(77)).map(|value| **value)), (100, Some(77)));
        for key in 0..99 {
            assert!(map.remove(&Alike(key)).is_some());
        }
        assert_eq!(map, [(Alike(99), Arc::new(99))].into());
    }

    proptest! {
        /// Against the standard map: what is in it, and what differs between any two copies.
        #[test]
        fn it_holds_what_a_map_holds_and_tells_every_difference(
            // Few keys that meet again and again, and so many that nodes part and come together.
            steps in (1_u16..400).prop_flat_map(|keys| {
                proptest::collection::vec((0..keys, proptest::option::of(0_u8..3)), 0..usize::from(keys) * 2)
            }),
            kept in 0_usize..200,
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
