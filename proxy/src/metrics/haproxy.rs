//! The series of an OpenShift router under its own names, for dashboards and alerts that exist: the counts of `series` flow
//! in when somebody scrapes, `haproxy_*` and `template_router_*` flow out. Nothing is counted for them.

use super::counts::{PodCounts, RouteCounts, SCHEMES, index, load};
use super::family::{Families, Named, number};
use super::process;
use super::series::{AllSeries, CLASSES, PodKey, PodRow, class, scheme_name};
use nearside_routing::table::Termination;
use nearside_routing::{Kind, ObjectKey};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Client connections of one scheme.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    most: AtomicI64,
}

impl Sessions {
    /// One has begun; there are so many now.
    pub(super) fn begun(&self, now: i64) {
        self.most.fetch_max(now, Ordering::Relaxed);
    }
}

/// The collector.
pub(super) struct HaproxySeries {
    series: AllSeries,
    sessions: Arc<[Sessions; 2]>,
    connections: IntGaugeVec,
    connections_total: IntCounterVec,
    max_connections: u32,
    scrapes: AtomicU64,
    description: Desc,
}

impl HaproxySeries {
    /// Of these counts, with the connections by scheme.
    pub(super) fn new(
        series: AllSeries,
        sessions: Arc<[Sessions; 2]>,
        (connections, connections_total): (IntGaugeVec, IntCounterVec),
        max_connections: u32,
    ) -> prometheus::Result<Self> {
        let (scrapes, description) = (AtomicU64::new(0), UP.desc()?);
        Ok(Self { series, sessions, connections, connections_total, max_connections, scrapes, description })
    }

    /// What the OpenShift router calls `public` and `public_ssl`.
    fn frontends(&self, families: &mut Families, counts: &[&RouteCounts]) {
        for (scheme, name) in SCHEMES.into_iter().zip(["public", "public_ssl"]) {
            let (at, gone) = (index(scheme), &self.series.shared.gone[index(scheme)]);
            let mut responses: [u64; 6] = std::array::from_fn(|class| load(&gone.responses[class]));
            for (of, _, status, count) in counts.iter().flat_map(|counts| counts.requests()) {
                if of == scheme {
                    responses[class(status)] += count;
                }
            }
            let sum = |gone: &AtomicU64, of: fn(&RouteCounts) -> &[AtomicU64; 2]| {
                load(gone) + counts.iter().map(|counts| load(&of(counts)[at])).sum::<u64>()
            };
            let label = [scheme_name(scheme)];
            let whole = |number: i64| u64::try_from(number).unwrap_or(0);
            let current = whole(self.connections.with_label_values(&label).get());
            let most = whole(self.sessions[at].most.load(Ordering::Relaxed));
            for (named, value) in [
                (&FRONTEND_CURRENT, current),
                (&FRONTEND_MOST, most),
                (&FRONTEND_BYTES_IN, sum(&gone.received, |counts| &counts.received)),
                (&FRONTEND_BYTES_OUT, sum(&gone.sent, |counts| &counts.sent)),
                (&FRONTEND_CONNECTIONS, self.connections_total.with_label_values(&label).get()),
            ] {
                families.gauge(named, &[name], number(value));
            }
            for (class, value) in CLASSES.into_iter().zip(responses) {
                families.gauge(&FRONTEND_RESPONSES, &[name, class], number(value));
            }
        }
    }

    fn process(&self, families: &mut Families, servers: usize) {
        families.gauge(&UP, &[], 1.0);
        families.gauge(&MAX_CONNECTIONS, &[], f64::from(self.max_connections));
        families.counter(&SCRAPES, &[], self.scrapes.fetch_add(1, Ordering::Relaxed) + 1);
        families.gauge(&SCRAPE_INTERVAL, &[], 0.0);
        families.counter(&PARSE_FAILURES, &[], 0);
        families.gauge(&THRESHOLD, &["current"], number(servers as u64));
        families.gauge(&THRESHOLD, &["limit"], number(self.series.shared.limit as u64));
        families.empty_summary(&RELOAD_SECONDS);
        families.empty_summary(&WRITE_SECONDS);
        families.gauge(&RELOAD_FAILURE, &[], 0.0);
        if let Some(process) = process::read() {
            families.gauge(&RESIDENT, &[], number(process.resident_bytes));
            families.gauge(&VIRTUAL, &[], number(process.virtual_bytes));
            families.gauge(&OPEN_FILES, &[], number(process.open_files));
            families.gauge(&CPU, &[], process.cpu_seconds);
        }
    }
}

