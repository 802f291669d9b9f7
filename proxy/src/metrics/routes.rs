//! Series by route: counts of one Route or Ingress live as long as it is served, and cost two atomic additions for a
//! request. `metrics` owns them, Prometheus collects them.

use arc_swap::ArcSwap;
use http::Method;
use nearside_routing::{ObjectKey, RouteTable};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The counts of every route that is served, and of requests that no route matched.
#[derive(Clone)]
pub(super) struct RouteSeries {
    shared: Arc<Shared>,
}

struct Shared {
    by_route: ArcSwap<ByRoute>,
    unmatched: Counts,
    descriptions: [Desc; 3],
}

#[derive(Default)]
struct ByRoute {
    source: Option<Arc<RouteTable>>,
    counts: HashMap<ObjectKey, Arc<Counts>>,
}

#[derive(Default)]
struct Counts {
    /// One row for each method that was seen, one column for each status.
    requests: [OnceLock<Box<[AtomicU64; STATUSES.len()]>>; METHODS.len()],
    response_bytes: AtomicU64,
    passed_through: AtomicU64,
}

impl RouteSeries {
    /// Without any route.
    pub(super) fn new() -> prometheus::Result<Self> {
        let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let describe = |(name, help): (&str, &str), names: &[&str]| {
            Desc::new(name.to_owned(), help.to_owned(), labels(names), HashMap::new())
        };
        let route = ["kind", "namespace", "route"];
        let descriptions = [
            describe(REQUESTS, &["kind", "namespace", "route", "method", "code"])?,
            describe(RESPONSE_BYTES, &route)?,
            describe(PASSED_THROUGH, &route)?,
        ];
        let shared = Shared { by_route: ArcSwap::default(), unmatched: Counts::default(), descriptions };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Counts a request.
    pub(super) fn request(&self, route: Option<&ObjectKey>, method: &Method, status: u16, sent: u64) {
        let by_route = self.shared.by_route.load();
        let counts = route.and_then(|route| by_route.counts.get(route)).map_or(&self.shared.unmatched, |counts| counts);
        let row = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let row = counts.requests[row].get_or_init(|| Box::new([const { AtomicU64::new(0) }; STATUSES.len()]));
        row[column(status)].fetch_add(1, Ordering::Relaxed);
        counts.response_bytes.fetch_add(sent, Ordering::Relaxed);
    }

    /// Counts a passed-through connection.
    pub(super) fn passed_through(&self, route: &ObjectKey, sent: u64) {
        if let Some(counts) = self.shared.by_route.load().counts.get(route) {
            counts.passed_through.fetch_add(1, Ordering::Relaxed);
            counts.response_bytes.fetch_add(sent, Ordering::Relaxed);
        }
    }

    /// Keeps the counts of the routes of this table and of no others.
    pub(super) fn follow(&self, routes: &Arc<RouteTable>) {
        let last = self.shared.by_route.load();
        if last.source.as_ref().is_some_and(|source| Arc::ptr_eq(source, routes)) {
            return;
        }
        let mut counts: HashMap<ObjectKey, Arc<Counts>> = HashMap::new();
        for route in routes.hosts().flat_map(|host| &host.routes).flat_map(|route| route.with_canary()) {
            if !counts.contains_key(&route.source) {
                counts.insert(route.source.clone(), last.counts.get(&route.source).cloned().unwrap_or_default());
            }
        }
        self.shared.by_route.store(Arc::new(ByRoute { source: Some(Arc::clone(routes)), counts }));
    }
}

impl Collector for RouteSeries {
    fn desc(&self) -> Vec<&Desc> {
        self.shared.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let by_route = self.shared.by_route.load();
        let mut families = [Vec::new(), Vec::new(), Vec::new()];
        let routes = by_route.counts.iter().map(|(route, counts)| (Some(route), &**counts));
        for (route, counts) in routes.chain([(None, &self.shared.unmatched)]) {
            let labels = labels_of(route);
            for (row, method) in counts.requests.iter().zip(METHODS) {
                let Some(row) = row.get() else { continue };
                for (count, status) in row.iter().zip(STATUSES) {
                    let count = count.load(Ordering::Relaxed);
                    if count > 0 {
                        let mut labels = labels.clone();
                        labels.extend([label("method", method), label("code", status)]);
                        families[0].push(metric(labels, count));
                    }
                }
            }
            families[1].push(metric(labels.clone(), counts.response_bytes.load(Ordering::Relaxed)));
            let connections = counts.passed_through.load(Ordering::Relaxed);
            if connections > 0 {
                families[2].push(metric(labels, connections));
            }
        }
        let named = families.into_iter().zip([REQUESTS, RESPONSE_BYTES, PASSED_THROUGH]);
        named.filter(|(metrics, _)| !metrics.is_empty()).map(|(metrics, names)| family(names, metrics)).collect()
    }
}

fn column(status: u16) -> usize {
    let exact = STATUSES.iter().position(|known| known.parse() == Ok(status));
    exact.unwrap_or_else(|| usize::from(status / 100).clamp(0, 5))
}

fn labels_of(route: Option<&ObjectKey>) -> Vec<LabelPair> {
    let (kind, namespace, name) =
        route.map_or(("", "", ""), |route| (route.kind.name(), &*route.namespace, &*route.name));
    vec![label("kind", kind), label("namespace", namespace), label("route", name)]
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

fn metric(mut labels: Vec<LabelPair>, value: u64) -> Metric {
    labels.sort_by(|a, b| a.name().cmp(b.name()));
    let mut counter = Counter::default();
    // Counts beyond 2^53 lose their last digits, as any counter of Prometheus does.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in f64")]
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

fn family((name, help): (&str, &str), metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(MetricType::COUNTER);
    family.set_metric(metrics);
    family
}

const REQUESTS: (&str, &str) =
    ("nearside_http_requests_total", "Requests by route, method and status; no route: empty labels.");
const RESPONSE_BYTES: (&str, &str) = ("nearside_response_bytes_total", "Bytes of response bodies by route.");
const PASSED_THROUGH: (&str, &str) =
    ("nearside_passthrough_connections_total", "TLS connections passed through, by route.");

/// The last one stands for every other.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];
/// The first six stand for the statuses that are not listed, by their first digit; `0` where no response was begun.
const STATUSES: [&str; 40] = [
    "0", "1xx", "2xx", "3xx", "4xx", "5xx", "101", "200", "201", "202", "204", "206", "301", "302", "303", "304",
    "307", "308", "400", "401", "403", "404", "405", "406", "408", "409", "410", "412", "413", "414", "415", "416",
    "421", "422", "429", "431", "500", "502", "503", "504",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_counted_one_by_one_or_by_class() {
        for (status, name) in
            [(0, "0"), (200, "200"), (299, "2xx"), (418, "4xx"), (504, "504"), (599, "5xx"), (999, "5xx")]
        {
            assert_eq!(STATUSES[column(status)], name);
        }
    }

    #[test]
    fn what_no_route_matched_is_counted_too() {
        let series = RouteSeries::new().unwrap();
        series.request(None, &Method::GET, 404, 120);
        series.request(None, &Method::from_bytes(b"BREW").unwrap(), 404, 0);
        let families = series.collect();
        let value = |metric: &Metric| metric.get_counter().get_value();
        assert_eq!(families[0].get_metric().iter().map(value).sum::<f64>(), 2.0);
        assert_eq!(families[1].get_metric().iter().map(value).sum::<f64>(), 120.0);
    }
}
