//! The objects, their revisions and a bounded history of changes. `registry` writes whole objects in; lists, snapshots
//! of older revisions and change feeds come out. One lock holds all of it, so a feed misses and repeats nothing.

use super::error::ApiError;
use super::object::{Key, set_meta};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// The objects of one kind, in list order.
pub(crate) type Collection = BTreeMap<Key, Arc<Value>>;

/// The changes of one kind, as they come.
pub(crate) type ChangeFeed = mpsc::Receiver<Arc<Change>>;

/// One revision of the store: what an object was and what it became.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) storage: Arc<str>,
    pub(crate) key: Key,
    /// `None` when the object was created.
    pub(crate) before: Option<Arc<Value>>,
    /// `None` when the object was removed.
    pub(crate) after: Option<Arc<Value>>,
    /// About how many bytes the history keeps for it.
    size: usize,
}

/// All state of the fake API server; it outlives restarts of the listeners.
#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
}

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct State {
    revision: u64,
    /// Changes up to this revision are forgotten.
    compacted: u64,
    collections: HashMap<Arc<str>, Collection>,
    history: VecDeque<Arc<Change>>,
    history_limit: usize,
    history_bytes: usize,
    feeds: Vec<Feed>,
    feed_limit: usize,
}

#[derive(Debug)]
struct Feed {
    storage: Arc<str>,
    sender: mpsc::Sender<Arc<Change>>,
}

impl Store {
    /// `history_limit` changes are kept for watches and paged lists; a feed with `feed_limit` unread changes is closed.
    pub(crate) fn new(history_limit: usize, feed_limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                revision: FIRST_REVISION,
                compacted: FIRST_REVISION,
                collections: HashMap::new(),
                history: VecDeque::new(),
                history_limit: history_limit.max(1),
                history_bytes: 0,
                feeds: Vec::new(),
                feed_limit: feed_limit.max(1),
            }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(&self, storage: &str, key: &Key) -> Option<Arc<Value>> {
        self.collections.get(storage)?.get(key).map(Arc::clone)
    }

    pub(crate) fn collection(&self, storage: &str) -> &Collection {
        static EMPTY: Collection = Collection::new();
        self.collections.get(storage).unwrap_or(&EMPTY)
    }

    /// Every object of a namespace, with its collection.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<(Arc<str>, Key)> {
        self.collections
            .iter()
            .flat_map(|(storage, objects)| objects.keys().map(move |key| (Arc::clone(storage), key.clone())))
            .filter(|(_, key)| key.namespace == namespace)
            .collect()
    }

    /// Stores an object at the next revision and tells the feeds. Returns it with its `resourceVersion`.
    pub(crate) fn put(&mut self, storage: &Arc<str>, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        set_meta(&mut object, "resourceVersion", Some(self.revision.to_string().into()));
        let object = Arc::new(object);
        let objects = self.collections.entry(Arc::clone(storage)).or_default();
        let before = objects.insert(key.clone(), Arc::clone(&object));
        self.record(storage, key, before, Some(Arc::clone(&object)));
        object
    }

    /// Removes an object at the next revision and tells the feeds.
    pub(crate) fn remove(&mut self, storage: &Arc<str>, key: &Key) -> Option<Arc<Value>> {
        let before = self.collections.get_mut(storage)?.remove(key)?;
        self.revision += 1;
        self.record(storage, key.clone(), Some(Arc::clone(&before)), None);
        Some(before)
    }

    fn record(&mut self, storage: &Arc<str>, key: Key, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        let size = after.as_deref().map_or(0, approximate_size);
        self.history_bytes += size;
        let change =
            Arc::new(Change { revision: self.revision, storage: Arc::clone(storage), key, before, after, size });
        self.feeds.retain(|feed| {
            if feed.storage == *storage {
                feed.sender.try_send(Arc::clone(&change)).is_ok()
            } else {
                !feed.sender.is_closed()
            }
        });
        self.history.push_back(change);
        while self.history.len() > self.history_limit || self.history_bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else { break };
            self.compacted = oldest.revision;
            self.history_bytes -= oldest.size;
        }
    }

    /// Forgets every change so far: older revisions are then answered with 410.
    pub(crate) fn compact(&mut self) {
        self.history.clear();
        self.history_bytes = 0;
        self.compacted = self.revision;
    }

    /// The collection as it was at `revision`.
    pub(crate) fn snapshot(&self, storage: &str, revision: u64) -> Result<Collection, ApiError> {
        self.check_revision(revision)?;
        let mut objects = self.collection(storage).clone();
        for change in self.history.iter().rev().take_while(|change| change.revision > revision) {
            if *change.storage == *storage {
                match &change.before {
                    Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                    None => objects.remove(&change.key),
                };
            }
        }
        Ok(objects)
    }

    /// 410 for a forgotten revision, 504 for one that is yet to come.
    pub(crate) fn check_revision(&self, revision: u64) -> Result<(), ApiError> {
        if revision > self.revision {
            return Err(ApiError::too_large_resource_version(revision, self.revision));
        }
        if revision < self.compacted {
            return Err(ApiError::expired(format!("too old resource version: {revision} ({})", self.compacted)));
        }
        Ok(())
    }

    /// The changes of a collection after `revision`, and a feed of those to come.
    pub(crate) fn follow(
        &mut self,
        storage: &Arc<str>,
        revision: u64,
    ) -> Result<(Vec<Arc<Change>>, ChangeFeed), ApiError> {
        self.check_revision(revision)?;
        let newer = self.history.partition_point(|change| change.revision <= revision);
        let backlog = self.history.range(newer..).filter(|change| change.storage == *storage).map(Arc::clone).collect();
        let (sender, receiver) = mpsc::channel(self.feed_limit);
        self.feeds.push(Feed { storage: Arc::clone(storage), sender });
        Ok((backlog, receiver))
    }
}

