//! One writer, many readers: changes of a source flow into an `Index` that one task owns, immutable snapshots flow out
//! to the proxy and the controller.

use crate::backoff::Backoff;
use crate::changes::{Trust, changes_into};
use crate::limits::FOLLOWED_PATIENCE;
use crate::pace::Pace;
use crate::verdict_log::VerdictLog;
use crate::{Change, IndexConfig, ObjectKey, Selection, Snapshot, Source, SyncState};
use nearside_routing::Index;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout_at};

/// Starts to read a source into an index. Must run on a Tokio runtime.
pub fn snapshots(source: Source, selections: Vec<Selection>, config: IndexConfig) -> Snapshots {
    let state = SyncState::new(&selections).with_snapshots();
    let (publisher, receiver) = watch::channel(None);
    let mut tasks = JoinSet::new();
    tasks.spawn(run(source, selections, config, state.clone(), publisher));
    Snapshots { receiver, state, _tasks: Arc::new(tasks) }
}

/// A reader of snapshots. Clones share one index; it stops when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Snapshots {
    receiver: watch::Receiver<Option<Published>>,
    state: SyncState,
    _tasks: Arc<JoinSet<()>>,
}

impl Snapshots {
    /// Waits for a snapshot that this reader has not seen; the first one comes when every kind has completed its first
    /// list. Versions between two calls are skipped. Safe to cancel.
    pub async fn next(&mut self) -> Arc<Snapshot> {
        self.next_with_trust().await.0
    }

    /// The same, with how far it is to be trusted: a snapshot comes again when only that has changed.
    pub async fn next_with_trust(&mut self) -> (Arc<Snapshot>, Trust) {
        loop {
            if self.receiver.changed().await.is_err() {
                // The writer ends only with the runtime; nothing newer will come.
                return std::future::pending().await;
            }
            if let Some((snapshot, trust)) = &*self.receiver.borrow_and_update() {
                return (Arc::clone(snapshot), *trust);
            }
        }
    }

    /// The latest snapshot; `None` before every kind has completed its first list.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        self.receiver.borrow().as_ref().map(|(snapshot, _)| Arc::clone(snapshot))
    }

    /// The state of each kind, for readiness pages and metrics.
    pub fn state(&self) -> SyncState {
        self.state.clone()
    }
}

type Published = (Arc<Snapshot>, Trust);
type Publisher = watch::Sender<Option<Published>>;

/// Reads the source for ever. An index that panics is rebuilt from a fresh list while readers keep the last snapshot.
async fn run(source: Source, selections: Vec<Selection>, config: IndexConfig, state: SyncState, publisher: Publisher) {
    let mut backoff = Backoff::default();
    let mut log = VerdictLog::default();
    loop {
        let mut changes = changes_into(source.clone(), selections.clone(), state.clone());
        let mut index = Index::new(config.clone());
        // Until when what is new waits for the objects that it names; `None` where there is nothing to wait for.
        let mut held: Option<Instant> = None;
        let mut pace = Pace::new(Instant::now().into_std());
        loop {
            let next = match held {
                Some(until) => timeout_at(until, changes.next()).await.ok(),
                None => Some(changes.next().await),
            };
            let batch = match next {
                Some(Some(batch)) => batch.changes,
                Some(None) => {
                    tracing::error!("the tasks that read the source have ended; starting over");
                    break;
                }
                None => {
                    changes.await_followed_no_longer();
                    Vec::new()
                }
            };
            let begin = Instant::now();
            let taken = take(index, batch).await;
            let taken = match taken {
                Ok((mut index, wanted)) => {
                    for change in wanted.map(|wanted| changes.follow(&wanted)).unwrap_or_default() {
                        index.apply(change);
                    }
                    let later = || Instant::now() + FOLLOWED_PATIENCE;
                    held = changes.awaits_followed().then(|| held.unwrap_or_else(later));
                    match changes.synced() && held.is_none() {
                        true => publish(index, log, changes.trust(), &publisher).await,
                        false => Ok((index, log)),
                    }
                }
                Err(error) => Err(error),
            };
            match taken {
                Ok((kept_index, kept_log)) => (index, log) = (kept_index, kept_log),
                Err(error) => {
                    tracing::error!(%error, "the index has failed; starting over from a fresh list");
                    log = VerdictLog::default();
                    break;
                }
            }
            // Those of a flood that come meanwhile are taken together. First lists are not held up.
            if changes.synced() {
                state.took_in(begin.elapsed());
                sleep(pace.rest(begin.into_std(), Instant::now().into_std())).await;
            }
        }
        sleep(backoff.next()).await;
    }
}

/// Applies changes, and gives the objects that are to be followed if they are others than before. On a blocking thread: ten thousand routes are read here.
async fn take(mut index: Index, changes: Vec<Change>) -> Result<(Index, Option<BTreeSet<ObjectKey>>), JoinError> {
    let work = move || {
        for change in changes {
            index.apply(change);
        }
        let wanted = index.take_named_secrets();
        (index, wanted)
    };
    spawn_blocking(work).await
}

/// Publishes. Compiling ten thousand routes takes long enough to stall a runtime thread, so it happens on a blocking one.
async fn publish(
    mut index: Index,
    mut log: VerdictLog,
    trust: Trust,
    publisher: &Publisher,
) -> Result<(Index, VerdictLog), JoinError> {
    let publisher = publisher.clone();
    let work = move || {
        let snapshot = index.publish();
        for notice in index.take_notices() {
            tracing::warn!(object = %notice.object, field = notice.field, "{}", notice.message);
        }
        log.note(&snapshot.verdicts);
        publisher.send_if_modified(|latest| {
            let same = |(latest, known): &Published| Arc::ptr_eq(latest, &snapshot) && *known == trust;
            let changed = !latest.as_ref().is_some_and(same);
            if changed {
                *latest = Some((snapshot, trust));
            }
            changed
        });
        (index, log)
    };
    spawn_blocking(work).await
}