impl Collector for HaproxySeries {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (rows, mut families) = (self.series.shared.rows.load(), Families::default());
        let all: Vec<&RouteCounts> =
            rows.routes.values().map(|row| &*row.counts).chain([&*self.series.shared.unmatched]).collect();
        self.frontends(&mut families, &all);
        let up: HashSet<&ObjectKey> =
            rows.pods.iter().filter(|(_, row)| is_up(row)).map(|(key, _)| &key.route).collect();
        for (key, row) in &rows.routes {
            let name = route_name(key);
            let labels = [backend(&row.termination), &*key.namespace, &*name];
            // Beyond the limit it is not known of every pod.
            backend_series(&mut families, &labels, &row.counts, up.contains(key) || rows.left_out > 0);
        }
        let unmatched = ["other/openshift_default", "", ""];
        backend_series(&mut families, &unmatched, &self.series.shared.unmatched, true);
        for (key, row) in &rows.pods {
            server_series(&mut families, key, row);
        }
        self.process(&mut families, rows.pods.len() + rows.left_out);
        families.finish()
    }
}

fn backend_series(families: &mut Families, labels: &[&str; 3], counts: &RouteCounts, up: bool) {
    let mut responses = [0; 6];
    let mut requests = 0;
    for (_, _, status, count) in counts.requests() {
        responses[class(status)] += count;
        requests += count;
    }
    let sum = |pair: &[AtomicU64; 2]| pair.iter().map(load).sum();
    let connections = requests + load(&counts.passed_through);
    common(
        families,
        &BACKEND,
        labels,
        &Common {
            queue: load(&counts.waiting),
            connections,
            bytes: [sum(&counts.received), sum(&counts.sent)],
            up,
            responses,
            pods: &counts.pods,
        },
    );
}

fn server_series(families: &mut Families, key: &PodKey, row: &PodRow) {
    let (server, name) = (row.address.to_string(), route_name(&key.route));
    let labels = [&*server, &*key.route.namespace, &*name, &*row.pod, &*key.service.name];
    let of = Common {
        queue: row.tracked.waiting() as u64,
        connections: load(&row.counts.begun),
        bytes: [load(&row.counts.received), load(&row.counts.sent)],
        up: is_up(row),
        responses: std::array::from_fn(|class| load(&row.counts.responses[class])),
        pods: &row.counts,
    };
    common(families, &SERVER, &labels, &of);
}

/// What backends and servers have in common.
struct Common<'c> {
    queue: u64,
    connections: u64,
    bytes: [u64; 2],
    up: bool,
    responses: [u64; 6],
    pods: &'c PodCounts,
}

fn common(families: &mut Families, names: &CommonNames, labels: &[&str], of: &Common<'_>) {
    let pods = of.pods;
    let answered: u64 = pods.responses.iter().map(load).sum();
    let reused = load(&pods.begun).saturating_sub(load(&pods.connects) + load(&pods.connect_failures));
    for (named, value) in [
        (&names.queue, number(of.queue)),
        (&names.current, number(load(&pods.current))),
        (&names.most, number(load(&pods.most))),
        (&names.connections, number(of.connections)),
        (&names.bytes_in, number(of.bytes[0])),
        (&names.bytes_out, number(of.bytes[1])),
        (&names.connect_errors, number(load(&pods.connect_failures))),
        (&names.response_errors, number(load(&pods.failures))),
        (&names.up, f64::from(u8::from(of.up))),
        (&names.queue_time, 0.0),
        (&names.connect_time, mean_milliseconds(load(&pods.connect_micros), load(&pods.connects))),
        (&names.response_time, mean_milliseconds(load(&pods.response_micros), answered)),
        (&names.reused, number(reused)),
    ] {
        families.gauge(named, labels, value);
    }
    for (class, value) in CLASSES.into_iter().zip(of.responses) {
        families.gauge(&names.responses, &[labels, &[class]].concat(), number(value));
    }
}

