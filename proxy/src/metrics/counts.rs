//! The counts themselves: requests of one route, and exchanges of one pod for one route. Each costs an atomic addition;
//! `series` says whose they are, and the collectors read them when somebody scrapes.

use http::Method;
use nearside_routing::Scheme;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Of one Route or Ingress, or of what no route matched.
#[derive(Debug, Default)]
pub(crate) struct RouteCounts {
    /// One row for each scheme and method that was seen, one column for each status.
    requests: [[OnceLock<Box<[AtomicU64; STATUSES.len()]>>; METHODS.len()]; 2],
    /// Bytes of request bodies, and of TLS that is passed through, by scheme.
    pub(super) received: [AtomicU64; 2],
    /// Bytes to clients.
    pub(super) sent: [AtomicU64; 2],
    pub(super) passed_through: AtomicU64,
    pub(super) duration: OnceLock<Box<Times>>,
    pub(super) first_byte: OnceLock<Box<Times>>,
    /// Exchanges of all its pods, including those that are gone.
    pub(super) pods: PodCounts,
    pub(super) waiting: AtomicU64,
}

/// Of the exchanges of one pod for one route.
#[derive(Debug, Default)]
pub(crate) struct PodCounts {
    /// Responses by the first digit of their status, from 1 to 5; any other comes first.
    pub(super) responses: [AtomicU64; 6],
    pub(super) response_micros: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    /// Requests and passed-through connections that it was given.
    pub(super) begun: AtomicU64,
    pub(super) current: AtomicU64,
    pub(super) most: AtomicU64,
    /// New connections.
    pub(super) connects: AtomicU64,
    pub(super) connect_micros: AtomicU64,
    pub(super) connect_failures: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// Times in buckets.
#[derive(Debug, Default)]
pub(super) struct Times {
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// Something that is counted in a gauge while the value lives.
pub(crate) struct Waits(Arc<RouteCounts>);

/// One exchange with a pod, under way while the value lives.
#[derive(Debug)]
pub(crate) struct Exchanging {
    route: Arc<RouteCounts>,
    pod: Arc<PodCounts>,
}

impl RouteCounts {
    /// A request is over; `received` and `sent` are bytes of bodies.
    pub(super) fn request(&self, seen: &Request<'_>) {
        let row = METHODS.iter().position(|known| *known == seen.method.as_str()).unwrap_or(METHODS.len() - 1);
        let row = self.requests[index(seen.scheme)][row]
            .get_or_init(|| Box::new([const { AtomicU64::new(0) }; STATUSES.len()]));
        add(&row[column(seen.status)], 1);
        self.moved(seen.scheme, seen.received, seen.sent);
        self.duration.get_or_init(Box::default).observe(seen.duration);
    }

    /// A passed-through connection is over.
    pub(super) fn passed_through(&self, received: u64, sent: u64) {
        add(&self.passed_through, 1);
        self.moved(Scheme::Https, received, sent);
    }

    /// Bytes from and to clients.
    fn moved(&self, scheme: Scheme, received: u64, sent: u64) {
        add(&self.received[index(scheme)], received);
        add(&self.sent[index(scheme)], sent);
    }

    /// Requests and passed-through connections that pods have at present.
    pub(crate) fn under_way(&self) -> u64 {
        load(&self.pods.current)
    }

    /// A request waits for a pod below its limit while the value lives.
    pub(crate) fn waits(self: &Arc<Self>) -> Waits {
        add(&self.waiting, 1);
        Waits(Arc::clone(self))
    }

    /// Every count of requests that is not zero, with scheme, method and status.
    pub(super) fn requests(&self) -> impl Iterator<Item = (Scheme, &'static str, &'static str, u64)> {
        let rows = SCHEMES.into_iter().zip(&self.requests);
        rows.flat_map(|(scheme, rows)| METHODS.into_iter().zip(rows).map(move |(method, row)| (scheme, method, row)))
            .filter_map(|(scheme, method, row)| Some((scheme, method, row.get()?)))
            .flat_map(|(scheme, method, row)| {
                let counts = row.iter().map(|count| count.load(Ordering::Relaxed));
                STATUSES.into_iter().zip(counts).map(move |(status, count)| (scheme, method, status, count))
            })
            .filter(|(_, _, _, count)| *count > 0)
    }
}

/// A request that is over.
pub(super) struct Request<'r> {
    pub(super) scheme: Scheme,
    pub(super) method: &'r Method,
    pub(super) status: u16,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) duration: Duration,
}

