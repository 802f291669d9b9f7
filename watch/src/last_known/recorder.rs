//! What is to be kept: the objects of each selection flow in as they come, and wait in the store until it writes. Without a
//! store all of it does nothing. `merge` calls it for everything that it takes in.

use super::{LastKnown, Store};
use crate::limits::{SNAPSHOT_FRESH, SNAPSHOT_PERIOD};
use crate::{Object, ObjectKey, Selection, SyncState};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Records the selections of one reader.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    store: Option<Store>,
    selections: BTreeMap<usize, Selection>,
}

impl Recorder {
    pub(crate) fn new(store: Option<Store>, selections: &[Selection]) -> Self {
        Self { store, selections: selections.iter().cloned().enumerate().collect() }
    }

    /// Records nothing.
    #[cfg(test)]
    pub(crate) fn off() -> Self {
        Self::default()
    }

    /// What is known of a selection; `None` where nothing is.
    pub(crate) fn load(&self, position: usize) -> Option<LastKnown> {
        self.store.as_ref()?.load(self.selections.get(&position)?)
    }

    /// See [`Store::patience`].
    pub(crate) fn patience(&self, oldest: SystemTime) -> Option<Duration> {
        Some(self.store.as_ref()?.patience(oldest, SystemTime::now()))
    }

    pub(crate) fn add(&mut self, position: usize, selection: &Selection) {
        self.selections.insert(position, selection.clone());
    }

    /// The selection is of no interest any more, and what was kept of it may be a secret.
    pub(crate) fn remove(&mut self, position: usize) {
        self.with(position, Store::forget);
        self.selections.remove(&position);
    }

    /// The selection holds these objects and no others.
    pub(crate) fn whole(&self, position: usize, objects: &[Object]) {
        self.with(position, |store, selection| {
            let objects: BTreeMap<_, _> = objects.iter().map(|object| (object.key(), store.encode(object))).collect();
            store.note(selection, |pending| (pending.whole, pending.listed, pending.objects) = (true, true, objects));
        });
    }

    /// What is kept of the selection is all of it, but for what is recorded from now on.
    pub(crate) fn listed(&self, position: usize) {
        self.with(position, |store, selection| store.note(selection, |pending| pending.listed = true));
    }

    pub(crate) fn apply(&self, position: usize, object: &Object) {
        self.with(position, |store, selection| {
            let encoded = store.encode(object);
            store.note(selection, |pending| {
                pending.objects.insert(object.key(), encoded);
            });
        });
    }

    pub(crate) fn delete(&self, position: usize, key: &ObjectKey) {
        self.with(position, |store, selection| {
            store.note(selection, |pending| {
                pending.objects.insert(key.clone(), None);
            });
        });
    }

    /// Writes for ever, where something has changed.
    pub(crate) fn keep(&self, state: SyncState) -> Option<impl Future<Output = ()> + Send + 'static> {
        let (store, selections) = (self.store.clone()?, self.selections.clone());
        Some(async move {
            loop {
                tokio::time::sleep(SNAPSHOT_PERIOD).await;
                let fresh = selections.iter().filter(|(position, _)| state.is_fresh(**position, SNAPSHOT_FRESH));
                let fresh: Vec<Selection> = fresh.map(|(_, selection)| selection.clone()).collect();
                let store = store.clone();
                let write = move || {
                    store.flush();
                    fresh.iter().for_each(|selection| store.touch(selection));
                };
                // Fails only with the runtime.
                drop(tokio::task::spawn_blocking(write).await);
            }
        })
    }

    fn with(&self, position: usize, record: impl FnOnce(&Store, &Selection)) {
        if let (Some(store), Some(selection)) = (&self.store, self.selections.get(&position)) {
            record(store, selection);
        }
    }
}
