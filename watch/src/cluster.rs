//! The cluster source: a client and selections flow in, lists and watch events flow out, decoded at the door. One task a
//! selection; the only place that lists and watches the Kubernetes API. [`crate::changes`] calls it.
//!
//! It speaks list and watch through `kube::Client` rather than through the watcher of kube-runtime, because that one
//! hides bookmarks (so nobody could say when the server was last heard), resumes at the same version after an HTTP 410 at
//! the start of a watch, restarts a watch that ends at once without any pause, and loses a whole page to one object whose
//! metadata it cannot read.

mod failure;
mod observed;
mod reachability;
mod request;
mod review;

pub use observed::{Observations, ObserveError};
pub use review::{Asked, ReviewError, token_reviews};

use crate::backoff::Backoff;
use crate::limits::{CONFIRMATIONS, REMEMBERED_WARNINGS, SHORTEST_WATCH};
use crate::merge::{Event, Update};
use crate::{ClusterConfig, Object, ObjectKey, Selection, SyncState};
use failure::Failure;
use reachability::Reachability;
use request::{Listing, WatchStream};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// Starts the tasks of a cluster, one for each selection.
pub(crate) struct Cluster {
    client: kube::Client,
    reachability: Arc<Reachability>,
}

impl Cluster {
    pub(crate) fn new(config: &ClusterConfig) -> Self {
        Self { client: config.watcher.clone(), reachability: Arc::new(Reachability::new(config.server())) }
    }

    /// Starts the task of a selection.
    pub(crate) fn spawn(
        &self,
        position: usize,
        selection: Selection,
        updates: mpsc::Sender<Update>,
        state: &SyncState,
        tasks: &mut JoinSet<()>,
    ) -> AbortHandle {
        let watch = KindWatch {
            client: self.client.clone(),
            selection,
            position,
            updates,
            state: state.clone(),
            reachability: Arc::clone(&self.reachability),
            backoff: Backoff::default(),
            listed: false,
            reported: None,
            refusals: 0,
            warned: HashMap::new(),
        };
        tasks.spawn(watch.run())
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("server", &self.reachability.server()).finish_non_exhaustive()
    }
}

/// The watch of one selection.
struct KindWatch {
    client: kube::Client,
    selection: Selection,
    position: usize,
    updates: mpsc::Sender<Update>,
    state: SyncState,
    reachability: Arc<Reachability>,
    backoff: Backoff,
    /// Whether any list, a complete or a stand-in empty one, was sent.
    listed: bool,
    /// What was last logged and has not healed.
    reported: Option<Failure>,
    /// How many lists in a row ended with a missing kind or a missing permission.
    refusals: u32,
    /// The last warning about each undecodable object.
    warned: HashMap<ObjectKey, String>,
}

/// The reader of the changes is gone; the task ends.
struct Closed;

impl KindWatch {
    async fn run(mut self) {
        // Ends only with the reader.
        let Err(Closed) = self.list_and_watch().await;
    }

    async fn list_and_watch(&mut self) -> Result<std::convert::Infallible, Closed> {
        loop {
            match self.list().await {
                Ok((objects, kept, version)) => {
                    self.healed();
                    self.refusals = 0;
                    self.listed = true;
                    self.send(Event::List { objects, kept }).await?;
                    self.state.set_synced(self.position);
                    self.watch(version).await?;
                }
                Err(failure) => {
                    self.report(&failure);
                    self.stand_in(&failure).await?;
                    tokio::time::sleep(self.backoff.next()).await;
                }
            }
        }
    }

    /// A complete list, page by page: the decoded objects, the keys of those that cannot be decoded, and the version to
    /// watch from.
    async fn list(&mut self) -> Result<(Vec<Object>, Vec<ObjectKey>, String), Failure> {
        let (mut objects, mut kept) = (Vec::new(), Vec::new());
        let mut listing = Listing::new(&self.selection);
        while let Some(page) = listing.next_page(&self.client).await? {
            self.state.answered(self.position, None);
            for value in page {
                let key = key_of(&self.selection, &value);
                match self.decode(&key, value) {
                    Some(object) => objects.push(object),
                    None => kept.push(key),
                }
            }
        }
        Ok((objects, kept, listing.into_version()?))
    }

    /// Watches from a version until only a new list can help.
    async fn watch(&mut self, mut version: String) -> Result<(), Closed> {
        loop {
            let began = Instant::now();
            let before = version.clone();
            let Err(failure) = self.watch_once(&mut version).await? else {
                if began.elapsed() >= SHORTEST_WATCH {
                    self.backoff.reset();
                } else if version == before {
                    tokio::time::sleep(self.backoff.next()).await;
                }
                continue;
            };
            match failure {
                Failure::Expired | Failure::Missing | Failure::Garbled(_) => {
                    tracing::debug!(kind = %self.selection.kind, %failure, "listing again");
                    tokio::time::sleep(self.backoff.next()).await;
                    return Ok(());
                }
                failure => {
                    self.report(&failure);
                    tokio::time::sleep(self.backoff.next()).await;
                }
            }
        }
    }