impl Exchanging {
    /// A pod has a request or connection of a route.
    pub(super) fn begin(route: Arc<RouteCounts>, pod: Arc<PodCounts>) -> Self {
        for counts in [&pod, &route.pods] {
            add(&counts.begun, 1);
            let now = counts.current.fetch_add(1, Ordering::Relaxed) + 1;
            counts.most.fetch_max(now, Ordering::Relaxed);
        }
        Self { route, pod }
    }

    /// It was connected to anew.
    pub(crate) fn connected(&self, time: Duration) {
        self.both(|counts| {
            add(&counts.connects, 1);
            add(&counts.connect_micros, micros(time));
        });
    }

    /// It could not be connected to.
    pub(crate) fn connect_failed(&self) {
        self.both(|counts| add(&counts.connect_failures, 1));
    }

    /// It was connected to and did not answer as it should.
    pub(crate) fn failed(&self) {
        self.both(|counts| add(&counts.failures, 1));
    }

    /// Its response began with this status, so long after it was asked.
    pub(crate) fn responded(&self, status: u16, time: Duration) {
        let class = usize::from(status / 100);
        let class = if class > 5 { 0 } else { class };
        self.both(|counts| {
            add(&counts.responses[class], 1);
            add(&counts.response_micros, micros(time));
        });
        self.route.first_byte.get_or_init(Box::default).observe(time);
    }

    /// Bytes to it and from it.
    pub(crate) fn moved(&self, to_pod: u64, from_pod: u64) {
        self.both(|counts| {
            add(&counts.received, to_pod);
            add(&counts.sent, from_pod);
        });
    }

    fn both(&self, count: impl Fn(&PodCounts)) {
        count(&self.pod);
        count(&self.route.pods);
    }
}

impl Drop for Exchanging {
    fn drop(&mut self) {
        self.both(|counts| {
            counts.current.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Times {
    fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        add(&self.counts[BOUNDS.partition_point(|bound| *bound < seconds)], 1);
        add(&self.micros, micros(time));
    }

    /// Upper bounds with the observations up to each, how many there were in all, and their sum in seconds.
    pub(super) fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut sum = 0;
        let mut up_to = |count: &AtomicU64| {
            sum += load(count);
            sum
        };
        let buckets = BOUNDS.into_iter().zip(&self.counts).map(|(bound, count)| (bound, up_to(count))).collect();
        let all = up_to(&self.counts[BOUNDS.len()]);
        (buckets, all, Duration::from_micros(load(&self.micros)).as_secs_f64())
    }
}

pub(super) fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The place of a scheme in pairs of counts.
pub(super) fn index(scheme: Scheme) -> usize {
    match scheme {
        Scheme::Http => 0,
        Scheme::Https => 1,
    }
}

fn column(status: u16) -> usize {
    let exact = STATUSES.iter().position(|known| known.parse() == Ok(status));
    exact.unwrap_or_else(|| usize::from(status / 100).clamp(0, 5))
}

/// In the order of pairs of counts.
pub(super) const SCHEMES: [Scheme; 2] = [Scheme::Http, Scheme::Https];
/// In seconds. From a pod that answers from memory to one whose answer nobody waits for.
const BOUNDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
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
    fn times_are_counted_up_to_each_bound() {
        let times = Times::default();
        for millis in [0, 1, 2, 1000, 90_000] {
            times.observe(Duration::from_millis(millis));
        }
        let (buckets, count, sum) = times.read();
        assert_eq!((buckets[0], buckets[1], buckets[9]), ((0.001, 2), (0.0025, 3), (1.0, 4)));
        assert_eq!((buckets[13].1, count), (4, 5));
        assert!((sum - 91.003).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn an_exchange_counts_for_its_pod_and_its_route_until_it_is_over() {
        let (route, pod) = (Arc::<RouteCounts>::default(), Arc::<PodCounts>::default());
        let exchange = Exchanging::begin(Arc::clone(&route), Arc::clone(&pod));
        let other = Exchanging::begin(Arc::clone(&route), Arc::default());
        exchange.responded(204, Duration::from_millis(3));
        exchange.responded(999, Duration::ZERO);
        exchange.connect_failed();
        assert_eq!((load(&pod.current), load(&route.pods.current)), (1, 2));
        drop((exchange, other));
        assert_eq!((load(&pod.current), load(&route.pods.current), load(&route.pods.most)), (0, 0, 2));
        assert_eq!((load(&pod.responses[2]), load(&pod.responses[0]), load(&route.pods.connect_failures)), (1, 1, 1));
    }
}