fn is_up(row: &PodRow) -> bool {
    !row.tracked.health.is_down(&row.check)
}

fn mean_milliseconds(micros: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { number(micros) / 1000.0 / number(count) }
}

/// As the OpenShift router sorts its backends.
fn backend(termination: &Termination) -> &'static str {
    match termination {
        Termination::None => "http",
        Termination::Edge => "https-edge",
        Termination::Reencrypt { .. } => "https",
        Termination::Passthrough => "tcp",
    }
}

/// A Route and an Ingress may have one name; no name has a slash.
fn route_name(key: &ObjectKey) -> String {
    if key.kind == Kind::Ingress { format!("ingress/{}", key.name) } else { key.name.to_string() }
}

struct CommonNames {
    queue: Named,
    current: Named,
    most: Named,
    connections: Named,
    bytes_in: Named,
    bytes_out: Named,
    connect_errors: Named,
    response_errors: Named,
    up: Named,
    queue_time: Named,
    connect_time: Named,
    response_time: Named,
    reused: Named,
    responses: Named,
}

const OF_BACKEND: &[&str] = &["backend", "namespace", "route"];
const OF_SERVER: &[&str] = &["server", "namespace", "route", "pod", "service"];

const fn backend_named(name: &'static str, help: &'static str) -> Named {
    Named { name, help, labels: OF_BACKEND }
}

const fn server_named(name: &'static str, help: &'static str) -> Named {
    Named { name, help, labels: OF_SERVER }
}

const fn plain(name: &'static str, help: &'static str) -> Named {
    Named { name, help, labels: &[] }
}

const fn frontend(name: &'static str, help: &'static str) -> Named {
    Named { name, help, labels: &["frontend"] }
}

const BACKEND: CommonNames = CommonNames {
    queue: backend_named("haproxy_backend_current_queue", QUEUE),
    current: backend_named("haproxy_backend_current_sessions", CURRENT),
    most: backend_named("haproxy_backend_max_sessions", MOST),
    connections: backend_named("haproxy_backend_connections_total", CONNECTIONS),
    bytes_in: backend_named("haproxy_backend_bytes_in_total", BYTES_IN),
    bytes_out: backend_named("haproxy_backend_bytes_out_total", BYTES_OUT),
    connect_errors: backend_named("haproxy_backend_connection_errors_total", CONNECT_ERRORS),
    response_errors: backend_named("haproxy_backend_response_errors_total", RESPONSE_ERRORS),
    up: backend_named("haproxy_backend_up", IS_UP),
    queue_time: backend_named("haproxy_backend_http_average_queue_latency_milliseconds", QUEUE_TIME),
    connect_time: backend_named("haproxy_backend_http_average_connect_latency_milliseconds", CONNECT_TIME),
    response_time: backend_named("haproxy_backend_http_average_response_latency_milliseconds", RESPONSE_TIME),
    reused: backend_named("haproxy_backend_connections_reused_total", REUSED),
    responses: Named {
        name: "haproxy_backend_http_responses_total",
        help: RESPONSES,
        labels: &["backend", "namespace", "route", "code"],
    },
};
const SERVER: CommonNames = CommonNames {
    queue: server_named("haproxy_server_current_queue", QUEUE),
    current: server_named("haproxy_server_current_sessions", CURRENT),
    most: server_named("haproxy_server_max_sessions", MOST),
    connections: server_named("haproxy_server_connections_total", CONNECTIONS),
    bytes_in: server_named("haproxy_server_bytes_in_total", BYTES_IN),
    bytes_out: server_named("haproxy_server_bytes_out_total", BYTES_OUT),
    connect_errors: server_named("haproxy_server_connection_errors_total", CONNECT_ERRORS),
    response_errors: server_named("haproxy_server_response_errors_total", RESPONSE_ERRORS),
    up: server_named("haproxy_server_up", IS_UP),
    queue_time: server_named("haproxy_server_http_average_queue_latency_milliseconds", QUEUE_TIME),
    connect_time: server_named("haproxy_server_http_average_connect_latency_milliseconds", CONNECT_TIME),
    response_time: server_named("haproxy_server_http_average_response_latency_milliseconds", RESPONSE_TIME),
    reused: server_named("haproxy_server_connections_reused_total", REUSED),
    responses: Named {
        name: "haproxy_server_http_responses_total",
        help: RESPONSES,
        labels: &["server", "namespace", "route", "pod", "service", "code"],
    },
};

