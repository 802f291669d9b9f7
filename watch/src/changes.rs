//! The stream of changes: a source and selections flow in, batches of [`Change`]s flow out. dns-sync reads it directly,
//! everything else through [`crate::snapshots`].

use crate::cluster::Cluster;
use crate::following::{Door, Following};
use crate::last_known::Recorder;
use crate::limits::QUEUED_UPDATES;
use crate::merge::{Merge, Standing, Update};
use crate::{Change, ObjectKey, Selection, Source, SyncState, manifests};
use std::collections::BTreeSet;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Starts to read a source. Must run on a Tokio runtime. A source that does not answer is retried for ever.
pub fn changes(source: Source, selections: Vec<Selection>) -> Changes {
    let state = SyncState::new(&selections);
    changes_into(source, selections, state)
}

/// As [`changes`], with the state written to a handle that outlives the stream.
pub(crate) fn changes_into(source: Source, selections: Vec<Selection>, state: SyncState) -> Changes {
    let (updates, queue) = mpsc::channel(QUEUED_UPDATES);
    let store = match &source {
        Source::Cluster(config) => config.store.clone(),
        Source::Feed(feed) => feed.store.clone(),
        Source::Manifests(_) => None,
    };
    let recorder = Recorder::new(store, &selections);
    let last_known: Vec<_> = (0..selections.len()).map(|position| recorder.load(position)).collect();
    let mut tasks = JoinSet::new();
    if let Some(keep) = recorder.keep(state.clone()) {
        tasks.spawn(keep);
    }
    let oldest = last_known.iter().flatten().map(|known| known.at).min();
    let patience = oldest.and_then(|oldest| recorder.patience(oldest)).map(|patience| Instant::now() + patience);
    let mut merge = Merge::new(&selections, recorder);
    for (position, last_known) in last_known.into_iter().enumerate() {
        if let Some(last_known) = last_known {
            state.set_snapshot(position, last_known.at);
            merge.shelve(position, last_known.objects);
        }
    }
    let mut following = None;
    match source {
        Source::Cluster(config) => {
            let cluster = Cluster::new(&config, &mut tasks);
            let first = selections.len();
            for (position, selection) in selections.into_iter().enumerate() {
                cluster.spawn(position, selection, updates.clone(), &state, &mut tasks);
            }
            following = Some(Following::new(Door::Cluster(cluster), first, updates.downgrade()));
        }
        Source::Feed(feed) => {
            let (first, weak) = (selections.len(), updates.downgrade());
            let (follower, reading) = feed.read(selections, updates, state.clone());
            tasks.spawn(reading);
            following = Some(Following::new(Door::Feed(follower), first, weak));
        }
        Source::Manifests(roots) => {
            tasks.spawn(manifests::run(roots, selections.into(), updates, state.clone()));
        }
    }
    Changes { queue, received: Vec::new(), merge, patience, following, state, tasks }
}

/// A stream of batches. Dropping it stops all its tasks.
#[derive(Debug)]
pub struct Changes {
    queue: mpsc::Receiver<Update>,
    received: Vec<Update>,
    merge: Merge,
    /// Until when the first lists are waited for before the snapshot on disk is used.
    patience: Option<Instant>,
    following: Option<Following>,
    state: SyncState,
    tasks: JoinSet<()>,
}

/// What was queued when the reader came for it.
#[derive(Debug)]
pub struct Batch {
    /// The changes in order. The first list of a kind comes as [`Change::Reset`] if the kind has one selection.
    pub changes: Vec<Change>,
    /// Whether something is known of every kind, these changes included: a complete list, or the snapshot on disk while
    /// the source does not answer. A kind that the cluster does not have counts as listed and empty.
    pub synced: bool,
}

/// How far what is known is to be trusted as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// A kind is known from the snapshot on disk alone: it may be served, and nothing may be written for it.
    Stale,
    /// A kind may not be read: what is absent may exist, so nothing may be withdrawn for its absence.
    Partial,
    /// Everything is as the source lists it.
    #[default]
    Live,
}

impl Changes {
    /// Waits for changes and takes all that are queued. Gives `None` only if every task of the source has ended, which
    /// only a panic or the end of the runtime does. Safe to cancel.
    pub async fn next(&mut self) -> Option<Batch> {
        let out_of_patience = async {
            match self.patience {
                Some(patience) => sleep_until(patience).await,
                None => std::future::pending().await,
            }
        };
        let mut changes = Vec::new();
        tokio::select! {
            biased;
            count = self.queue.recv_many(&mut self.received, QUEUED_UPDATES) => {
                if count == 0 {
                    return None;
                }
                let mut touched = BTreeSet::new();
                for update in self.received.drain(..) {
                    touched.insert(update.selection);
                    self.merge.take(update, &mut changes);
                }
                touched.into_iter().for_each(|position| self.note(position));
            }
            () = out_of_patience => {
                self.patience = None;
                self.unshelve(&mut changes);
            }
        }
        Some(Batch { changes, synced: self.merge.synced() })
    }

    /// Uses the snapshot on disk for what was not listed yet.
    fn unshelve(&mut self, changes: &mut Vec<Change>) {
        let positions = self.merge.unshelve(changes);
        if !positions.is_empty() {
            tracing::warn!(
                selections = positions.len(),
                "the API server has not answered yet: starting from the snapshot on disk, which may be out of date"
            );
        }
        positions.into_iter().for_each(|position| self.note(position));
    }

    fn note(&self, position: usize) {
        self.state.set_stock(position, self.merge.stock(position));
    }

    /// How far what is known is to be trusted.
    pub fn trust(&self) -> Trust {
        match self.merge.standing() {
            Standing::Waiting | Standing::Snapshot => Trust::Stale,
            Standing::Unknown => Trust::Partial,
            Standing::Missing | Standing::Live => Trust::Live,
        }
    }

    /// Reads these objects as well, one by one, and no others that were read so before. Gives what is gone with those, and what
    /// the snapshot on disk knows of new ones while it is served.
    /// Manifests are read whole; there is nothing to follow.
    pub(crate) fn follow(&mut self, wanted: &BTreeSet<ObjectKey>) -> Vec<Change> {
        let mut gone = Vec::new();
        if let Some(following) = &mut self.following {
            following.follow(wanted, &mut self.merge, &self.state, &mut self.tasks, &mut gone);
        }
        gone
    }

    /// Whether an object that is followed was not looked for yet.
    pub(crate) fn awaits_followed(&self) -> bool {
        self.following.as_ref().is_some_and(|following| following.awaits(&self.merge))
    }

    /// Waits no longer for those that were not.
    pub(crate) fn await_followed_no_longer(&mut self) {
        if let Some(following) = &self.following {
            following.await_no_longer(&mut self.merge);
        }
    }

    /// Whether every kind has completed its first list.
    pub(crate) fn synced(&self) -> bool {
        self.merge.synced()
    }

    /// The state of each kind.
    pub fn state(&self) -> SyncState {
        self.state.clone()
    }
}
