//! Faults on demand: the lab and tests switch them on, requests in flight meet them. Also counts requests by verb and
//! kind. `http` asks here before it answers, `watch` listens here while it runs.

use super::error::ApiError;
use super::listener::Listeners;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// Which requests a fault meets. Verbs are those of the API: `get`, `list`, `watch`, `create`, `update`, `patch`,
/// `delete`, `deletecollection`. Resources are plurals, such as `routes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestMatch {
    verb: Option<String>,
    resource: Option<String>,
}

impl RequestMatch {
    /// Every request for a resource.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Only requests with this verb.
    #[must_use]
    pub fn verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.to_owned());
        self
    }

    /// Only requests for this plural.
    #[must_use]
    pub fn resource(mut self, plural: &str) -> Self {
        self.resource = Some(plural.to_owned());
        self
    }

    pub(crate) fn matches(&self, verb: &str, plural: &str) -> bool {
        self.verb.as_deref().is_none_or(|wanted| wanted == verb)
            && self.resource.as_deref().is_none_or(|wanted| wanted == plural)
    }
}

/// What happens to a matching request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this HTTP status and, if given, `Retry-After` in seconds; nothing is read or written.
    Answer {
        /// 429, 500, 403 and so on.
        status: u16,
        /// Seconds.
        retry_after: Option<u32>,
    },
    /// Answered later.
    Delay(Duration),
    /// A list is answered with 200 and no items.
    EmptyList,
    /// A list keeps only this many items and no continue token.
    ShortList(usize),
    /// The answer's body is cut in the middle and the connection closed.
    TruncatedBody,
}

/// The switches. Cheap to clone; every clone drives the same server.
#[derive(Clone, Debug)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rules: Mutex<Vec<Rule>>,
    hung: Mutex<Vec<RequestMatch>>,
    /// Watches whose events are lost, or come twice.
    lost: Mutex<Vec<RequestMatch>>,
    doubled: Mutex<Vec<RequestMatch>>,
    frozen: watch::Sender<bool>,
    counts: Mutex<BTreeMap<(String, String), u64>>,
    signals: broadcast::Sender<WatchSignal>,
    behind: Arc<dyn Behind>,
    listeners: Arc<Listeners>,
}

/// The server that faults are about, as far as it has to play along.
pub(crate) trait Behind: fmt::Debug + Send + Sync {
    /// Forgets the history.
    fn compact(&self);

    /// Stops or begins to serve the kinds of a name (plural, `plural.group` or kind); the plurals concerned.
    fn set_served(&self, name: &str, served: bool) -> Vec<String>;
}

#[derive(Debug)]
struct Rule {
    requests: RequestMatch,
    fault: Fault,
    /// Requests it still meets; `None` for all until cleared.
    left: Option<u32>,
}

/// What running watches are told.
#[derive(Clone, Debug)]
pub(crate) enum WatchSignal {
    /// End watches of these resources; cleanly, or by cutting the connection.
    End { requests: RequestMatch, cut: bool },
    /// Send nothing any more.
    Hang { requests: RequestMatch },
}

impl WatchSignal {
    pub(crate) fn concerns(&self, plural: &str) -> bool {
        let (Self::End { requests, .. } | Self::Hang { requests }) = self;
        requests.matches("watch", plural)
    }
}

impl Faults {
    pub(crate) fn in_front_of(behind: Arc<dyn Behind>, listeners: Arc<Listeners>) -> Self {
        let (signals, _) = broadcast::channel(SIGNALS);
        Self {
            inner: Arc::new(Inner {
                rules: Mutex::default(),
                hung: Mutex::default(),
                lost: Mutex::default(),
                doubled: Mutex::default(),
                frozen: watch::Sender::new(false),
                counts: Mutex::default(),
                signals,
                behind,
                listeners,
            }),
        }
    }

    /// Makes the next `count` matching requests meet a fault; `None` means all until [`Faults::clear`].
    pub fn add(&self, requests: RequestMatch, fault: Fault, count: Option<u32>) {
        lock(&self.inner.rules).push(Rule { requests, fault, left: count });
    }

    /// Answers the next `count` matching requests with `status` and nothing else.
    pub fn answer(&self, requests: RequestMatch, status: u16, retry_after: Option<u32>, count: Option<u32>) {
        self.add(requests, Fault::Answer { status, retry_after }, count);
    }

    /// Takes every fault of [`Faults::add`] back, and lets new watches through again. Watches that already hang stay so.
    pub fn clear(&self) {
        lock(&self.inner.rules).clear();
        lock(&self.inner.hung).clear();
        lock(&self.inner.lost).clear();
        lock(&self.inner.doubled).clear();
    }

    /// Ends all watches of matching resources as a server does that closes them in order.
    pub fn drop_watches(&self, requests: RequestMatch) {
        let _ = self.inner.signals.send(WatchSignal::End { requests, cut: false });
    }

    /// Cuts the connections of all watches of matching resources.
    pub fn cut_watches(&self, requests: RequestMatch) {
        let _ = self.inner.signals.send(WatchSignal::End { requests, cut: true });
    }