/// Bytes of an object in memory, roughly: its texts and a flat price for every value.
fn approximate_size(value: &Value) -> usize {
    const VALUE: usize = 64;
    VALUE
        + match value {
            Value::String(text) => text.len(),
            Value::Array(list) => list.iter().map(approximate_size).sum(),
            Value::Object(map) => map.iter().map(|(name, value)| name.len() + approximate_size(value)).sum(),
            _ => 0,
        }
}

/// What the history may hold beside its number of changes, in bytes.
const HISTORY_BYTES: usize = 256 * 1024 * 1024;

/// Not zero: `resourceVersion=0` means "any" to clients.
const FIRST_REVISION: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_snapshot_shows_the_past_until_the_history_is_compacted() {
        let store = Store::new(100, 10);
        let mut state = store.lock();
        let pods: Arc<str> = "pods".into();
        let key = Key::new("a", "x");
        state.put(&pods, key.clone(), json!({"v": 1}));
        let first = state.revision();
        state.put(&pods, key.clone(), json!({"v": 2}));
        state.put(&pods, Key::new("a", "y"), json!({"v": 1}));
        state.remove(&pods, &key);

        let past = state.snapshot("pods", first).expect("kept");
        assert_eq!(past.len(), 1);
        assert_eq!(past[&key]["v"], 1);
        state.compact();
        assert_eq!(state.snapshot("pods", first).expect_err("forgotten").code, 410);
        assert_eq!(state.snapshot("pods", state.revision() + 1).expect_err("unborn").code, 504);
    }

    #[test]
    fn large_objects_shorten_the_history() {
        let store = Store::new(1000, 2);
        let mut state = store.lock();
        let secrets: Arc<str> = "secrets".into();
        let first = state.revision();
        for _ in 0..300 {
            state.put(&secrets, Key::new("a", "x"), json!({"data": "x".repeat(1024 * 1024)}));
        }
        assert_eq!(state.snapshot("secrets", first).expect_err("too much to keep").code, 410);
        assert!(state.history.len() < 257);
    }

    #[test]
    fn a_feed_that_is_not_read_is_closed_instead_of_growing() {
        let store = Store::new(100, 2);
        let mut state = store.lock();
        let pods: Arc<str> = "pods".into();
        let revision = state.revision();
        let (_, mut feed) = state.follow(&pods, revision).expect("current");
        for n in 0..5 {
            state.put(&pods, Key::new("a", format!("p{n}")), json!({}));
        }
        assert!(feed.try_recv().is_ok() && feed.try_recv().is_ok());
        assert_eq!(feed.try_recv().expect_err("closed"), mpsc::error::TryRecvError::Disconnected);
    }
}
