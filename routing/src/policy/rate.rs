//! How much one client may ask: annotations flow in, the limits of one object flow out. The proxy counts, for each object
//! and client on its own.

use super::access::{AddressRanges, list};
use crate::annotation::grammar::{boolean, count};
use crate::annotation::{Annotations, Spelling};
use std::time::Duration;

/// The limits of one object for each client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests, or passed-through connections, at a time.
    pub concurrent: Option<u32>,
    /// Requests, or passed-through connections, in any time as long as this.
    pub windows: Vec<Window>,
    /// Requests, or passed-through connections, at a steady rate with a burst.
    pub buckets: Vec<Bucket>,
    /// Requests over HTTP in any time as long as this; nothing is counted on passed-through connections.
    pub http: Option<Window>,
    /// Clients that are not limited.
    pub exempt: AddressRanges,
}

/// So many in any time as long as this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many.
    pub most: u32,
    /// In any time as long as this.
    pub length: Duration,
}

/// So many in each period, evenly, and a burst above it (`limit_req … burst=… nodelay` of nginx).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// How many in each period; not 0.
    pub most: u32,
    /// The period.
    pub period: Duration,
    /// How many more at once.
    pub burst: u32,
}

impl RateLimits {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let on = switch(annotations, "nearside.dev/rate-limit-connections")
            .or_else(|| switch(annotations, "haproxy.router.openshift.io/rate-limit-connections"));
        // Read also where they are switched off, for they are no mistakes.
        let [concurrent, tcp, http] = [CONCURRENT, RATE_TCP, RATE_HTTP].map(|names| {
            annotations.first(&names.map(|name| Spelling { name, parse: count })).filter(|_| on == Some(true))
        });
        let mut some = |own: &'static str, nginx: &'static str| {
            let spellings = [Spelling { name: own, parse: count }, Spelling { name: nginx, parse: count }];
            annotations.first(&spellings).filter(|most| *most > 0)
        };
        let at_once = some("nearside.dev/limit-connections", "nginx.ingress.kubernetes.io/limit-connections");
        let rps = some("nearside.dev/limit-rps", "nginx.ingress.kubernetes.io/limit-rps");
        let rpm = some("nearside.dev/limit-rpm", "nginx.ingress.kubernetes.io/limit-rpm");
        let multiplier =
            some("nearside.dev/limit-burst-multiplier", "nginx.ingress.kubernetes.io/limit-burst-multiplier");
        let bucket = |most: u32, seconds: u64| Bucket {
            most,
            period: Duration::from_secs(seconds),
            burst: most.saturating_mul(multiplier.unwrap_or(BURST)),
        };
        Self {
            concurrent: concurrent.or(at_once),
            windows: tcp.map(|most| Window { most, length: TCP_WINDOW }).into_iter().collect(),
            buckets: rpm.map(|most| bucket(most, 60)).into_iter().chain(rps.map(|most| bucket(most, 1))).collect(),
            http: http.map(|most| Window { most, length: HTTP_WINDOW }),
            exempt: list(annotations, &EXEMPT).unwrap_or_default(),
        }
    }

    /// Whether nothing is limited.
    pub fn is_open(&self) -> bool {
        self.concurrent.is_none() && self.windows.is_empty() && self.buckets.is_empty() && self.http.is_none()
    }
}

fn switch(annotations: &mut Annotations<'_>, name: &'static str) -> Option<bool> {
    annotations.first(&[Spelling { name, parse: boolean }])
}

const CONCURRENT: [&str; 2] = [
    "nearside.dev/rate-limit-connections.concurrent-tcp",
    "haproxy.router.openshift.io/rate-limit-connections.concurrent-tcp",
];
const RATE_TCP: [&str; 2] =
    ["nearside.dev/rate-limit-connections.rate-tcp", "haproxy.router.openshift.io/rate-limit-connections.rate-tcp"];
const RATE_HTTP: [&str; 2] =
    ["nearside.dev/rate-limit-connections.rate-http", "haproxy.router.openshift.io/rate-limit-connections.rate-http"];
const EXEMPT: [&str; 3] = [
    "nearside.dev/limit-allowlist",
    "nginx.ingress.kubernetes.io/limit-allowlist",
    "nginx.ingress.kubernetes.io/limit-whitelist",
];
/// Over which the OpenShift router counts connections.
const TCP_WINDOW: Duration = Duration::from_secs(3);
/// Over which it counts requests.
const HTTP_WINDOW: Duration = Duration::from_secs(10);
/// The `limit-burst-multiplier` of ingress-nginx.
const BURST: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    const SWITCH: (&str, &str) = ("haproxy.router.openshift.io/rate-limit-connections", "true");
    const RATES: [(&str, &str); 3] = [
        ("haproxy.router.openshift.io/rate-limit-connections.concurrent-tcp", "4"),
        ("haproxy.router.openshift.io/rate-limit-connections.rate-tcp", "5"),
        ("haproxy.router.openshift.io/rate-limit-connections.rate-http", "0"),
    ];

    #[test]
    fn the_limits_of_openshift_count_only_where_they_are_switched_on() {
        assert!(read(&RATES, RateLimits::read).is_open());
        assert!(problems(&RATES, RateLimits::read).is_empty());
        let limits = read(&[&[SWITCH][..], &RATES].concat(), RateLimits::read);
        assert_eq!(limits.concurrent, Some(4));
        assert_eq!(limits.windows, [Window { most: 5, length: Duration::from_secs(3) }]);
        assert_eq!(limits.http, Some(Window { most: 0, length: Duration::from_secs(10) }));
    }

    #[test]
    fn the_limits_of_nginx_have_a_burst_and_zero_means_none() {
        let limits = read(
            &[
                ("nginx.ingress.kubernetes.io/limit-connections", "3"),
                ("nginx.ingress.kubernetes.io/limit-rps", "10"),
                ("nginx.ingress.kubernetes.io/limit-rpm", "20"),
                ("nginx.ingress.kubernetes.io/limit-burst-multiplier", "2"),
                ("nginx.ingress.kubernetes.io/limit-whitelist", "10.0.0.0/8,192.0.2.1"),
            ],
            RateLimits::read,
        );
        assert_eq!(limits.concurrent, Some(3));
        let bucket = |most, seconds, burst| Bucket { most, period: Duration::from_secs(seconds), burst };
        assert_eq!(limits.buckets, [bucket(20, 60, 40), bucket(10, 1, 20)]);
        assert!(limits.exempt.contains("10.9.9.9".parse().unwrap()));
        let off = [("nginx.ingress.kubernetes.io/limit-rps", "0"), ("nearside.dev/limit-connections", "0")];
        assert!(read(&off, RateLimits::read).is_open());
        let bad = [("nginx.ingress.kubernetes.io/limit-rps", "-1"), ("nearside.dev/limit-allowlist", "me")];
        assert_eq!(problems(&bad, RateLimits::read).len(), 2);
    }
}
