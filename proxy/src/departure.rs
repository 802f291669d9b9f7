//! When a router that is to end may stop to accept connections: what DNS says of its node flows in from the DNSEndpoints, the
//! time flows out after which no resolver sends clients here any more. [`Departure`] decides and is pure; [`gone`] reads.

use crate::limits::{
    DEPARTURE_AIR, DEPARTURE_BLIND, DEPARTURE_MEMORY, DEPARTURE_UNSEEN, SUCCESSOR_PATIENCE, SUCCESSOR_PERIOD,
};
use nearside_routing::object::DnsEndpoint;
use nearside_routing::published::PublishedHosts;
use nearside_routing::{Kind, NodeId, ObjectKey, Snapshot};
use nearside_watch::{Change, Object, Selection, Source, changes};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// The node that is left, as DNS may name it.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// In aliases.
    pub(crate) id: NodeId,
    /// In records.
    pub(crate) addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// The time to live of the records of an object that name the node; `None` where none does.
    fn ttl(&self, endpoint: &DnsEndpoint) -> Option<Duration> {
        let named = endpoint.spec.endpoints.iter().filter(|set| {
            let alias = NodeId::split_alias(&set.dns_name).is_some_and(|(_, id)| id == self.id);
            let addressed = || {
                let addresses = set.targets.iter().filter_map(|target| target.parse().ok());
                addresses.into_iter().any(|address| self.addresses.contains(&address))
            };
            alias || addressed()
        });
        named
            .map(|set| Duration::from_secs(set.record_ttl.and_then(|ttl| ttl.try_into().ok()).unwrap_or(DEFAULT_TTL)))
            .max()
    }
}

/// See the module head. Times are counted from when the end was asked for.
#[derive(Debug)]
pub(crate) struct Departure {
    names: Names,
    /// Whether the objects have been listed.
    known: bool,
    /// Whether there are any.
    any: bool,
    /// Whether any publisher has ever told what it has taken.
    reported: bool,
    /// Objects that name the node.
    naming: BTreeSet<ObjectKey>,
    /// Objects that named it, with the generation that does not, until a publisher has taken that.
    unseen: BTreeMap<ObjectKey, i64>,
    /// The longest time to live of records that named it.
    ttl: Duration,
    /// When the last name went, and when the last of that was seen.
    gone: Option<Duration>,
    seen: Duration,
}

impl Departure {
    /// `left` says for how long DNS has not named the node any more, if it ever did.
    pub(crate) fn new(names: Names, left: Option<Left>) -> Self {
        Self {
            names,
            known: false,
            any: false,
            reported: false,
            naming: BTreeSet::new(),
            unseen: BTreeMap::new(),
            ttl: left.map_or(Duration::ZERO, |left| left.ttl),
            gone: left.map(|_| Duration::ZERO),
            seen: Duration::ZERO,
        }
    }

    /// Takes in what has changed.
    pub(crate) fn take(&mut self, change: &Change, now: Duration) {
        match change {
            Change::Apply(Object::DnsEndpoint(endpoint)) => self.put(endpoint, now),
            Change::Delete(key) if key.kind == Kind::DnsEndpoint => self.remove(key, now),
            Change::Reset { kind: Kind::DnsEndpoint, objects } => {
                self.known = true;
                let keep: BTreeSet<ObjectKey> = objects.iter().map(Object::key).collect();
                let absent: Vec<ObjectKey> = self.naming.difference(&keep).cloned().collect();
                absent.iter().for_each(|key| self.remove(key, now));
                for object in objects {
                    if let Object::DnsEndpoint(endpoint) = object {
                        self.put(endpoint, now);
                    }
                }
            }
            _ => {}
        }
    }

    /// When no client comes any more, as far as is known now; `None` while DNS names the node.
    pub(crate) fn ends_at(&self) -> Option<Duration> {
        if !self.known || !self.any {
            // Nobody publishes by these objects, or they cannot be read.
            return Some(DEPARTURE_BLIND);
        }
        if !self.naming.is_empty() {
            return None;
        }
        let Some(gone) = self.gone else { return Some(Duration::ZERO) };
        let taken =
            if self.unseen.is_empty() || !self.reported { self.seen.max(gone) } else { gone + DEPARTURE_UNSEEN };
        Some(taken + self.ttl + DEPARTURE_AIR)
    }