    /// One watch request; moves the version along with what arrives.
    async fn watch_once(&mut self, version: &mut String) -> Result<Result<(), Failure>, Closed> {
        let mut stream = match WatchStream::open(&self.client, &self.selection, version).await {
            Ok(stream) => stream,
            Err(failure) => return Ok(Err(failure)),
        };
        self.healed();
        loop {
            let event = match stream.next().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(Ok(())),
                Err(failure) => return Ok(Err(failure)),
            };
            self.state.answered(self.position, None);
            self.backoff.reset();
            let (seen, event) = match event {
                request::WatchEvent::Put(value) => {
                    let key = key_of(&self.selection, &value);
                    (request::version_of(&value), self.decode(&key, value).map(|object| Event::Apply(Box::new(object))))
                }
                request::WatchEvent::Gone(value) => {
                    let key = key_of(&self.selection, &value);
                    self.warned.remove(&key);
                    (request::version_of(&value), Some(Event::Delete(key)))
                }
                request::WatchEvent::Bookmark(version) => (version, None),
            };
            if !seen.is_empty() {
                *version = seen;
            }
            if let Some(event) = event {
                self.send(event).await?;
            }
        }
    }

    /// Decides whether a failed list stands for an empty one.
    ///
    /// A kind that the cluster does not have is empty, at once if nothing was known of it. Without permission nothing is
    /// known: what was listed before stays. Any other failure says nothing about the objects.
    async fn stand_in(&mut self, failure: &Failure) -> Result<(), Closed> {
        self.refusals = if failure.is_refusal() { self.refusals + 1 } else { 0 };
        let confirmed = self.refusals >= CONFIRMATIONS;
        let empty = match failure {
            Failure::Missing => self.refusals == 1 && !self.listed || self.refusals == CONFIRMATIONS,
            Failure::Forbidden(_) => confirmed && !self.listed,
            _ => false,
        };
        if empty {
            self.listed = true;
            self.send(Event::List { objects: Vec::new(), kept: Vec::new() }).await?;
            self.state.set_synced(self.position);
        }
        Ok(())
    }

    fn decode(&mut self, key: &ObjectKey, value: Value) -> Option<Object> {
        match Object::decode(self.selection.kind, value) {
            Ok(object) => {
                self.warned.remove(key);
                Some(object)
            }
            Err(error) => {
                let text = format!("{}: {}", error.field, error.message);
                if self.warned.get(key) != Some(&text) {
                    tracing::warn!(
                        object = %error.object,
                        field = error.field,
                        "cannot be decoded, the last good version stays: {}", error.message
                    );
                    if self.warned.len() < REMEMBERED_WARNINGS {
                        self.warned.insert(key.clone(), text);
                    }
                }
                None
            }
        }
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.updates.send(Update { selection: self.position, event }).await.map_err(|_| Closed)
    }

    /// Notes that the server answers as it should.
    fn healed(&mut self) {
        self.reachability.reached();
        self.state.answered(self.position, None);
        if self.reported.take().is_some() {
            tracing::info!(kind = %self.selection.kind, server = self.reachability.server(), "listing works again");
        }
    }

    /// Logs a failure unless its like was logged last.
    fn report(&mut self, failure: &Failure) {
        let server = self.reachability.server();
        if let Failure::Unreachable(error) = failure {
            self.state.set_error(self.position, failure.to_string());
            self.reachability.lost(error);
            return;
        }
        self.reachability.reached();
        self.state.answered(self.position, Some(failure.to_string()));
        let kind = self.selection.kind;
        if self.reported.as_ref().is_some_and(|reported| reported.is_like(failure)) {
            return;
        }
        match failure {
            Failure::Missing => tracing::info!(
                %kind,
                server,
                "the cluster does not serve {}.{}; treated as empty until it does",
                kind.plural(),
                kind.api_version()
            ),
            Failure::Forbidden(message) => tracing::warn!(
                %kind,
                server,
                "no permission to list or watch {}: {message}; check the ClusterRole and its binding",
                kind.plural()
            ),
            failure => tracing::warn!(%kind, server, "{failure}"),
        }
        self.reported = Some(failure.clone());
    }
}

fn key_of(selection: &Selection, value: &Value) -> ObjectKey {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    ObjectKey::new(selection.kind, text("/metadata/namespace"), text("/metadata/name"))
}

#[cfg(test)]
mod tests;
