//! The tree of a shared map: keys with their hashes flow in, values, entries and differences flow out. Nodes are shared by copies of a
//! map; whoever changes one that is shared makes a copy of it first, and of those above it. Called by `shared_map` alone.

use super::{Changed, hash_of};
use std::borrow::Borrow;
use std::hash::Hash;
use std::slice;
use std::sync::Arc;

/// A map, or the part of it whose keys have hashes that begin alike. It is a leaf if and only if it has at most [`LEAF`] entries or
/// is [`DEEPEST`], so two with the same keys look the same.
#[derive(Debug)]
pub(super) enum Node<K, V: ?Sized> {
    /// In the order of the keys. Nothing is allocated for none.
    Leaf(Option<Arc<Vec<Entry<K, V>>>>),
    Branch(Arc<Branch<K, V>>),
}

pub(super) type Entry<K, V> = (K, Arc<V>);

/// By the next bits of the hash.
#[derive(Debug)]
pub(super) struct Branch<K, V: ?Sized> {
    /// Of all below it.
    len: usize,
    children: [Node<K, V>; WIDTH],
}

impl<K, V: ?Sized> Clone for Node<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(entries.clone()),
            Self::Branch(branch) => Self::Branch(Arc::clone(branch)),
        }
    }
}

impl<K, V: ?Sized> Clone for Branch<K, V> {
    fn clone(&self) -> Self {
        Self { len: self.len, children: self.children.clone() }
    }
}

impl<K, V: ?Sized> Default for Node<K, V> {
    fn default() -> Self {
        Self::Leaf(None)
    }
}

impl<K, V: ?Sized> Node<K, V> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.as_ref().map_or(0, |entries| entries.len()),
            Self::Branch(branch) => branch.len,
        }
    }

    /// Whether the two are one node.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(None), Self::Leaf(None)) => true,
            (Self::Leaf(Some(one)), Self::Leaf(Some(other))) => Arc::ptr_eq(one, other),
            (Self::Branch(one), Self::Branch(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Every entry below it.
    pub(super) fn iter(&self) -> Entries<'_, K, V> {
        let mut entries = Entries { above: Vec::new(), here: [].iter() };
        entries.enter(self);
        entries
    }

    /// The entries of a leaf.
    fn entries(&self) -> &[Entry<K, V>] {
        match self {
            Self::Leaf(Some(entries)) => entries,
            _ => &[],
        }
    }
}

impl<K: Ord, V: ?Sized> Node<K, V> {
    pub(super) fn get<Q: Ord + ?Sized>(&self, hash: u64, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        let (mut node, mut depth) = (self, 0);
        while let Self::Branch(branch) = node {
            node = &branch.children[turn(hash, depth)];
            depth += 1;
        }
        let entries = node.entries();
        let at = place(entries, key).ok()?;
        Some(&entries[at].1)
    }
}

impl<K: Ord + Hash + Clone, V: ?Sized> Node<K, V> {
    /// `depth` is the node's own, as everywhere here.
    pub(super) fn insert(&mut self, hash: u64, depth: u32, key: K, value: Arc<V>) -> Option<Arc<V>> {
        match self {
            Self::Branch(branch) => {
                let branch = Arc::make_mut(branch);
                let known = branch.children[turn(hash, depth)].insert(hash, depth + 1, key, value);
                branch.len += usize::from(known.is_none());
                known
            }
            Self::Leaf(entries) => {
                let entries = Arc::make_mut(entries.get_or_insert_default());
                match place(entries, &key) {
                    Ok(at) => return Some(std::mem::replace(&mut entries[at].1, value)),
                    Err(at) => entries.insert(at, (key, value)),
                }
                if entries.len() > LEAF && depth < DEEPEST {
                    *self = Self::parted(std::mem::take(entries), depth);
                }
                None
            }
        }
    }

