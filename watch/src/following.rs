//! Objects that other objects name, such as the Secret of passwords that an Ingress names: their keys flow in, a watch for
//! each flows out, of that one object. So a cluster's other Secrets are never read. [`crate::changes`] owns it.

use crate::cluster::Cluster;
use crate::feed::Follower;
use crate::limits::{FOLLOWED, FOLLOWED_OF_NAMESPACE};
use crate::merge::{Merge, Update};
use crate::{Change, ObjectKey, Selection, SyncState};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc::{Sender, WeakSender};
use tokio::task::{AbortHandle, JoinSet};

/// Who reads single objects.
#[derive(Debug)]
pub(crate) enum Door {
    /// This process.
    Cluster(Cluster),
    /// Another one, which hands them on.
    Feed(Follower),
}

impl Door {
    fn open(
        &self,
        position: usize,
        selection: Selection,
        key: &ObjectKey,
        updates: Sender<Update>,
        state: &SyncState,
        tasks: &mut JoinSet<()>,
    ) -> Followed {
        match self {
            Self::Cluster(cluster) => Followed::Task(cluster.spawn(position, selection, updates, state, tasks)),
            Self::Feed(feed) => {
                feed.follow(position, key);
                Followed::Wish(feed.clone())
            }
        }
    }
}

/// An object that is read.
#[derive(Debug)]
enum Followed {
    Task(AbortHandle),
    Wish(Follower),
}

impl Followed {
    fn end(&self, position: usize) {
        match self {
            Self::Task(task) => task.abort(),
            Self::Wish(feed) => feed.leave(position),
        }
    }
}

/// The watches of single objects.
#[derive(Debug)]
pub(crate) struct Following {
    door: Door,
    /// The position of the next selection.
    next: usize,
    /// Weak: the queue must end with the tasks that fill it.
    updates: WeakSender<Update>,
    followed: BTreeMap<ObjectKey, (usize, Followed)>,
    /// How many objects were left out last.
    left_out: usize,
}

impl Following {
    /// Nothing yet. Selections are numbered from `first`.
    pub(crate) fn new(door: Door, first: usize, updates: WeakSender<Update>) -> Self {
        Self { door, next: first, updates, followed: BTreeMap::new(), left_out: 0 }
    }

    /// Follows these objects and no others, and appends what is gone, or known of new ones from the snapshot on disk.
    pub(crate) fn follow(
        &mut self,
        wanted: &BTreeSet<ObjectKey>,
        merge: &mut Merge,
        state: &SyncState,
        tasks: &mut JoinSet<()>,
        gone: &mut Vec<Change>,
    ) {
        if self.followed.len() == wanted.len() && self.followed.keys().eq(wanted) {
            return;
        }
        let wanted = self.within_limits(wanted);
        self.followed.retain(|key, (position, followed)| {
            let kept = wanted.contains(key);
            if !kept {
                followed.end(*position);
                merge.remove(*position, gone);
            }
            kept
        });
        for key in wanted {
            // Without a sender all tasks have ended, and the reader starts over.
            let Some(updates) = self.updates.upgrade().filter(|_| !self.followed.contains_key(key)) else { continue };
            let name = format!("metadata.name={}", key.name);
            let selection = Selection::all(key.kind).namespace(&*key.namespace).fields(name);
            merge.add(self.next, &selection, gone);
            let followed = self.door.open(self.next, selection, key, updates, state, tasks);
            self.followed.insert(key.clone(), (self.next, followed));
            self.next += 1;
        }
        // Those that were aborted.
        while tasks.try_join_next().is_some() {}
    }

    /// Whether one of them was not looked for yet.
    pub(crate) fn awaits(&self, merge: &Merge) -> bool {
        self.followed.values().any(|(position, _)| !merge.is_listed(*position))
    }

    /// Takes all as looked for.
    pub(crate) fn await_no_longer(&self, merge: &mut Merge) {
        self.followed.values().for_each(|(position, _)| merge.await_no_longer(*position));
    }

    /// The first of each namespace, so that none takes the room of another; in one order, so that all programs agree.
    fn within_limits<'w>(&mut self, wanted: &'w BTreeSet<ObjectKey>) -> BTreeSet<&'w ObjectKey> {
        let mut of_namespace: BTreeMap<&str, usize> = BTreeMap::new();
        let first = wanted.iter().filter(|key| {
            let count = of_namespace.entry(&key.namespace).or_default();
            *count += 1;
            *count <= FOLLOWED_OF_NAMESPACE
        });
        let first: BTreeSet<&ObjectKey> = first.take(FOLLOWED).collect();
        let left_out = wanted.len() - first.len();
        if left_out != self.left_out && left_out > 0 {
            tracing::warn!(
                left_out,
                "more Secrets are named for passwords than are followed ({FOLLOWED_OF_NAMESPACE} of a namespace, {FOLLOWED} in all)"
            );
        }
        self.left_out = left_out;
        first
    }
}
