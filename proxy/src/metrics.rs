//! What the proxy counts: requests, connections and changes of the routes flow in, Prometheus series flow out by the
//! admin port. Labels are bounded by what is served: a series ends with its route.

mod routes;

use crate::accept::Refused;
use crate::backends::Target;
use crate::state::State;
use http::Method;
use nearside_routing::table::{CompiledRoute, MissPolicy};
use nearside_routing::{HostPattern, Scheme};
use nearside_watch::SyncState;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, exponential_buckets,
};
use routes::RouteSeries;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The counters. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    node: Arc<str>,
    routes: RouteSeries,
    duration: Histogram,
    connect: Histogram,
    connect_failures: IntCounter,
    ejections: IntCounter,
    queued: IntCounterVec,
    authentications: IntCounterVec,
    waiting: IntGauge,
    endpoint_up: IntGaugeVec,
    checks: IntCounterVec,
    misses: IntCounterVec,
    missed: Arc<Mutex<HashSet<String>>>,
    cross_node: IntCounter,
    connections: IntGaugeVec,
    connections_total: IntCounterVec,
    tls_failures: IntCounterVec,
    proxy_headers: IntCounterVec,
    generation: IntGauge,
    hosts: IntGauge,
    synced: IntGaugeVec,
    ready: IntGauge,
}

/// A request that is over.
pub(crate) struct RequestSeen<'r> {
    /// The route that answered, if one did.
    pub(crate) route: Option<&'r CompiledRoute>,
    /// The endpoint that answered, if one did.
    pub(crate) target: Option<&'r Target>,
    /// The method.
    pub(crate) method: &'r Method,
    /// The status; 0 where no response was begun.
    pub(crate) status: u16,
    /// Bytes of the response's body.
    pub(crate) sent: u64,
    /// From its header to its end.
    pub(crate) duration: Duration,
}

/// Why a TLS connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsFailure {
    /// The client left midway.
    Closed,
    /// The client did not speak TLS.
    NotTls,
    /// The client was too slow.
    Timeout,
    /// The client asked for no host that is served, and such clients are refused.
    UnknownName,
    /// Client and proxy did not agree, or the client did not trust the certificate.
    Handshake,
}

impl TlsFailure {
    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::Timeout => "timeout",
            Self::UnknownName => "unknown_name",
            Self::Handshake => "handshake",
        }
    }
}

/// What became of a request that found every pod at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueEnd {
    /// A pod had room in time.
    Served,
    /// None had.
    Timeout,
    /// As many waited already as may.
    Full,
    /// The client did not wait.
    ClientGone,
}

impl QueueEnd {
    fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Timeout => "timeout",
            Self::Full => "full",
            Self::ClientGone => "client_gone",
        }
    }
}

/// What became of a request that had to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authenticated {
    /// It was let in.
    Passed,
    /// It was not.
    Refused,
    /// It could not be verified, for want of what it is verified with.
    Unavailable,
    /// It was not verified, because too much is to be.
    Busy,
}

