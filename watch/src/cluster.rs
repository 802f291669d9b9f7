//! The cluster source: a client and selections flow in, lists and watch events flow out, decoded at the door. One task a
//! selection; the only place that lists and watches the Kubernetes API. [`crate::changes`] calls it.
//!
//! It speaks list and watch through `kube::Client` rather than through the watcher of kube-runtime, because that one
//! hides bookmarks (so nobody could say when the server was last heard), resumes at the same version after an HTTP 410 at
//! the start of a watch, restarts a watch that ends at once without any pause, and loses a whole page to one object whose
//! metadata it cannot read.

pub(crate) mod connection;
mod failure;
mod list;
mod observed;
mod pulse;
mod reachability;
mod request;
mod review;
mod split;
mod watch_stream;

pub use observed::{Observation, Observations, ObserveError, Told};
pub(crate) use review::Reviews;
pub use review::{Asked, ReviewError, TokenReviews, token_reviews};

use crate::backoff::{Backoff, spread};
use crate::hold::Reading;
use crate::limits::{
    CONFIRM_AFTER, CONFIRMATIONS, LONGEST_RETRY_AFTER, RELIST_SPREAD, REMEMBERED_WARNINGS, RESYNC, SHORTEST_WATCH,
};
use crate::merge::{Event, Update};
use crate::{ClusterConfig, Object, ObjectKey, Selection, SyncState};
use failure::Failure;
use list::Streaming;
use pulse::Pulse;
use reachability::Reachability;
use request::{Decoded, Undecodable};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use watch_stream::{WatchEvent, WatchStream};

/// Starts the tasks of a cluster, one for each selection.
pub(crate) struct Cluster {
    client: kube::Client,
    reachability: Arc<Reachability>,
    streaming: Arc<Streaming>,
    pulse: Pulse,
}

impl Cluster {
    /// Starts to look after the server.
    pub(crate) fn new(config: &ClusterConfig, tasks: &mut JoinSet<()>) -> Self {
        let pulse = Pulse::new();
        tasks.spawn(pulse.clone().watch_over(config.watcher.clone()));
        let reachability = Arc::new(Reachability::new(config.server()));
        Self { client: config.watcher.clone(), reachability, streaming: Arc::default(), pulse }
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
            streaming: Arc::clone(&self.streaming),
            pulse: self.pulse.clone(),
            backoff: Backoff::default(),
            cause: Cause::First,
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
    streaming: Arc<Streaming>,
    pulse: Pulse,
    backoff: Backoff,
    /// Why the next list is made.
    cause: Cause,
    /// Whether any list, a complete or a stand-in empty one, was sent.
    listed: bool,
    /// What was last logged and has not healed.
    reported: Option<Failure>,
    /// How many lists in a row ended with a missing kind or a missing permission.
    refusals: u32,
    /// The last warning about each undecodable object.
    warned: HashMap<ObjectKey, String>,
}

/// What makes a list necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    First,
    /// The version to resume at is forgotten.
    Expired,
    /// The watch sent something unreadable.
    Garbled,
    /// The watch was answered with 404.
    Missing,
    /// The last list lacked so much that another one has to agree.
    Confirm,
    /// The server is at an older version than before.
    Behind,
    /// It is time.
    Resync,
}

impl Cause {
    fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Expired => "expired",
            Self::Garbled => "garbled",
            Self::Missing => "missing",
            Self::Confirm => "confirm",
            Self::Behind => "behind",
            Self::Resync => "resync",
        }
    }
}

