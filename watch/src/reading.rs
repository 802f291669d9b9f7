//! One look at a source: options flow in; the objects as they are now, what the index makes of them, and what could not be
//! read flow out, or one line that says why there is nothing to see. Commands that answer one question call it; the same
//! lists and the same index as of the programs that run on, so that no answer differs from theirs.

use crate::changes::changes_into;
use crate::limits::FOLLOWED_PATIENCE;
use crate::{Change, IndexConfig, Kind, Object, ObjectKey, Selection, Snapshot, Source, SyncState};
use nearside_routing::{Index, Notice};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What a source holds at one moment.
#[derive(Debug)]
pub struct Reading {
    /// What the index makes of it.
    pub snapshot: Arc<Snapshot>,
    /// Every object, trimmed as always.
    pub objects: BTreeMap<ObjectKey, Object>,
    /// Of endpoints and the like, what is odd about them.
    pub notices: BTreeSet<Notice>,
    /// Kinds of which something could not be read, and why. What is said of them may be incomplete.
    pub incomplete: BTreeMap<Kind, String>,
}

/// There is nothing to see.
#[derive(Debug, thiserror::Error)]
#[error("not everything could be read within {} s: {reasons}", patience.as_secs())]
pub struct ReadingError {
    patience: Duration,
    reasons: String,
}

/// Reads a source once, within this time. Must run on a Tokio runtime. Nothing is watched any more when it returns.
///
/// # Errors
/// [`ReadingError`] names each kind that was not listed, and why where that is known.
pub async fn read_once(
    source: Source,
    selections: Vec<Selection>,
    config: IndexConfig,
    patience: Duration,
) -> Result<Reading, ReadingError> {
    let deadline = Instant::now() + patience;
    let state = SyncState::new(&selections);
    let mut changes = changes_into(source, selections, state.clone());
    let mut index = Index::new(config);
    let mut objects = BTreeMap::new();
    // Until when the objects that others name are waited for; one that is absent never comes.
    let mut followed_until: Option<Instant> = None;
    loop {
        let until = followed_until.map_or(deadline, |until| until.min(deadline));
        let batch = match timeout_at(until, changes.next()).await {
            Ok(Some(batch)) => batch.changes,
            Err(_) if changes.synced() => {
                changes.await_followed_no_longer();
                Vec::new()
            }
            // Nothing more comes, or not in time.
            Ok(None) | Err(_) => return Err(ReadingError { patience, reasons: reasons(&state) }),
        };
        for change in batch {
            keep(&mut objects, &change);
            index.apply(change);
        }
        for change in index.take_named_secrets().map(|named| changes.follow(&named)).unwrap_or_default() {
            keep(&mut objects, &change);
            index.apply(change);
        }
        if changes.synced() && !changes.awaits_followed() {
            break;
        }
        if changes.synced() {
            followed_until = followed_until.or_else(|| Some(Instant::now() + FOLLOWED_PATIENCE));
        }
    }
    let snapshot = index.publish();
    let notices = index.take_notices();
    let failed = |(kind, state): (Kind, crate::KindState)| Some((kind, state.error?));
    let incomplete = state.kinds().into_iter().filter_map(failed).collect();
    Ok(Reading { snapshot, objects, notices, incomplete })
}

fn keep(objects: &mut BTreeMap<ObjectKey, Object>, change: &Change) {
    match change {
        Change::Apply(object) => drop(objects.insert(object.key(), object.clone())),
        Change::Delete(key) => drop(objects.remove(key)),
        Change::Reset { kind, objects: all } => {
            objects.retain(|key, _| key.kind != *kind);
            objects.extend(all.iter().map(|object| (object.key(), object.clone())));
        }
    }
}

/// In one line; kinds with the same reason stand together.
fn reasons(state: &SyncState) -> String {
    let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (kind, state) in state.kinds().into_iter().filter(|(_, state)| !state.synced) {
        let reason = state.error.unwrap_or_else(|| "no answer yet".to_owned());
        by_reason.entry(reason).or_default().push(kind.plural());
    }
    let mut text = String::new();
    for (reason, kinds) in by_reason {
        let separator = if text.is_empty() { "" } else { "; " };
        // Writing to a text does not fail.
        let _ = write!(text, "{separator}{}: {reason}", kinds.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selections() -> Vec<Selection> {
        [Kind::Route, Kind::Service, Kind::Pod, Kind::Secret].map(Selection::all).into()
    }

    #[tokio::test]
    async fn a_directory_is_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let route = "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: web, namespace: shop}\n\
                     spec: {host: web.example.com, to: {kind: Service, name: web}}\n";
        std::fs::write(directory.path().join("route.yaml"), route).unwrap();
        let source = Source::Manifests(vec![directory.path().to_owned()]);
        let reading = read_once(source, selections(), IndexConfig::default(), Duration::from_secs(600)).await.unwrap();
        let key = ObjectKey::new(Kind::Route, "shop", "web");
        assert!(reading.objects.contains_key(&key) && reading.snapshot.verdicts.contains_key(&key));
        assert!(reading.incomplete.is_empty(), "{:?}", reading.incomplete);
    }
}
