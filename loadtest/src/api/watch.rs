//! One watch: a query goes in, a stream of event lines comes out, until its time is over, the client leaves or a fault
//! ends it. `http` starts one task a watch. Semantics: "Efficient detection of changes" of the Kubernetes API concepts.

use super::error::{ApiError, Cause};
use super::event_conversion::to_served;
use super::faults::{Fault, Faults, WatchSignal};
use super::kinds::ResourceKind;
use super::object::{Key, set_meta};
use super::registry::Registry;
use super::representation::Form;
use super::selector::Selectors;
use super::store::{Change, ChangeFeed, State};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

/// The parameters of a watch.
#[derive(Clone, Debug)]
pub(crate) struct WatchQuery {
    /// `None` for all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) selectors: Selectors,
    /// 0 for unset or `0`.
    pub(crate) revision: u64,
    pub(crate) resource_version_match: String,
    pub(crate) bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) timeout: Duration,
    pub(crate) form: Form,
}

/// A watch that has begun: what it has to send first, and where the rest comes from.
pub(crate) struct Watch {
    kind: Arc<ResourceKind>,
    query: WatchQuery,
    /// What is due at once; made into lines when the lock is released.
    initial: Vec<Initial>,
    feed: ChangeFeed,
    signals: broadcast::Receiver<WatchSignal>,
    is_hung: bool,
    is_over: bool,
    sent_revision: u64,
    bookmark_interval: Duration,
    faults: Faults,
    /// Cut after so many of the first things.
    cut_after: Option<usize>,
    /// The last event, where events come twice.
    last: Option<Bytes>,
}

/// One of the first things a watch sends.
enum Initial {
    Object(Key, Arc<Value>),
    Change(Arc<Change>),
    Line(Bytes),
}

impl WatchQuery {
    /// 422 for parameters that do not go together.
    pub(crate) fn check(&self, kind: &ResourceKind) -> Result<(), ApiError> {
        let cause = match (self.send_initial_events, self.resource_version_match.as_str()) {
            (None, "") | (Some(_), "NotOlderThan") => return Ok(()),
            (None, _) => Cause::forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
            (Some(_), _) => Cause::forbidden(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
        };
        Err(ApiError::invalid(kind, "", &[cause]))
    }

    fn sees(&self, kind: &ResourceKind, namespace: &str, object: &Value) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && (self.selectors.is_empty() || self.selectors.matches(&to_served(kind, object.clone())))
    }

    fn line(&self, kind: &ResourceKind, event: &str, object: Value) -> Bytes {
        let object = self.form.object(kind, to_served(kind, object));
        line(event, &object)
    }
}

impl Watch {
    /// Begins a watch: from here on nothing is missed.
    pub(crate) fn begin(
        registry: &Registry,
        faults: &Faults,
        kind: &Arc<ResourceKind>,
        query: WatchQuery,
        bookmark_interval: Duration,
    ) -> Result<Self, ApiError> {
        let signals = faults.signals();
        let mut state = registry.store.lock();
        let wants_all = query.send_initial_events.unwrap_or(query.revision == 0);
        if query.revision > state.revision() {
            return Err(ApiError::too_large_resource_version(query.revision, state.revision()));
        }
        let begin = if wants_all || query.revision == 0 { state.revision() } else { query.revision };
        let mut watch = Self {
            kind: Arc::clone(kind),
            query,
            initial: Vec::new(),
            feed: mpsc::channel(1).1,
            signals,
            is_hung: faults.hangs(&kind.plural),
            is_over: false,
            sent_revision: begin,
            bookmark_interval,
            faults: faults.clone(),
            cut_after: None,
            last: None,
        };
        if wants_all {
            watch.send_all(&state);
        }
        match state.follow(&kind.storage, begin) {
            Ok((backlog, feed)) => {
                watch.sent_revision = backlog.last().map_or(begin, |change| change.revision);
                watch.initial.extend(backlog.into_iter().map(Initial::Change));
                watch.feed = feed;
            }
            // The real server has sent its headers by then.
            Err(error) => {
                watch.initial = vec![Initial::Line(line("ERROR", &error.status()))];
                watch.is_over = true;
            }
        }
        Ok(watch)
    }

    /// The same, as a list that meets these faults.
    pub(crate) fn with(mut self, faults: &[Fault]) -> Self {
        let objects = self.initial.iter().filter(|first| matches!(first, Initial::Object(..))).count();
        for fault in faults {
            match fault {
                Fault::EmptyList => self.shorten(0),
                Fault::ShortList(length) => self.shorten(*length),
                Fault::TruncatedBody => self.cut_after = Some(objects / 2),
                Fault::Answer { .. } | Fault::Delay(_) => {}
            }
        }
        self
    }

    fn shorten(&mut self, length: usize) {
        let mut left = length;
        self.initial.retain(|first| match first {
            Initial::Object(..) if left == 0 => false,
            Initial::Object(..) => {
                left -= 1;
                true
            }
            _ => true,
        });
    }

