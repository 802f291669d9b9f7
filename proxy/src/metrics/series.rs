//! Whose counts are whose: each new state flows in, the counts of its routes and of the pods on this node flow out, to be
//! found without names while a request is served. A series lives as long as its route, or its pod behind that route; the
//! number of series of pods is bounded, and what is beyond is counted together.

mod following;

use super::counts::{Exchanging, PodCounts, RouteCounts, SCHEMES, index, load};
use super::family::{Families, Named, number};
use crate::backends::{Backends, Tracked};
use crate::balance::RouteBalances;
use crate::health::CheckKind;
use crate::rules::Rules;
use arc_swap::ArcSwap;
use following::Following;
use nearside_routing::endpoints::ServiceKey;
use nearside_routing::table::{CompiledRoute, Termination};
use nearside_routing::{ObjectKey, RouteTable, Scheme, SharedMap};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The counts of one state's routes and pods, found by the address of a rule, which the state keeps alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    by_rule: SharedMap<usize, RouteCounts>,
    by_pod: SharedMap<(usize, u64), PodCounts>,
    beyond: Arc<PodCounts>,
}

impl Series {
    /// Of a rule of this state.
    pub(crate) fn of(&self, rule: &CompiledRoute) -> Option<&Arc<RouteCounts>> {
        self.by_rule.get(&address(rule))
    }

    /// An endpoint is given a request or a connection of a rule.
    pub(crate) fn begin(&self, rule: &CompiledRoute, endpoint: u64) -> Exchanging {
        let pod = self.by_pod.get(&(address(rule), endpoint)).unwrap_or(&self.beyond);
        Exchanging::begin(self.of(rule).cloned().unwrap_or_default(), Arc::clone(pod))
    }
}

/// Every series there is. Clones share them.
#[derive(Clone)]
pub(crate) struct AllSeries {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) rows: ArcSwap<Rows>,
    pub(super) unmatched: Arc<RouteCounts>,
    /// What the routes that are gone have counted.
    pub(super) gone: [Gone; 2],
    pub(super) limit: usize,
    beyond: Arc<PodCounts>,
    following: Mutex<Following>,
    descriptions: Vec<Desc>,
}

/// Of one scheme, over all routes that are gone.
#[derive(Default)]
pub(super) struct Gone {
    pub(super) responses: [AtomicU64; 6],
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
}

/// What is served at present.
#[derive(Clone, Default)]
pub(super) struct Rows {
    pub(super) routes: SharedMap<ObjectKey, RouteRow>,
    pub(super) pods: SharedMap<PodKey, PodRow>,
    /// Pods behind routes that have no series of their own.
    pub(super) left_out: usize,
    series: Series,
}

#[derive(Clone)]
pub(super) struct RouteRow {
    pub(super) termination: Termination,
    pub(super) counts: Arc<RouteCounts>,
}

/// A pod as one route reaches it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PodKey {
    pub(super) route: ObjectKey,
    pub(super) service: ServiceKey,
    endpoint: u64,
}

#[derive(Clone)]
pub(super) struct PodRow {
    pub(super) pod: Arc<str>,
    pub(super) address: SocketAddr,
    pub(super) tracked: Arc<Tracked>,
    pub(super) check: CheckKind,
    pub(super) counts: Arc<PodCounts>,
}

impl fmt::Debug for AllSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllSeries").field("limit", &self.shared.limit).finish_non_exhaustive()
    }
}