/// How one watch request ended.
enum End {
    /// In order.
    Ended,
    Failed(Failure),
    /// It is time for another list.
    Due,
    /// It told of a version before that of the list.
    Behind,
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
                Ok(listed) => {
                    self.healed();
                    self.refusals = 0;
                    self.listed = true;
                    let cause = self.cause;
                    self.state.count(self.position, |counts| {
                        *(if listed.stream.is_some() {
                            &mut counts.streamed_lists
                        } else {
                            &mut counts.paged_lists
                        }) += 1;
                        if cause != Cause::First {
                            *counts.relists.entry(cause.word().into()).or_default() += 1;
                        }
                    });
                    let held = self.take_list(listed.objects, listed.kept).await?;
                    self.cause = self.watch(listed.version, listed.stream, held).await?;
                    tracing::debug!(kind = %self.selection.kind, cause = self.cause.word(), "listing again");
                }
                Err(failure) => {
                    self.report(&failure);
                    self.stand_in(&failure).await?;
                    self.pause(&failure).await;
                }
            }
        }
    }

    /// Hands a list over, and gives how many objects are held that it lacks.
    async fn take_list(&self, objects: Vec<Object>, kept: Vec<ObjectKey>) -> Result<usize, Closed> {
        let reading = if self.cause == Cause::Confirm { Reading::Second } else { Reading::First };
        let (held, answer) = oneshot::channel();
        self.send(Event::List { objects, kept, reading, held: Some(held) }).await?;
        let held = answer.await.map_err(|_| Closed)?;
        if held > 0 {
            tracing::warn!(
                kind = %self.selection.kind,
                held,
                "a list lacks many objects that were there before; they are kept until a second list agrees"
            );
        }
        Ok(held)
    }

    /// Watches from a version until only a new list can help, and says why.
    async fn watch(
        &mut self,
        mut version: String,
        mut stream: Option<WatchStream>,
        held: usize,
    ) -> Result<Cause, Closed> {
        let confirm = (held > 0).then(|| Instant::now() + CONFIRM_AFTER + spread(CONFIRM_AFTER));
        let resync = Instant::now() + RESYNC + spread(RESYNC / 2);
        let (due, cause) = confirm.map_or((resync, Cause::Resync), |confirm| (confirm, Cause::Confirm));
        loop {
            let began = Instant::now();
            let before = version.clone();
            match self.watch_once(&mut version, stream.take(), due).await? {
                End::Due => return Ok(cause),
                End::Behind => return Ok(Cause::Behind),
                End::Ended if began.elapsed() >= SHORTEST_WATCH => self.backoff.reset(),
                End::Ended if version == before => sleep(self.backoff.next()).await,
                End::Ended => {}
                End::Failed(failure) => {
                    let cause = match &failure {
                        Failure::Expired => Cause::Expired,
                        Failure::Missing => Cause::Missing,
                        Failure::Garbled(_) => Cause::Garbled,
                        failure => {
                            self.report(failure);
                            self.pause(failure).await;
                            continue;
                        }
                    };
                    tracing::debug!(kind = %self.selection.kind, %failure, "a watch cannot go on");
                    // A compaction meets the watches of every program at once.
                    sleep(self.backoff.next() + spread(RELIST_SPREAD)).await;
                    return Ok(cause);
                }
            }
        }
    }

    /// One watch request; moves the version along with what arrives.
    async fn watch_once(
        &mut self,
        version: &mut String,
        stream: Option<WatchStream>,
        due: Instant,
    ) -> Result<End, Closed> {
        let mut stream = match stream {
            Some(stream) => stream,
            None => match WatchStream::open(&self.client, &self.pulse, &self.selection, version).await {
                Ok(stream) => stream,
                Err(failure) => return Ok(End::Failed(failure)),
            },
        };
        self.healed();
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                () = sleep_until(due) => return Ok(End::Due),
            };
            let event = match next {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(End::Ended),
                Err(failure) => return Ok(End::Failed(failure)),
            };
            self.state.answered(self.position, None);
            let bytes = stream.take_bytes();
            let is_change = !matches!(event, WatchEvent::Bookmark { .. });
            self.state.count(self.position, |counts| {
                counts.bytes += bytes;
                counts.events += u64::from(is_change);
            });
            self.backoff.reset();
            // What comes twice, or after something newer, must not undo it; and versions do not run backwards.
            if is_older(event.version(), version) {
                match event {
                    WatchEvent::Bookmark { .. } => return Ok(End::Behind),
                    _ => continue,
                }
            }
            let seen = event.version().to_owned();
            let event = match event {
                WatchEvent::Put(decoded) if seen != *version || seen.is_empty() => {
                    self.accept(*decoded).ok().map(|object| Event::Apply(Box::new(object)))
                }
                WatchEvent::Gone(key, _) if seen != *version || seen.is_empty() => {
                    self.warned.remove(&key);
                    Some(Event::Delete(key))
                }
                _ => None,
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
    /// What was listed before stays in any case. Of a kind of which nothing is known, there is nothing while the cluster does
    /// not have it; and it is done without while there is no permission. Any other failure says nothing about the objects.
    async fn stand_in(&mut self, failure: &Failure) -> Result<(), Closed> {
        self.refusals = if failure.is_refusal() { self.refusals + 1 } else { 0 };
        let confirmed = self.refusals >= CONFIRMATIONS;
        let unknown = match failure {
            Failure::Missing => false,
            Failure::Forbidden { .. } if confirmed => true,
            _ => return Ok(()),
        };
        if !std::mem::replace(&mut self.listed, true) {
            self.send(Event::StandIn { unknown }).await?;
        }
        Ok(())
    }

    /// Waits before the next attempt, at least as long as the server asks.
    async fn pause(&mut self, failure: &Failure) {
        let asked = failure.wait().unwrap_or(Duration::ZERO).min(LONGEST_RETRY_AFTER);
        let own = self.backoff.next();
        sleep(if asked > own { asked + spread(asked / 4) } else { own }).await;
    }

    /// The object, or the key of one that cannot be decoded, of which was told.
    fn accept(&mut self, decoded: Decoded) -> Result<Object, ObjectKey> {
        match decoded {
            Ok(object) => {
                if !self.warned.is_empty() {
                    self.warned.remove(&object.key());
                }
                Ok(object)
            }
            Err(undecodable) => {
                let Undecodable { key, error, .. } = *undecodable;
                self.state.count(self.position, |counts| counts.undecodable += 1);
                let text = format!("{}: {}", error.field, error.message);
                if self.warned.get(&key) != Some(&text) {
                    tracing::warn!(
                        object = %error.object,
                        field = error.field,
                        "cannot be decoded, the last good version stays: {}", error.message
                    );
                    if self.warned.len() < REMEMBERED_WARNINGS {
                        self.warned.insert(key.clone(), text);
                    }
                }
                Err(key)
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
            self.state.set_error(self.position, failure.reason(), failure.to_string());
            self.reachability.lost(error);
            return;
        }
        self.reachability.reached();
        self.state.answered(self.position, Some((failure.reason(), failure.to_string())));
        let kind = self.selection.kind;
        if self.reported.as_ref().is_some_and(|reported| reported.is_like(failure)) {
            return;
        }
        match failure {
            Failure::Missing => tracing::info!(
                %kind,
                server,
                "the cluster does not serve {}.{}; what is known of it stays",
                kind.plural(),
                kind.api_version()
            ),
            failure => tracing::warn!(%kind, server, "{failure}"),
        }
        self.reported = Some(failure.clone());
    }
}

/// Whether a version is before another one: they are numbers that grow, where they are numbers.
fn is_older(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
