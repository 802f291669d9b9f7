//! Limits on how much and how fast: a route's limits and a client flow in, leave to be served or the time until then flows
//! out. Each object counts each client on its own; a client is an IPv4 address, or the 64 bits of an IPv6 address that one
//! subscriber has (RFC 6177). Asked by `http` for each request and by `accept::passthrough` for each connection.

mod bucket;
pub(crate) mod pace;
mod table;
mod window;

use crate::limits::RATE_STATES;
use bucket::LeakyBucket;
use nearside_routing::ObjectKey;
use nearside_routing::policy::rate::{RateLimits, Window};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use table::{State, Table};
use window::SlidingWindow;

/// What is remembered of the clients of all routes that have limits.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    states: Table<Counted>,
    keys: RandomState,
}

/// Leave to be served; counts as served at present while it lives.
#[derive(Debug, Default)]
pub(crate) struct Permit {
    _in_flight: Option<Arc<()>>,
}

/// Too much. The client may try again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch(pub(crate) Duration);

/// Whether requests are seen, or only a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A request over HTTP.
    Request,
    /// A connection that is passed through.
    Connection,
}

#[derive(Debug)]
enum Counted {
    /// Each permit holds a clone.
    InFlight(Arc<()>),
    Window(SlidingWindow, Duration),
    Bucket(LeakyBucket),
}

impl State for Counted {
    fn forgotten(&self) -> Option<Duration> {
        match self {
            Self::InFlight(held) => (Arc::strong_count(held) == 1).then_some(Duration::ZERO),
            Self::Window(_, until) => Some(*until),
            Self::Bucket(bucket) => Some(bucket.forgotten()),
        }
    }
}

impl RateLimiter {
    /// That remembers nothing.
    pub(crate) fn new() -> Self {
        Self { states: Table::new(RATE_STATES), keys: RandomState::new() }
    }

    /// Counts one more for a client of an object, at a time since some start that never goes back. What is refused by one
    /// limit is not counted by those after it, and what cannot be remembered is not limited.
    ///
    /// # Errors
    /// [`TooMuch`] by the first limit that is exceeded.
    pub(crate) fn admit(
        &self,
        object: &ObjectKey,
        limits: &RateLimits,
        client: IpAddr,
        unit: Unit,
        now: Duration,
    ) -> Result<Permit, TooMuch> {
        if limits.is_open() || limits.exempt.contains(client) {
            return Ok(Permit::default());
        }
        let client = network(client);
        let key = |limit: Limit| self.keys.hash_one((object, client, limit));
        let mut permit = Permit::default();
        if let Some(most) = limits.concurrent {
            permit._in_flight = self.begin(key(Limit::Concurrent), most, now)?;
        }
        for (place, bucket) in limits.buckets.iter().enumerate() {
            let admit = |counted: &mut Counted| match counted {
                Counted::Bucket(counted) => counted.admit(bucket, now),
                _ => Ok(()),
            };
            let make = || Counted::Bucket(LeakyBucket::default());
            self.states.with(key(Limit::Bucket(place)), now, make, admit).unwrap_or(Ok(())).map_err(TooMuch)?;
        }
        for (place, window) in limits.windows.iter().enumerate() {
            self.window(key(Limit::Window(place)), window, now)?;
        }
        match &limits.http {
            Some(window) if unit == Unit::Request => self.window(key(Limit::Http), window, now)?,
            _ => {}
        }
        Ok(permit)
    }

    fn begin(&self, key: u64, most: u32, now: Duration) -> Result<Option<Arc<()>>, TooMuch> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let begin = |counted: &mut Counted| match counted {
            Counted::InFlight(held) if Arc::strong_count(held) > most => Err(TooMuch(SOON)),
            Counted::InFlight(held) => Ok(Some(Arc::clone(held))),
            _ => Ok(None),
        };
        self.states.with(key, now, || Counted::InFlight(Arc::default()), begin).unwrap_or(Ok(None))
    }

    fn window(&self, key: u64, window: &Window, now: Duration) -> Result<(), TooMuch> {
        let admit = |counted: &mut Counted| match counted {
            Counted::Window(counted, until) => {
                *until = now + window.length * 2;
                counted.admit(window, now)
            }
            _ => Ok(()),
        };
        let make = || Counted::Window(SlidingWindow::default(), now);
        self.states.with(key, now, make, admit).unwrap_or(Ok(())).map_err(TooMuch)
    }
}

#[derive(Clone, Copy, Hash)]
enum Limit {
    Concurrent,
    Bucket(usize),
    Window(usize),
    Http,
}

/// The client as it is counted.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(client) => client.into(),
        IpAddr::V6(client) => IpAddr::V6((u128::from(client) >> 64 << 64).into()),
    }
}

/// When something that runs may have ended.
const SOON: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::Kind;
    use nearside_routing::policy::rate::Bucket;

    const NOW: Duration = Duration::from_secs(1000);

    fn ask(limiter: &RateLimiter, limits: &RateLimits, route: &str, client: &str) -> Result<Permit, TooMuch> {
        let object = ObjectKey::new(Kind::Route, "shop", route);
        limiter.admit(&object, limits, client.parse().unwrap(), Unit::Request, NOW)
    }

    #[test]
    fn as_many_run_at_a_time_as_may_and_each_end_makes_room() {
        let limits = RateLimits { concurrent: Some(2), ..RateLimits::default() };
        let limiter = RateLimiter::new();
        let one = ask(&limiter, &limits, "a", "192.0.2.1").unwrap();
        let _two = ask(&limiter, &limits, "a", "192.0.2.1").unwrap();
        assert!(ask(&limiter, &limits, "a", "192.0.2.1").is_err());
        let _other_client = ask(&limiter, &limits, "a", "192.0.2.2").unwrap();
        let _other_route = ask(&limiter, &limits, "b", "192.0.2.1").unwrap();
        drop(one);
        assert!(ask(&limiter, &limits, "a", "192.0.2.1").is_ok());
    }

    #[test]
    fn an_ipv6_client_is_its_network_and_an_ipv4_client_its_address_in_either_form() {
        let limits = RateLimits { http: Some(Window { most: 1, length: NOW }), ..RateLimits::default() };
        for (first, second, same) in [
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            let limiter = RateLimiter::new();
            assert!(ask(&limiter, &limits, "a", first).is_ok());
            assert_eq!(ask(&limiter, &limits, "a", second).is_err(), same, "{first} {second}");
        }
    }

    #[test]
    fn every_limit_counts_for_itself_and_some_clients_are_exempt() {
        let second = Duration::from_secs(1);
        let limits = RateLimits {
            windows: vec![Window { most: 3, length: second }],
            buckets: vec![Bucket { most: 1, period: second, burst: 1 }],
            ..RateLimits::default()
        };
        let limiter = RateLimiter::new();
        let admitted = (0..5).filter(|_| ask(&limiter, &limits, "a", "192.0.2.1").is_ok()).count();
        assert_eq!(admitted, 2, "the bucket is narrower than the window");
        let open = RateLimits { concurrent: Some(0), ..RateLimits::default() };
        assert_eq!(ask(&limiter, &open, "a", "192.0.2.1").unwrap_err(), TooMuch(SOON), "nobody may run");
        let connections = RateLimits { http: Some(Window { most: 0, length: second }), ..RateLimits::default() };
        let object = ObjectKey::new(Kind::Route, "shop", "a");
        let passed = limiter.admit(&object, &connections, "192.0.2.1".parse().unwrap(), Unit::Connection, NOW);
        assert!(passed.is_ok(), "requests are not seen there");
    }
}