impl Authenticated {
    fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
        }
    }
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// Prometheus', if two series have one name.
    pub(crate) fn new(node: Arc<str>, registry: &Registry) -> prometheus::Result<Self> {
        let seconds = |name, help| {
            let buckets = exponential_buckets(0.000_5, 2.0, 18)?;
            registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?)
        };
        let counter = |name, help| registered(registry, IntCounter::new(name, help)?);
        let counters =
            |name, help, labels: &[&str]| registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        let gauge = |name, help| registered(registry, IntGauge::new(name, help)?);
        let gauges =
            |name, help, labels: &[&str]| registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?);
        Ok(Self {
            node,
            routes: registered(registry, RouteSeries::new()?)?,
            duration: seconds(
                "nearside_http_request_duration_seconds",
                "From a request's header to the end of its response.",
            )?,
            connect: seconds("nearside_upstream_connect_seconds", "Time to connect to a pod.")?,
            ejections: counter(
                "nearside_endpoint_ejections_total",
                "Times that a pod was passed over from then on for its failures.",
            )?,
            queued: counters(
                "nearside_queued_requests_total",
                "Requests that found every pod at its limit, by what became of them.",
                &["result"],
            )?,
            authentications: counters(
                "nearside_authentications_total",
                "Requests that had to authenticate, by how and by what became of them.",
                &["kind", "result"],
            )?,
            endpoint_up: gauges(
                "nearside_endpoint_up",
                "Whether a pod is up by its checks; only pods that are checked.",
                &["namespace", "pod", "address", "check", "path"],
            )?,
            checks: counters("nearside_endpoint_checks_total", "Checks of pods.", &["check", "result"])?,
            waiting: gauge("nearside_waiting_requests", "Requests that wait for a pod below its limit.")?,
            connect_failures: counter(
                "nearside_upstream_connect_failures_total",
                "Attempts to connect to a pod that failed.",
            )?,
            misses: counters(
                "nearside_misses_total",
                "Requests for a host without a ready pod on this node, by what they got.",
                &["policy", "host"],
            )?,
            missed: Arc::default(),
            cross_node: counter(
                "nearside_cross_node_response_bytes_total",
                "Bytes of response bodies that came from a pod on another node.",
            )?,
            connections: gauges("nearside_connections", "Client connections at present.", &["scheme"])?,
            connections_total: counters("nearside_connections_total", "Client connections.", &["scheme"])?,
            tls_failures: counters(
                "nearside_tls_failures_total",
                "TLS connections that were not served.",
                &["reason"],
            )?,
            proxy_headers: counters(
                "nearside_proxy_headers_refused_total",
                "Connections that were closed for want of a valid PROXY header.",
                &["reason"],
            )?,
            generation: gauge("nearside_table_generation", "Version of the route table; grows with each change.")?,
            hosts: gauge("nearside_table_hosts", "Host patterns that are served.")?,
            synced: gauges("nearside_watch_synced", "Whether every object of a kind was read.", &["kind"])?,
            ready: gauge("nearside_ready", "Whether this proxy takes new clients.")?,
        })
    }

    /// A request is over.
    pub(crate) fn request(&self, seen: &RequestSeen<'_>) {
        self.routes.request(seen.route.map(|route| &route.source), seen.method, seen.status, seen.sent);
        self.duration.observe(seen.duration.as_secs_f64());
        self.crossed(seen.target, seen.sent);
    }

    /// A passed-through connection is over.
    pub(crate) fn passed_through(&self, route: &CompiledRoute, target: &Target, sent: u64) {
        self.routes.passed_through(&route.source, sent);
        self.crossed(Some(target), sent);
    }

    fn crossed(&self, target: Option<&Target>, bytes: u64) {
        if target.is_some_and(|target| target.node != self.node) {
            self.cross_node.inc_by(bytes);
        }
    }

    /// A pod was connected to.
    pub(crate) fn connected(&self, time: Duration) {
        self.connect.observe(time.as_secs_f64());
    }

    /// A pod could not be connected to.
    pub(crate) fn connect_failed(&self) {
        self.connect_failures.inc();
    }

    /// A pod is passed over from now on.
    pub(crate) fn ejected(&self) {
        self.ejections.inc();
    }

    /// A pod was checked.
    pub(crate) fn checked(&self, check: &str, passed: bool) {
        self.checks.with_label_values(&[check, if passed { "passed" } else { "failed" }]).inc();
    }

    /// A pod is up or down by its checks. The labels are namespace, pod, address, check and path.
    pub(crate) fn endpoint_up(&self, labels: &[String; 5], up: bool) {
        self.endpoint_up.with_label_values(labels).set(up.into());
    }

    /// A pod is not checked any more.
    pub(crate) fn endpoint_forgotten(&self, labels: &[String; 5]) {
        // Another check may have had the same labels.
        drop(self.endpoint_up.remove_label_values(labels));
    }

    /// A request waits for room at a pod until the value is dropped.
    pub(crate) fn waiting(&self) -> Open {
        self.waiting.inc();
        Open(self.waiting.clone())
    }

    /// A request does not wait for room at a pod any more.
    pub(crate) fn queued(&self, end: QueueEnd) {
        self.queued.with_label_values(&[end.name()]).inc();
    }

    /// A request had to authenticate. `kind` says how.
    pub(crate) fn authenticated(&self, kind: &str, result: Authenticated) {
        self.authentications.with_label_values(&[kind, result.name()]).inc();
    }

    /// A request had no ready pod here. `policy` is what it got.
    pub(crate) fn miss(&self, policy: MissPolicy, host: &HostPattern) {
        let host = host.to_string();
        self.misses.with_label_values(&[policy_name(policy), &host]).inc();
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).insert(host);
    }

    /// A connection is open until the value is dropped.
    pub(crate) fn connection(&self, scheme: Scheme) -> Open {
        let labels = [scheme_name(scheme)];
        self.connections_total.with_label_values(&labels).inc();
        let gauge = self.connections.with_label_values(&labels);
        gauge.inc();
        Open(gauge)
    }

    /// Client connections of a scheme at present.
    pub(crate) fn open_connections(&self, scheme: Scheme) -> u64 {
        u64::try_from(self.connections.with_label_values(&[scheme_name(scheme)]).get()).unwrap_or_default()
    }

    /// A TLS connection was not served.
    pub(crate) fn tls_failure(&self, failure: TlsFailure) {
        self.tls_failures.with_label_values(&[failure.name()]).inc();
    }

    /// A connection was closed for want of a valid PROXY header.
    pub(crate) fn proxy_header_refused(&self, refused: &Refused) {
        if let Some(reason) = refused.name() {
            self.proxy_headers.with_label_values(&[reason]).inc();
        }
    }

    /// The routes have changed: series of those that are gone end.
    pub(crate) fn follow(&self, state: &State) {
        self.generation.set(i64::try_from(state.snapshot.generation).unwrap_or(i64::MAX));
        self.hosts.set(i64::try_from(state.routes().hosts().count()).unwrap_or(i64::MAX));
        self.routes.follow(&state.snapshot.routes);
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if !missed.is_empty() {
            let served: HashSet<String> = state.routes().hosts().map(|host| host.pattern.to_string()).collect();
            for host in missed.extract_if(|host| !served.contains(host)) {
                for policy in [MissPolicy::Redirect, MissPolicy::Reject] {
                    // Not every policy was applied to every host.
                    drop(self.misses.remove_label_values(&[policy_name(policy), &host]));
                }
            }
        }
    }

    /// How far the sources were read.
    pub(crate) fn sync(&self, state: &SyncState) {
        for (kind, state) in state.kinds() {
            self.synced.with_label_values(&[kind.name()]).set(state.synced.into());
        }
    }

    /// Whether the proxy takes new clients.
    pub(crate) fn ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }
}