const FRONTEND_CURRENT: Named = frontend("haproxy_frontend_current_sessions", "Client connections at present.");
const FRONTEND_MOST: Named = frontend("haproxy_frontend_max_sessions", "Most client connections at a time.");
const FRONTEND_BYTES_IN: Named = frontend("haproxy_frontend_bytes_in_total", BYTES_IN);
const FRONTEND_BYTES_OUT: Named = frontend("haproxy_frontend_bytes_out_total", BYTES_OUT);
const FRONTEND_CONNECTIONS: Named = frontend("haproxy_frontend_connections_total", "Client connections.");
const FRONTEND_RESPONSES: Named =
    Named { name: "haproxy_frontend_http_responses_total", help: RESPONSES, labels: &["frontend", "code"] };

const UP: Named = plain("haproxy_up", "Always 1: what is asked is the proxy itself.");
const MAX_CONNECTIONS: Named = plain("haproxy_max_connections", "Client connections that are served at a time.");
const SCRAPES: Named = plain("haproxy_exporter_total_scrapes", "Scrapes so far.");
const SCRAPE_INTERVAL: Named = plain("haproxy_exporter_scrape_interval", "Always 0: each scrape sees what is.");
const PARSE_FAILURES: Named = plain("haproxy_exporter_csv_parse_failures", "Always 0: nothing is parsed.");
const THRESHOLD: Named = Named {
    name: "haproxy_exporter_server_threshold",
    help: "Pods behind routes, and how many of them have series.",
    labels: &["type"],
};
const RESIDENT: Named = plain("haproxy_process_resident_memory_bytes", "Memory of the proxy.");
const VIRTUAL: Named = plain("haproxy_process_virtual_memory_bytes", "Address space of the proxy.");
const OPEN_FILES: Named = plain("haproxy_process_open_fds", "Descriptors of the proxy.");
const CPU: Named = plain("haproxy_process_cpu_seconds_total", "Time that the proxy has computed.");
const RELOAD_SECONDS: Named = plain("template_router_reload_seconds", "Always empty: nothing is reloaded.");
const WRITE_SECONDS: Named =
    plain("template_router_write_config_seconds", "Always empty: no configuration is written.");
const RELOAD_FAILURE: Named = plain("template_router_reload_failure", "Always 0: nothing is reloaded.");

const QUEUE: &str = "Requests that wait for a pod.";
const CURRENT: &str = "Requests and connections under way.";
const MOST: &str = "Most requests and connections at a time.";
const CONNECTIONS: &str = "Requests and connections so far.";
const BYTES_IN: &str = "Bytes from clients, of bodies alone.";
const BYTES_OUT: &str = "Bytes to clients, of bodies alone.";
const CONNECT_ERRORS: &str = "Attempts to connect that failed.";
const RESPONSE_ERRORS: &str = "Requests that were not answered as they should.";
const IS_UP: &str = "Whether a pod is up by its checks, or is not checked.";
const QUEUE_TIME: &str = "Always 0: the wait is part of nearside_http_request_duration_seconds.";
const CONNECT_TIME: &str = "Mean time to connect, over the life of the series.";
const RESPONSE_TIME: &str = "Mean time to the header of a response, over the life of the series.";
const REUSED: &str = "Requests that found a connection.";
const RESPONSES: &str = "Responses by class of status.";
