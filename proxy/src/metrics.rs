//! What the proxy counts: requests, connections and changes of the routes flow in, Prometheus series flow out by the
//! admin port. Labels are bounded by what is served: a series ends with its route, and those of pods have a limit besides.

mod counts;
mod family;
mod haproxy;
mod process;
mod series;

use crate::accept::Refused;
use crate::backends::Target;
use crate::edge::Exceeded;
use crate::handover::Event;
use crate::state::State;
use counts::Request;
pub(crate) use counts::{Exchanging, RouteCounts};
use haproxy::{HaproxySeries, Sessions};
use http::Method;
use nearside_routing::table::MissPolicy;
use nearside_routing::{HostPattern, RouteTable, Scheme};
pub(crate) use process::resident_bytes;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, exponential_buckets,
};
use series::scheme_name;
pub(crate) use series::{AllSeries, Series};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The counters. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    node: Arc<str>,
    series: AllSeries,
    sessions: Arc<[Sessions; 2]>,
    connect: Histogram,
    connect_failures: IntCounter,
    no_local_port: IntCounter,
    ejections: IntCounter,
    queued: IntCounterVec,
    authentications: IntCounterVec,
    waiting: IntGauge,
    endpoint_up: IntGaugeVec,
    checks: IntCounterVec,
    misses: IntCounterVec,
    missed: Arc<Mutex<Missed>>,
    sent_back: IntCounter,
    cross_node: IntCounter,
    connections: IntGaugeVec,
    connections_total: IntCounterVec,
    tls_failures: IntCounterVec,
    http2_abuse: IntCounterVec,
    proxy_headers: IntCounterVec,
    handovers: IntCounterVec,
    exceeded: Exceeded,
    table_updates: Histogram,
    generation: IntGauge,
    hosts: IntGauge,
    ready: IntGauge,
}

/// A request that is over.
pub(crate) struct RequestSeen<'r> {
    /// The counts of the route that answered, if one did.
    pub(crate) route: Option<&'r RouteCounts>,
    /// How the client came.
    pub(crate) scheme: Scheme,
    /// The endpoint that answered, if one did.
    pub(crate) target: Option<&'r Target>,
    /// The method.
    pub(crate) method: &'r Method,
    /// The status; 0 where no response was begun.
    pub(crate) status: u16,
    /// Bytes of the request's body.
    pub(crate) received: u64,
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
    /// Too many others do their handshakes.
    Busy,
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
            Self::Busy => "busy",
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

/// Hosts that have series of misses, and the table that they were compared with last.
#[derive(Debug, Default)]
struct Missed {
    hosts: HashSet<String>,
    routes: Arc<RouteTable>,
}

impl Metrics {
    /// Registers everything, with series of so many pods; `max_connections` where the names of an OpenShift router are wanted,
    /// too.
    ///
    /// # Errors
    /// Prometheus', if two series have one name.
    pub(crate) fn new(
        node: Arc<str>,
        pod_series: usize,
        max_connections: Option<u32>,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let (series, sessions) = (AllSeries::new(pod_series)?, Arc::<[Sessions; 2]>::default());
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
        let connections = gauges("nearside_connections", "Client connections at present.", &["scheme"])?;
        let connections_total = counters("nearside_connections_total", "Client connections.", &["scheme"])?;
        if let Some(most) = max_connections {
            let of_scheme = (connections.clone(), connections_total.clone());
            let collector = HaproxySeries::new(series.clone(), Arc::clone(&sessions), of_scheme, most)?;
            registry.register(Box::new(collector))?;
        }
        Ok(Self {
            node,
            series: registered(registry, series)?,
            sessions,
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
            no_local_port: counter(
                "nearside_upstream_no_local_port_total",
                "Attempts to connect to a pod for which this host had no port left.",
            )?,
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
            sent_back: counter(
                "nearside_sticky_redirects_total",
                "Requests that were sent back to the node of the client's pod.",
            )?,
            cross_node: counter(
                "nearside_cross_node_response_bytes_total",
                "Bytes of response bodies that came from another node.",
            )?,
            connections,
            connections_total,
            tls_failures: counters(
                "nearside_tls_failures_total",
                "TLS connections that were not served.",
                &["reason"],
            )?,
            http2_abuse: counters(
                "nearside_http2_abuse_total",
                "Connections over HTTP/2 that were ended because their client flooded them.",
                &["kind"],
            )?,
            proxy_headers: counters(
                "nearside_proxy_headers_refused_total",
                "Connections that were closed for want of a valid PROXY header.",
                &["reason"],
            )?,
            handovers: counters(
                "nearside_handovers_total",
                "Times that listening sockets went from one proxy of the node to another, by what this one did.",
                &["event"],
            )?,
            exceeded: Exceeded::new(registry)?,
            table_updates: seconds(
                "nearside_table_update_seconds",
                "Time to make of a snapshot what requests are served from, and to put it in place.",
            )?,
            generation: gauge("nearside_table_generation", "Version of the route table; grows with each change.")?,
            hosts: gauge("nearside_table_hosts", "Host patterns that are served.")?,
            ready: gauge("nearside_ready", "Whether this proxy takes new clients.")?,
        })
    }