    /// A key that is there.
    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, hash: u64, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.remove_at(hash, 0, key)
    }

    fn remove_at<Q: Ord + ?Sized>(&mut self, hash: u64, depth: u32, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Branch(branch) => {
                let branch = Arc::make_mut(branch);
                let known = branch.children[turn(hash, depth)].remove_at(hash, depth + 1, key)?;
                branch.len -= 1;
                if branch.len <= LEAF {
                    *self = self.joined();
                }
                Some(known)
            }
            Self::Leaf(entries) => {
                let held = Arc::make_mut(entries.as_mut()?);
                let at = place(held, key).ok()?;
                let (_, known) = held.remove(at);
                if held.is_empty() {
                    *entries = None;
                }
                Some(known)
            }
        }
    }

    /// A branch of what is too much for a leaf.
    fn parted(entries: Vec<Entry<K, V>>, depth: u32) -> Self {
        let mut branch = Branch { len: 0, children: Default::default() };
        for (key, value) in entries {
            let hash = hash_of(&key);
            branch.children[turn(hash, depth)].insert(hash, depth + 1, key, value);
            branch.len += 1;
        }
        Self::Branch(Arc::new(branch))
    }

    /// A leaf of what is little enough for one.
    fn joined(&self) -> Self {
        let mut entries: Vec<_> = self.iter().map(|(key, value)| (key.clone(), Arc::clone(value))).collect();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self::Leaf((!entries.is_empty()).then(|| Arc::new(entries)))
    }
}

/// The entries below a node, branch after branch.
pub(super) struct Entries<'m, K, V: ?Sized> {
    above: Vec<slice::Iter<'m, Node<K, V>>>,
    here: slice::Iter<'m, Entry<K, V>>,
}

impl<'m, K, V: ?Sized> Entries<'m, K, V> {
    fn enter(&mut self, node: &'m Node<K, V>) {
        match node {
            Node::Leaf(_) => self.here = node.entries().iter(),
            Node::Branch(branch) => self.above.push(branch.children.iter()),
        }
    }
}

impl<'m, K, V: ?Sized> Iterator for Entries<'m, K, V> {
    type Item = (&'m K, &'m Arc<V>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.here.next() {
                return Some((key, value));
            }
            match self.above.last_mut()?.next() {
                Some(node) => self.enter(node),
                None => drop(self.above.pop()),
            }
        }
    }
}

/// What differs between two nodes at one place of two maps; what they share is not looked at.
pub(super) fn compare<'m, K: Ord, V: ?Sized>(
    before: &'m Node<K, V>,
    after: &'m Node<K, V>,
    changed: &mut Vec<Changed<'m, K, V>>,
) {
    if before.is_same(after) {
        return;
    }
    if let (Node::Branch(before), Node::Branch(after)) = (before, after) {
        for (before, after) in before.children.iter().zip(&after.children) {
            compare(before, after, changed);
        }
        return;
    }
    // One has a handful of entries at most.
    let sorted = |node: &'m Node<K, V>| {
        let mut entries: Vec<_> = node.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        entries
    };
    let mut old = sorted(before).into_iter().peekable();
    for (key, after) in sorted(after) {
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

fn place<K: Ord + Borrow<Q>, V: ?Sized, Q: Ord + ?Sized>(entries: &[Entry<K, V>], key: &Q) -> Result<usize, usize> {
    entries.binary_search_by(|(other, _)| other.borrow().cmp(key))
}

/// Which child of a branch.
fn turn(hash: u64, depth: u32) -> usize {
    usize::from((hash >> (depth * BITS)).to_le_bytes()[0]) % WIDTH
}

/// Children of a branch, ...
const WIDTH: usize = 1 << BITS;
/// ... one for each value of so many bits of the hash.
const BITS: u32 = 4;
/// Beyond this no bits are left.
const DEEPEST: u32 = u64::BITS / BITS;
/// Entries of a leaf that is not [`DEEPEST`]: a change copies one of them, and a branch for each step on the way.
pub(super) const LEAF: usize = 32;