/// Something that is counted while it lasts.
pub(crate) struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn policy_name(policy: MissPolicy) -> &'static str {
    match policy {
        MissPolicy::Redirect => "redirect",
        MissPolicy::Reject => "reject",
    }
}

fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{BackendsBuilder, Demand, Picked};
    use crate::balance::{Method as Choice, Random, RouteBalance};
    use crate::health::CheckKind;
    use nearside_routing::endpoints::{
        Endpoint, EndpointState, PortEndpoints, PortSelector, ServiceEndpoints, ServiceKey,
    };
    use nearside_routing::policy::balance::Algorithm;
    use nearside_routing::table::{InsecurePolicy, Termination, WeightedBackend};
    use nearside_routing::{Kind, ObjectKey, PathRule};
    use std::time::Instant;

    fn bytes_from_a_pod_on(node: &str) -> u64 {
        let service = ServiceKey::new("shop", "web");
        let endpoint = Endpoint {
            address: "10.0.0.1:80".parse().unwrap(),
            node: node.into(),
            pod: "web-1".into(),
            state: EndpointState::Ready,
        };
        let port = PortEndpoints { name: "".into(), number: Some(80), app_protocol: None, endpoints: vec![endpoint] };
        let endpoints = ServiceEndpoints { ports: vec![port], refused: Vec::new() };
        let route = CompiledRoute {
            source: ObjectKey::new(Kind::Route, "shop", "web"),
            pattern: HostPattern::Any,
            path: PathRule::Any,
            backends: Box::new([WeightedBackend { service: service.clone(), port: PortSelector::All, weight: 1 }]),
            termination: Termination::None,
            insecure: InsecurePolicy::Allow,
            policy: Arc::default(),
            canary: None,
            credentials: None,
            closed: false,
            pod_tls: None,
        };
        let table = Arc::new([(service, Arc::new(endpoints))].into());
        let backends = BackendsBuilder::new(node.into()).build(&table, Instant::now());
        let balance = RouteBalance {
            algorithm: Algorithm::Random,
            rotation: Arc::default(),
            canary: Arc::default(),
            cookie: None,
            check: CheckKind { tls: None, path: None },
        };
        let now = Instant::now();
        let demand = Demand { route: &route, balance: &balance, method: Choice::Random, tried: &[], now };
        let Picked::Target(target) = backends.pick(&demand, std::iter::empty(), &mut Random::seeded(1)) else {
            panic!("there is an endpoint");
        };
        let metrics = Metrics::new("n1".into(), &Registry::new()).unwrap();
        let (method, duration) = (&Method::GET, Duration::ZERO);
        metrics.request(&RequestSeen {
            route: Some(&route),
            target: Some(&target),
            method,
            status: 200,
            sent: 7,
            duration,
        });
        metrics.cross_node.get()
    }

    #[test]
    fn bytes_from_pods_of_other_nodes_are_counted_as_crossing() {
        assert_eq!(bytes_from_a_pod_on("n1"), 0);
        assert_eq!(bytes_from_a_pod_on("n2"), 7);
    }
}