    fn put(&mut self, endpoint: &DnsEndpoint, now: Duration) {
        let key = endpoint.metadata.key(Kind::DnsEndpoint);
        self.any = true;
        let (generation, observed) = (endpoint.metadata.generation, endpoint.status.observed_generation);
        self.reported |= observed > 0;
        if let Some(ttl) = self.names.ttl(endpoint) {
            self.ttl = self.ttl.max(ttl);
            self.naming.insert(key.clone());
            self.unseen.remove(&key);
            return;
        }
        if self.naming.remove(&key) {
            self.gone = Some(now);
            if observed < generation {
                self.unseen.insert(key.clone(), generation);
            }
        }
        if self.unseen.get(&key).is_some_and(|generation| observed >= *generation) {
            self.unseen.remove(&key);
            self.seen = now;
        }
    }

    fn remove(&mut self, key: &ObjectKey, now: Duration) {
        // With the object goes what could tell that it is taken.
        self.unseen.remove(key);
        if self.naming.remove(key) {
            self.gone = Some(now);
        }
    }
}

/// That DNS has named the node, not long before the end was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    /// What is assumed of the records that did.
    pub(crate) ttl: Duration,
}

/// Remembers when DNS has last named the node by an alias: it may have let go of it before the end is asked for, and
/// resolvers not yet. Clones share one memory.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    id: NodeId,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    published: PublishedHosts,
    names: bool,
    last: Option<Instant>,
}

impl Named {
    /// For this node.
    pub(crate) fn new(node: &str) -> Self {
        Self { id: NodeId::of(node), memory: Arc::default() }
    }

    /// Looks at a new snapshot.
    pub(crate) fn look(&self, snapshot: &Snapshot) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.names {
            memory.last = Some(Instant::now());
        }
        if !memory.published.is_same(&snapshot.published) {
            memory.published = snapshot.published.clone();
            memory.names = snapshot.published.all().any(|published| published.node == self.id);
        }
    }

    /// Whether DNS has named the node in the last minutes.
    pub(crate) fn left(&self) -> Option<Left> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = memory.last.is_some_and(|last| last.elapsed() < DEPARTURE_MEMORY);
        (memory.names || lately).then_some(Left { ttl: Duration::from_secs(DEFAULT_TTL) })
    }
}

/// Returns when another proxy of this node is ready: one that shares the ports has the admin port as soon as this one has left
/// it. Clients that are still sent here are served by it.
pub(crate) async fn succeeded(admin: SocketAddr) {
    while !timeout(SUCCESSOR_PATIENCE, is_ready(admin)).await.unwrap_or_default() {
        tokio::time::sleep(SUCCESSOR_PERIOD).await;
    }
    tracing::info!("another proxy of this node is ready");
}

/// What this process itself would say is that it is shutting down.
async fn is_ready(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin).await else { return false };
    let mut status = [0; 12];
    stream.write_all(b"GET /healthz/ready HTTP/1.0\r\n\r\n").await.is_ok()
        && stream.read_exact(&mut status).await.is_ok()
        && status.ends_with(b" 200")
}

/// Returns when DNS has let go of the node, at the latest after `most`.
pub(crate) async fn gone(source: Source, selection: Selection, mut departure: Departure, most: Duration) {
    let began = Instant::now();
    let mut changes = changes(source, vec![selection]);
    let mut told = false;
    loop {
        let end = departure.ends_at();
        if !told && departure.known && end.is_some() {
            told = true;
            tracing::info!(wait = ?end, "DNS does not name this node any more; its answers are remembered for a while");
        }
        let end = end.unwrap_or(most).min(most);
        tokio::select! {
            biased;
            batch = changes.next() => match batch {
                Some(batch) => batch.changes.iter().for_each(|change| departure.take(change, began.elapsed())),
                None => return sleep_until(began + end).await,
            },
            () = sleep_until(began + end) => {
                if departure.ends_at().is_none() {
                    tracing::warn!(objects = departure.naming.len(), "DNS still names this node; ending nevertheless");
                }
                return;
            }
        }
    }
}

/// Of records that state none.
const DEFAULT_TTL: u64 = 30;

#[cfg(test)]
mod tests;