impl AllSeries {
    /// Of no route; at most `limit` series of pods.
    pub(crate) fn new(limit: usize) -> prometheus::Result<Self> {
        let descriptions = NATIVE.iter().map(|named| named.desc()).collect::<prometheus::Result<_>>()?;
        let shared = Shared {
            rows: ArcSwap::default(),
            unmatched: Arc::default(),
            gone: Default::default(),
            limit,
            beyond: Arc::default(),
            following: Mutex::default(),
            descriptions,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Of what no route matched.
    pub(super) fn unmatched(&self) -> &Arc<RouteCounts> {
        &self.shared.unmatched
    }

    /// The series of a state; those of routes and pods that are gone end. To be called by one task. `rules` are those of
    /// `routes`.
    pub(crate) fn follow(
        &self,
        routes: &Arc<RouteTable>,
        rules: &Rules,
        backends: &Arc<Backends>,
        balances: &RouteBalances,
    ) -> Series {
        let mut rows = Rows::clone(&self.shared.rows.load());
        let mut following = self.shared.following.lock().unwrap_or_else(|poisoned| {
            // What it knew may be half of the truth: it begins anew, and the counts of pods with it.
            rows = Rows::default();
            let mut following = poisoned.into_inner();
            *following = Following::default();
            self.shared.following.clear_poison();
            following
        });
        if following.is_of(routes, backends) {
            return rows.series;
        }
        let gone = following.follow(&mut rows, (routes, backends), rules, balances, self.shared.limit);
        gone.iter().for_each(|row| self.shared.bury(&row.counts));
        rows.series.beyond = Arc::clone(&self.shared.beyond);
        let series = rows.series.clone();
        self.shared.rows.store(Arc::new(rows));
        series
    }
}

#[cfg(test)]
impl AllSeries {
    /// The routes and the pods that have series, the latter by address, and how many are left out.
    pub(crate) fn told(&self) -> (Vec<ObjectKey>, Vec<(SocketAddr, ObjectKey)>, usize) {
        let rows = self.shared.rows.load();
        let mut routes: Vec<ObjectKey> = rows.routes.keys().cloned().collect();
        routes.sort();
        (routes, rows.pods.iter().map(|(key, row)| (row.address, key.route.clone())).collect(), rows.left_out)
    }
}

impl Shared {
    fn bury(&self, counts: &RouteCounts) {
        for (scheme, _, status, count) in counts.requests() {
            self.gone[index(scheme)].responses[class(status)].fetch_add(count, Ordering::Relaxed);
        }
        for (at, gone) in self.gone.iter().enumerate() {
            gone.received.fetch_add(load(&counts.received[at]), Ordering::Relaxed);
            gone.sent.fetch_add(load(&counts.sent[at]), Ordering::Relaxed);
        }
    }
}

impl Collector for AllSeries {
    fn desc(&self) -> Vec<&Desc> {
        self.shared.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (rows, mut families) = (self.shared.rows.load(), Families::default());
        let routes = rows.routes.iter().map(|(key, row)| (Some(key), &*row.counts));
        for (key, counts) in routes.chain([(None, &*self.shared.unmatched)]) {
            route(&mut families, key, counts);
        }
        for (key, row) in &rows.pods {
            let address = row.address.to_string();
            let of_route = [key.route.kind.name(), &*key.route.namespace, &*key.route.name];
            let labels = [&of_route[..], &[&*key.service.name, &*row.pod, &*address]].concat();
            pod(&mut families, &labels, &row.counts);
            families.gauge(&POD_WAITING, &labels, number(row.tracked.waiting() as u64));
        }
        if rows.left_out > 0 || load(&self.shared.beyond.begun) > 0 {
            pod(&mut families, &["", "", "", "", BEYOND, ""], &self.shared.beyond);
        }
        families.gauge(&LEFT_OUT, &[], number(rows.left_out as u64));
        families.finish()
    }
}

fn route(families: &mut Families, key: Option<&ObjectKey>, counts: &RouteCounts) {
    let (kind, namespace, name) = key.map_or(("", "", ""), |key| (key.kind.name(), &*key.namespace, &*key.name));
    for (scheme, method, status, count) in counts.requests() {
        families.counter(&REQUESTS, &[kind, namespace, name, scheme_name(scheme), method, status], count);
    }
    for scheme in SCHEMES {
        let (received, sent) = (load(&counts.received[index(scheme)]), load(&counts.sent[index(scheme)]));
        // A scheme that was never used has no series.
        if scheme == Scheme::Http || received > 0 || sent > 0 {
            let labels = [kind, namespace, name, scheme_name(scheme)];
            families.counter(&REQUEST_BYTES, &labels, received);
            families.counter(&RESPONSE_BYTES, &labels, sent);
        }
    }
    let labels = [kind, namespace, name];
    if load(&counts.passed_through) > 0 {
        families.counter(&PASSED_THROUGH, &labels, load(&counts.passed_through));
    }
    for (named, times) in [(&DURATION, &counts.duration), (&FIRST_BYTE, &counts.first_byte)] {
        if let Some(times) = times.get() {
            let (buckets, count, sum) = times.read();
            families.histogram(named, &labels, &buckets, count, sum);
        }
    }
}

fn pod(families: &mut Families, labels: &[&str], counts: &PodCounts) {
    for (class, count) in CLASSES.into_iter().zip(&counts.responses).filter(|(_, count)| load(count) > 0) {
        families.counter(&POD_RESPONSES, &[labels, &[class]].concat(), load(count));
    }
    for (named, count) in [
        (&POD_REQUEST_BYTES, &counts.received),
        (&POD_RESPONSE_BYTES, &counts.sent),
        (&POD_CONNECTIONS, &counts.connects),
        (&POD_CONNECT_FAILURES, &counts.connect_failures),
        (&POD_FAILURES, &counts.failures),
    ] {
        families.counter(named, labels, load(count));
    }
    families.gauge(&POD_CURRENT, labels, number(load(&counts.current)));
}

/// The place of a status as counts name it in [`CLASSES`].
pub(super) fn class(status: &str) -> usize {
    match status.as_bytes().first() {
        Some(digit @ b'1'..=b'5') => usize::from(digit - b'0'),
        _ => 0,
    }
}

pub(super) fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

fn address(rule: &CompiledRoute) -> usize {
    std::ptr::from_ref(rule).addr()
}

/// In the order of counts of responses.
pub(super) const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// In place of the name of pods that have no series of their own.
const BEYOND: &str = "(others)";

const ROUTE: &[&str] = &["kind", "namespace", "route"];
const BY_SCHEME: &[&str] = &["kind", "namespace", "route", "scheme"];
const POD: &[&str] = &["kind", "namespace", "route", "service", "pod", "address"];

const REQUESTS: Named = Named {
    name: "nearside_http_requests_total",
    help: "Requests by route, scheme, method and status; no route: empty labels.",
    labels: &["kind", "namespace", "route", "scheme", "method", "code"],
};
const REQUEST_BYTES: Named = Named {
    name: "nearside_request_bytes_total",
    help: "Bytes of request bodies by route and scheme.",
    labels: BY_SCHEME,
};
const RESPONSE_BYTES: Named = Named {
    name: "nearside_response_bytes_total",
    help: "Bytes of response bodies by route and scheme.",
    labels: BY_SCHEME,
};
const PASSED_THROUGH: Named = Named {
    name: "nearside_passthrough_connections_total",
    help: "TLS connections passed through, by route.",
    labels: ROUTE,
};
const DURATION: Named = Named {
    name: "nearside_http_request_duration_seconds",
    help: "From a request's header to the end of its response, by route.",
    labels: ROUTE,
};
const FIRST_BYTE: Named = Named {
    name: "nearside_pod_first_byte_seconds",
    help: "From the connection to a pod to the header of its response, by route.",
    labels: ROUTE,
};
const POD_RESPONSES: Named = Named {
    name: "nearside_pod_responses_total",
    help: "Responses of pods by route, Service and class of status.",
    labels: &["kind", "namespace", "route", "service", "pod", "address", "code"],
};
const POD_REQUEST_BYTES: Named =
    Named { name: "nearside_pod_request_bytes_total", help: "Bytes of bodies sent to pods.", labels: POD };
const POD_RESPONSE_BYTES: Named =
    Named { name: "nearside_pod_response_bytes_total", help: "Bytes of bodies that came from pods.", labels: POD };
const POD_CONNECTIONS: Named =
    Named { name: "nearside_pod_connections_total", help: "New connections to pods.", labels: POD };
const POD_CONNECT_FAILURES: Named = Named {
    name: "nearside_pod_connect_failures_total",
    help: "Attempts to connect to a pod that failed.",
    labels: POD,
};
const POD_FAILURES: Named = Named {
    name: "nearside_pod_failures_total",
    help: "Requests that a pod was given and did not answer as it should.",
    labels: POD,
};
const POD_CURRENT: Named = Named {
    name: "nearside_pod_current_requests",
    help: "Requests and passed-through connections that a pod is busy with.",
    labels: POD,
};
const POD_WAITING: Named =
    Named { name: "nearside_pod_waiting_requests", help: "Requests that wait for a pod, of any route.", labels: POD };
const LEFT_OUT: Named = Named {
    name: "nearside_pod_series_left_out",
    help: "Pods behind routes that are counted together under the name (others), for there are too many.",
    labels: &[],
};
const NATIVE: [&Named; 15] = [
    &REQUESTS,
    &REQUEST_BYTES,
    &RESPONSE_BYTES,
    &PASSED_THROUGH,
    &DURATION,
    &FIRST_BYTE,
    &POD_RESPONSES,
    &POD_REQUEST_BYTES,
    &POD_RESPONSE_BYTES,
    &POD_CONNECTIONS,
    &POD_CONNECT_FAILURES,
    &POD_FAILURES,
    &POD_CURRENT,
    &POD_WAITING,
    &LEFT_OUT,
];
