//! The manifests source: directories flow in, changes of their objects flow out, now and whenever the files change.
//! [`crate::changes`] calls it.
//!
//! inotify tells of changes at once; a periodic comparison finds what it missed. Nothing depends on either being
//! complete: every reload compares all files with what was read.

mod document;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod library;
mod scan;

pub use document::{ManifestPart, manifest_parts};

use crate::hold::Reading;
use crate::limits::{LONGEST_SETTLE, RESCAN_PERIOD, RESCAN_SHARE, SETTLE};
use crate::merge::{Event, Update};
use crate::selector::Selector;
use crate::{Kind, Object, Selection, SyncState};
use file::Selectors;
use library::{Difference, Library};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

/// Reads the manifests until the reader is gone.
pub(crate) async fn run(
    roots: Vec<PathBuf>,
    selections: Arc<[Selection]>,
    updates: mpsc::Sender<Update>,
    state: SyncState,
) {
    let mut directories = Directories::new(&roots);
    let mut library = Library::new(roots, parse(&selections));
    let mut first = true;
    loop {
        directories.watch();
        let reload = move || {
            let began = Instant::now();
            let difference = library.reload();
            (library, difference, began.elapsed())
        };
        let (difference, cost);
        (library, difference, cost) = match tokio::task::spawn_blocking(reload).await {
            Ok(reloaded) => reloaded,
            Err(error) => return tracing::error!(%error, "reading the manifests has failed"),
        };
        let error = library.error();
        for position in 0..selections.len() {
            state.answered(position, error.clone().map(|error| ("Unreadable", error)));
        }
        let sent = if first {
            send_all(&selections, &updates, difference).await
        } else {
            send_difference(&selections, &updates, difference).await
        };
        if sent.is_err() {
            return;
        }
        first = false;
        directories.changed(RESCAN_PERIOD.max(cost * RESCAN_SHARE)).await;
    }
}

fn parse(selections: &[Selection]) -> Selectors {
    let mut selectors = Selectors::new();
    for selection in selections {
        let of_kind = selectors.entry(selection.kind).or_default();
        match Selector::parse(selection) {
            Ok(selector) => of_kind.push(selector),
            Err(error) => tracing::error!(kind = %selection.kind, %error, "nothing is selected"),
        }
    }
    selectors
}

/// The first load: a list for each selection. The first selection of a kind stands for all of them.
async fn send_all(
    selections: &[Selection],
    updates: &mpsc::Sender<Update>,
    difference: Difference,
) -> Result<(), mpsc::error::SendError<Update>> {
    let mut by_kind: BTreeMap<Kind, Vec<Object>> = BTreeMap::new();
    for object in difference.applied {
        by_kind.entry(object.kind()).or_default().push(Arc::unwrap_or_clone(object));
    }
    for (selection, of) in selections.iter().enumerate() {
        let objects = by_kind.remove(&of.kind).unwrap_or_default();
        updates
            .send(Update {
                selection,
                event: Event::List { objects, kept: Vec::new(), reading: Reading::Certain, held: None },
            })
            .await?;
    }
    Ok(())
}

async fn send_difference(
    selections: &[Selection],
    updates: &mpsc::Sender<Update>,
    difference: Difference,
) -> Result<(), mpsc::error::SendError<Update>> {
    let position = |kind| selections.iter().position(|selection| selection.kind == kind);
    let deleted = difference.deleted.into_iter().map(|key| (key.kind, Event::Delete(key)));
    let applied = difference.applied.into_iter();
    let applied = applied.map(|object| (object.kind(), Event::Apply(Box::new(Arc::unwrap_or_clone(object)))));
    for (kind, event) in deleted.chain(applied) {
        if let Some(selection) = position(kind) {
            updates.send(Update { selection, event }).await?;
        }
    }
    Ok(())
}

/// The notifications of the file system about all roots.
struct Directories {
    roots: Vec<Root>,
    changed: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
}

struct Root {
    path: PathBuf,
    /// The device and inode that are watched: a directory that was made anew needs a new watch.
    watched: Option<(u64, u64)>,
}

impl Directories {
    fn new(roots: &[PathBuf]) -> Self {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading must not wake us.
            let by_reader =
                |kind: &EventKind| kind.is_access() && *kind != EventKind::Access(AccessKind::Close(AccessMode::Write));
            if !event.is_ok_and(|event| by_reader(&event.kind)) {
                notify.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, period = ?RESCAN_PERIOD, "no notifications about files; they are compared periodically");
            })
            .ok();
        let roots = roots.iter().map(|path| Root { path: path.clone(), watched: None }).collect();
        Self { roots, changed, watcher }
    }

    /// Watches the roots that are not watched yet. A root that cannot be watched is left to the periodic comparison.
    fn watch(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for root in &mut self.roots {
            let found = scan::identity(&root.path);
            if root.watched == found {
                continue;
            }
            if root.watched.take().is_some() {
                // The watch of a directory that is gone is gone with it.
                let _ = watcher.unwatch(&root.path);
            }
            if found.is_some() {
                match watcher.watch(&root.path, RecursiveMode::Recursive) {
                    Ok(()) => root.watched = found,
                    Err(error) => tracing::debug!(path = %root.path.display(), %error, "cannot be watched"),
                }
            }
        }
    }

    /// Waits for a change that has settled, or for the next periodic comparison.
    async fn changed(&self, period: Duration) {
        if timeout(period, self.changed.notified()).await.is_err() {
            return;
        }
        let latest = Instant::now() + LONGEST_SETTLE;
        while timeout_at(latest.min(Instant::now() + SETTLE), self.changed.notified()).await.is_ok()
            && Instant::now() < latest
        {}
    }
}

#[cfg(test)]
mod tests;