    /// Makes watches of matching resources silent for good while their connections stay open: those that run, and
    /// those that begin before [`Faults::clear`].
    pub fn hang_watches(&self, requests: RequestMatch) {
        lock(&self.inner.hung).push(requests.clone());
        let _ = self.inner.signals.send(WatchSignal::Hang { requests });
    }

    /// Until [`Faults::clear`], changes of matching resources are sent to no watch, though bookmarks go past them.
    pub fn lose_events(&self, requests: RequestMatch) {
        lock(&self.inner.lost).push(requests);
    }

    /// Until [`Faults::clear`], every event of matching resources is sent twice, and the one before once more after it.
    pub fn double_events(&self, requests: RequestMatch) {
        lock(&self.inner.doubled).push(requests);
    }

    /// Like SIGSTOP: connections are accepted and stay open, and nothing is answered or sent until [`Faults::thaw`].
    pub fn freeze(&self) {
        self.inner.frozen.send_replace(true);
    }

    /// Like SIGCONT.
    pub fn thaw(&self) {
        self.inner.frozen.send_replace(false);
    }

    /// Forgets the history: watches and list pages from an older revision get 410.
    pub fn compact(&self) {
        self.inner.behind.compact();
    }

    /// Stops serving a kind (plural, `plural.group` or kind), as if its CustomResourceDefinition or API service were
    /// gone. Its objects stay. Its watches end.
    pub fn disable_kind(&self, name: &str) {
        for plural in self.inner.behind.set_served(name, false) {
            self.drop_watches(RequestMatch::any().resource(&plural));
        }
    }

    /// Serves a kind again.
    pub fn enable_kind(&self, name: &str) {
        self.inner.behind.set_served(name, true);
    }

    /// Stops listening and cuts every connection; new ones are refused. The objects stay. Returns when it is so.
    pub async fn refuse_connections(&self) {
        self.inner.listeners.close().await;
    }

    /// Listens again at the same addresses.
    ///
    /// # Errors
    /// When an address cannot be listened on again.
    pub async fn accept_connections(&self) -> io::Result<()> {
        self.inner.listeners.open().await
    }

    /// How many requests came with this verb for this plural, refused ones included.
    #[must_use]
    pub fn requests(&self, verb: &str, plural: &str) -> u64 {
        lock(&self.inner.counts).get(&(verb.to_owned(), plural.to_owned())).copied().unwrap_or(0)
    }

    /// All counts, by verb and plural.
    #[must_use]
    pub fn request_counts(&self) -> BTreeMap<(String, String), u64> {
        lock(&self.inner.counts).clone()
    }

    /// Counts a request, which may be of several verbs at once, and takes the faults it meets.
    pub(crate) fn meet(&self, verbs: &[&str], plural: &str) -> Vec<Fault> {
        for verb in verbs {
            *lock(&self.inner.counts).entry(((*verb).to_owned(), plural.to_owned())).or_default() += 1;
        }
        let mut rules = lock(&self.inner.rules);
        let mut met = Vec::new();
        for rule in rules.iter_mut().filter(|rule| verbs.iter().any(|verb| rule.requests.matches(verb, plural))) {
            // One answer is enough; the next rule of that sort waits for the next request.
            let is_second = met.iter().any(|fault| matches!(fault, Fault::Answer { .. }));
            if is_second && matches!(rule.fault, Fault::Answer { .. }) {
                continue;
            }
            met.push(rule.fault.clone());
            rule.left = rule.left.map(|left| left.saturating_sub(1));
        }
        rules.retain(|rule| rule.left != Some(0));
        met
    }

    pub(crate) fn hangs(&self, plural: &str) -> bool {
        lock(&self.inner.hung).iter().any(|requests| requests.matches("watch", plural))
    }

    pub(crate) fn loses(&self, plural: &str) -> bool {
        lock(&self.inner.lost).iter().any(|requests| requests.matches("watch", plural))
    }

    pub(crate) fn doubles(&self, plural: &str) -> bool {
        lock(&self.inner.doubled).iter().any(|requests| requests.matches("watch", plural))
    }

    /// Waits while the server is frozen.
    pub(crate) async fn thawed(&self) {
        // The sender lives as long as this.
        let _ = self.inner.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }

    pub(crate) fn signals(&self) -> broadcast::Receiver<WatchSignal> {
        self.inner.signals.subscribe()
    }
}

/// The `Status` of an answer made up by a fault.
pub(crate) fn made_up(status: u16, retry_after: Option<u32>) -> ApiError {
    let (reason, message) = match status {
        400 => ("BadRequest", "bad request"),
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden: the account may not do this"),
        404 => ("NotFound", "the server could not find the requested resource"),
        409 => ("Conflict", "the operation cannot be fulfilled"),
        410 => ("Expired", "too old resource version"),
        429 => ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "the server was unable to return a response in the time allotted"),
        _ => ("InternalError", "an error on the server has prevented the request from succeeding"),
    };
    let error = ApiError::new(status, reason, message);
    match retry_after {
        Some(seconds) => error.with_retry_after(seconds),
        None => error,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Signals a watch may be late for before it is ended.
const SIGNALS: usize = 64;