    /// A request is over.
    pub(crate) fn request(&self, seen: &RequestSeen<'_>) {
        let RequestSeen { scheme, method, status, received, sent, duration, .. } = *seen;
        let counts = seen.route.unwrap_or_else(|| self.series.unmatched());
        counts.request(&Request { scheme, method, status, received, sent, duration });
        if let Some(exchanging) = seen.target.and_then(Target::exchanging) {
            exchanging.moved(received, sent);
        }
        self.crossed(seen.target, sent);
    }

    /// A passed-through connection is over.
    pub(crate) fn passed_through(&self, route: Option<&RouteCounts>, target: &Target, received: u64, sent: u64) {
        if let Some(counts) = route {
            counts.passed_through(received, sent);
        }
        if let Some(exchanging) = target.exchanging() {
            exchanging.moved(received, sent);
        }
        self.crossed(Some(target), sent);
    }

    /// What is counted by route and pod.
    pub(crate) fn series(&self) -> &AllSeries {
        &self.series
    }

    fn crossed(&self, target: Option<&Target>, bytes: u64) {
        if target.is_some_and(|target| target.node != self.node) {
            self.cross_node.inc_by(bytes);
        }
    }

    /// A response came from the proxy of another node, with so many bytes.
    pub(crate) fn relayed(&self, bytes: u64) {
        self.cross_node.inc_by(bytes);
    }

    /// The times that changes take until requests are served from them, once they are read.
    pub(crate) fn table_updates(&self) -> Histogram {
        self.table_updates.clone()
    }

    /// A pod was connected to.
    pub(crate) fn connected(&self, time: Duration) {
        self.connect.observe(time.as_secs_f64());
    }

    /// A pod could not be connected to.
    pub(crate) fn connect_failed(&self) {
        self.connect_failures.inc();
    }

    /// This host had no port left for a connection to a pod.
    pub(crate) fn no_local_port(&self) {
        self.no_local_port.inc();
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
        self.misses.with_label_values(&[policy.as_str(), &host]).inc();
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).hosts.insert(host);
    }

    /// A client was sent back to the node of its pod.
    pub(crate) fn sent_back(&self) {
        self.sent_back.inc();
    }

    /// A connection is open until the value is dropped.
    pub(crate) fn connection(&self, scheme: Scheme) -> Open {
        let labels = [scheme_name(scheme)];
        self.connections_total.with_label_values(&labels).inc();
        let gauge = self.connections.with_label_values(&labels);
        gauge.inc();
        self.sessions[counts::index(scheme)].begun(gauge.get());
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

    /// Counts connections over HTTP/2 that are ended because their client floods them, by kind.
    pub(crate) fn http2_abuse(&self) -> IntCounterVec {
        self.http2_abuse.clone()
    }

    /// Listening sockets went from one process to another, or did not.
    pub(crate) fn handover(&self, event: Event) {
        self.handovers.with_label_values(&[event.name()]).inc();
    }

    /// A connection was closed for want of a valid PROXY header.
    pub(crate) fn proxy_header_refused(&self, refused: &Refused) {
        if let Some(reason) = refused.name() {
            self.proxy_headers.with_label_values(&[reason]).inc();
        }
    }

    /// How often limits were met.
    pub(crate) fn exceeded(&self) -> &Exceeded {
        &self.exceeded
    }

    /// The routes have changed: series of those that are gone end.
    pub(crate) fn follow(&self, state: &State) {
        self.generation.set(i64::try_from(state.snapshot.generation).unwrap_or(i64::MAX));
        self.hosts.set(i64::try_from(state.routes().len()).unwrap_or(i64::MAX));
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut missed.routes, Arc::clone(&state.snapshot.routes));
        for change in state.routes().changes_since(&before).iter().filter(|change| change.after.is_none()) {
            let Some(host) = change.pattern().map(ToString::to_string).filter(|host| missed.hosts.remove(host)) else {
                continue;
            };
            for policy in MissPolicy::ALL {
                // Not every policy was applied to every host.
                drop(self.misses.remove_label_values(&[policy.as_str(), &host]));
            }
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
    use nearside_routing::table::{CompiledRoute, InsecurePolicy, Termination, WeightedBackend};
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
        let table = [(service, Arc::new(endpoints))].into();
        let backends = BackendsBuilder::new(node.into()).build(&table, Instant::now());
        let balance = RouteBalance {
            algorithm: Algorithm::Random,
            rotation: Arc::default(),
            canary: Arc::default(),
            cookie: None,
            check: CheckKind { tls: None, path: None },
            retries: None,
        };
        let now = Instant::now();
        let demand = Demand { route: &route, balance: &balance, method: Choice::Random, tried: &[], now };
        let Picked::Target(target) = backends.pick(&demand, std::iter::empty(), &mut Random::seeded(1)) else {
            panic!("there is an endpoint");
        };
        let metrics = Metrics::new("n1".into(), 10, None, &Registry::new()).unwrap();
        let (method, duration) = (&Method::GET, Duration::ZERO);
        metrics.request(&RequestSeen {
            route: None,
            scheme: Scheme::Http,
            target: Some(&target),
            method,
            status: 200,
            received: 0,
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