    fn send_all(&mut self, state: &State) {
        for (key, object) in state.collection(&self.kind.storage) {
            self.initial.push(Initial::Object(key.clone(), Arc::clone(object)));
        }
        if self.query.send_initial_events == Some(true) && self.query.bookmarks {
            let mut end = self.bookmark(state.revision());
            end["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
            self.initial.push(Initial::Line(line("BOOKMARK", &self.query.form.object(&self.kind, end))));
        }
    }

    fn bookmark(&self, revision: u64) -> Value {
        json!({
            "kind": self.kind.kind, "apiVersion": self.kind.api_version(),
            "metadata": {"resourceVersion": revision.to_string(), "creationTimestamp": null},
        })
    }

    /// What a change looks like through the selectors: an object that begins to match is added, one that ceases to
    /// match is deleted.
    fn event(&self, change: &Change) -> Option<Bytes> {
        let sees = |object: &Option<Arc<Value>>| {
            object.as_ref().is_some_and(|object| self.query.sees(&self.kind, &change.key.namespace, object))
        };
        let (event, object) = match (sees(&change.before), sees(&change.after)) {
            (false, true) => ("ADDED", change.after.as_ref()?),
            (true, true) => ("MODIFIED", change.after.as_ref()?),
            (true, false) => ("DELETED", change.before.as_ref()?),
            (false, false) => return None,
        };
        let mut object = Value::clone(object);
        set_meta(&mut object, "resourceVersion", Some(json!(change.revision.to_string())));
        Some(self.query.line(&self.kind, event, object))
    }

    /// Sends events until the watch is over. Ends by itself; dropping the receiver of `lines` ends it too.
    pub(crate) async fn run(mut self, registry: Arc<Registry>, lines: mpsc::Sender<io::Result<Bytes>>) {
        for (number, first) in std::mem::take(&mut self.initial).into_iter().enumerate() {
            self.faults.thawed().await;
            if self.cut_after.is_some_and(|cut_after| number >= cut_after) {
                let _ = lines.send(Err(io::ErrorKind::ConnectionReset.into())).await;
                return;
            }
            let line = match first {
                Initial::Object(key, object) => self
                    .query
                    .sees(&self.kind, &key.namespace, &object)
                    .then(|| self.query.line(&self.kind, "ADDED", Value::clone(&object))),
                Initial::Change(_) if self.faults.loses(&self.kind.plural) => None,
                Initial::Change(change) => self.event(&change),
                Initial::Line(line) => Some(line),
            };
            if let Some(line) = line.filter(|_| !self.is_hung)
                && lines.send(Ok(line)).await.is_err()
            {
                return;
            }
        }
        if self.is_over {
            return;
        }
        let deadline = sleep(self.query.timeout);
        tokio::pin!(deadline);
        let mut bookmarks = interval_at(Instant::now() + self.bookmark_interval, self.bookmark_interval);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.is_hung {
                lines.closed().await;
                return;
            }
            tokio::select! {
                () = lines.closed() => return,
                () = &mut deadline => return,
                signal = self.signals.recv() => match signal {
                    Ok(WatchSignal::End { cut, .. }) if signal.as_ref().is_ok_and(|end| end.concerns(&self.kind.plural)) => {
                        if cut {
                            let _ = lines.send(Err(io::ErrorKind::ConnectionReset.into())).await;
                        }
                        return;
                    }
                    Ok(ref hang @ WatchSignal::Hang { .. }) if hang.concerns(&self.kind.plural) => self.is_hung = true,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                },
                change = self.feed.recv() => {
                    let Some(change) = change else { return };
                    if !self.forward(&change, &lines).await {
                        return;
                    }
                }
                _ = bookmarks.tick(), if self.query.bookmarks => {
                    // Read before draining: every change up to it is in the feed by now.
                    let revision = registry.store.lock().revision();
                    while let Ok(change) = self.feed.try_recv() {
                        if !self.forward(&change, &lines).await {
                            return;
                        }
                    }
                    self.sent_revision = self.sent_revision.max(revision);
                    let bookmark = self.query.form.object(&self.kind, self.bookmark(self.sent_revision));
                    self.faults.thawed().await;
                    if lines.send(Ok(line("BOOKMARK", &bookmark))).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn forward(&mut self, change: &Change, lines: &mpsc::Sender<io::Result<Bytes>>) -> bool {
        self.sent_revision = change.revision;
        self.faults.thawed().await;
        let Some(line) = self.event(change).filter(|_| !self.faults.loses(&self.kind.plural)) else { return true };
        let repeated = match self.faults.doubles(&self.kind.plural) {
            true => [Some(line.clone()), self.last.replace(line.clone())],
            false => [None, None],
        };
        for line in [Some(line)].into_iter().chain(repeated).flatten() {
            if lines.send(Ok(line)).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// What a server says that streams no lists.
pub(crate) fn streaming_is_forbidden(kind: &ResourceKind) -> ApiError {
    let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
    ApiError::invalid(kind, "", &[Cause::forbidden("sendInitialEvents", why)])
}

fn line(event: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": event, "object": object}).to_string();
    text.push('\n');
    text.into()
}
