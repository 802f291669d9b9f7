//! The stream of changes: a source and selections flow in, batches of [`Change`]s flow out. dns-sync reads it directly,
//! everything else through [`crate::snapshots`].

use crate::cluster::Cluster;
use crate::following::Following;
use crate::limits::QUEUED_UPDATES;
use crate::merge::{Merge, Update};
use crate::{Change, ObjectKey, Selection, Source, SyncState, manifests};
use std::collections::BTreeSet;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Starts to read a source. Must run on a Tokio runtime. A source that does not answer is retried for ever.
pub fn changes(source: Source, selections: Vec<Selection>) -> Changes {
    let state = SyncState::new(&selections);
    changes_into(source, selections, state)
}

/// As [`changes`], with the state written to a handle that outlives the stream.
pub(crate) fn changes_into(source: Source, selections: Vec<Selection>, state: SyncState) -> Changes {
    let (updates, queue) = mpsc::channel(QUEUED_UPDATES);
    let merge = Merge::new(&selections);
    let mut tasks = JoinSet::new();
    let mut following = None;
    match source {
        Source::Cluster(config) => {
            let cluster = Cluster::new(&config);
            let first = selections.len();
            for (position, selection) in selections.into_iter().enumerate() {
                cluster.spawn(position, selection, updates.clone(), &state, &mut tasks);
            }
            following = Some(Following::new(cluster, first, updates.downgrade()));
        }
        Source::Manifests(roots) => {
            tasks.spawn(manifests::run(roots, selections.into(), updates, state.clone()));
        }
    }
    Changes { queue, received: Vec::new(), merge, following, state, tasks }
}

/// A stream of batches. Dropping it stops all its tasks.
#[derive(Debug)]
pub struct Changes {
    queue: mpsc::Receiver<Update>,
    received: Vec<Update>,
    merge: Merge,
    following: Option<Following>,
    state: SyncState,
    tasks: JoinSet<()>,
}

/// What was queued when the reader came for it.
#[derive(Debug)]
pub struct Batch {
    /// The changes in order. The first list of a kind comes as [`Change::Reset`] if the kind has one selection.
    pub changes: Vec<Change>,
    /// Whether every kind has completed its first list, these changes included. A kind that the cluster does not have
    /// counts as listed and empty.
    pub synced: bool,
}

impl Changes {
    /// Waits for changes and takes all that are queued. Gives `None` only if every task of the source has ended, which
    /// only a panic or the end of the runtime does. Safe to cancel.
    pub async fn next(&mut self) -> Option<Batch> {
        if self.queue.recv_many(&mut self.received, QUEUED_UPDATES).await == 0 {
            return None;
        }
        let mut changes = Vec::with_capacity(self.received.len());
        for update in self.received.drain(..) {
            self.merge.take(update, &mut changes);
        }
        Some(Batch { changes, synced: self.merge.synced() })
    }

    /// Reads these objects as well, one by one, and no others that were read so before. Gives what is gone with those.
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
