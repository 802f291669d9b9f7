//! The strict edge: what strangers may take of the proxy before anybody knows who they are. Connections, handshakes and request bodies
//! flow in, leave to go on flows out, or a refusal that is counted. Every limit that a client can meet is a row in `table`, which
//! `docs/limits.md` is written from; those that are no more than a number are enforced where the number is met, by `accept` and `http`.
//!
//! Nothing here waits on a lock that others hold for long: a connection takes its source's place once, a request adds to one number.

mod body_rate;
mod crowd;
mod exceeded;
mod requests;
mod sources;
#[cfg(test)]
mod table;
mod turns;

pub(crate) use body_rate::{BodyRate, Slow, Upload};
pub(crate) use exceeded::{Exceeded, Limit};
pub(crate) use requests::UnderWay;
pub(crate) use sources::Place;
pub(crate) use turns::NoTurn;

use crate::lifecycle::Lifecycle;
use crate::options::{EdgeConfig, Most};
use crowd::Crowd;
use ipnet::IpNet;
use requests::Requests;
use sources::Sources;
use std::net::IpAddr;
use turns::Turns;

/// The limits that have a state of their own.
#[derive(Debug)]
pub(crate) struct Edge {
    sources: Option<Sources>,
    requests: Requests,
    per_route: Option<u64>,
    turns: Turns,
    crowd: Crowd,
}

impl Edge {
    /// Of a proxy with so many threads that serves at most as many connections as `lifecycle` says.
    pub(crate) fn new(config: &EdgeConfig, threads: usize, lifecycle: &Lifecycle) -> Self {
        let most = lifecycle.most();
        let per_source = config.per_source.of(|| (most / SOURCE_PART).max(SOURCE_LEAST));
        let per_route = config.per_route.of(|| most - most / ROUTE_LEAVES);
        Self {
            sources: per_source.map(Sources::new),
            requests: Requests::new(most as usize),
            per_route: per_route.map(u64::from),
            turns: Turns::new(threads * config.handshakes_per_thread, config.handshakes_waiting),
            crowd: Crowd::new(lifecycle.clone()),
        }
    }

    /// A place for a connection of this source. Sources in `many` stand for many clients, and are not counted.
    ///
    /// # Errors
    /// It has as many as it may.
    pub(crate) fn enter(&self, source: IpAddr, many: &[IpNet]) -> Result<Option<Place>, TooMany> {
        let Some(sources) = &self.sources else { return Ok(None) };
        let source = source.to_canonical();
        if many.iter().any(|range| range.contains(&source)) {
            return Ok(None);
        }
        sources.enter(source).map(Some).ok_or(TooMany)
    }

    /// A place for a request for a pod, among those of all routes.
    ///
    /// # Errors
    /// As many are under way as there may be connections.
    pub(crate) fn begin(&self) -> Result<UnderWay, TooMany> {
        self.requests.begin().ok_or(TooMany)
    }

    /// Whether a route has more requests and passed-through connections under way than it may.
    pub(crate) fn is_too_many(&self, of_route: u64) -> bool {
        self.per_route.is_some_and(|most| of_route > most)
    }

    /// Who may compute a handshake.
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// How near the proxy is to as many connections as it may have.
    pub(crate) fn crowd(&self) -> &Crowd {
        &self.crowd
    }
}

/// There is no place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Most {
    /// The number; `auto` is what it is where the operator leaves it to the proxy.
    fn of(self, auto: impl FnOnce() -> u32) -> Option<u32> {
        match self {
            Self::Auto => Some(auto()),
            Self::Off => None,
            Self::Number(most) => Some(most.get()),
        }
    }
}

/// What one source may have of all connections, as `auto`: one part of so many.
const SOURCE_PART: u32 = 4;
/// But as many in any case.
const SOURCE_LEAST: u32 = 1024;
/// What one route leaves to the others, as `auto`: one part of so many.
const ROUTE_LEAVES: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn edge(per_source: Most, per_route: Most, most: u32) -> Edge {
        let config = EdgeConfig { per_source, per_route, ..EdgeConfig::default() };
        Edge::new(&config, 1, &Lifecycle::serving(most))
    }

    #[test]
    fn what_is_left_to_the_proxy_follows_from_how_many_connections_fit() {
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        let many = edge(Most::Auto, Most::Auto, 8000);
        let places: Vec<_> = (0..2500).map_while(|_| many.enter(source, &[]).ok()).collect();
        assert_eq!(places.len(), 2000);
        assert!(many.is_too_many(7201) && !many.is_too_many(7200));
        let few = edge(Most::Auto, Most::Off, 100);
        assert_eq!((0..2500).map_while(|_| few.enter(source, &[]).ok()).collect::<Vec<_>>().len(), 1024);
        assert!(!few.is_too_many(u64::MAX));
    }

    #[test]
    fn sources_that_stand_for_many_are_not_counted() {
        let one = Most::Number(NonZeroU32::MIN);
        let edge = edge(one, one, 8000);
        let enter = |source: &str| edge.enter(source.parse().unwrap(), &["192.0.2.0/24".parse().unwrap()]);
        let places = [enter("192.0.2.1"), enter("192.0.2.1"), enter("::ffff:192.0.2.1"), enter("198.51.100.1")];
        assert!(places.iter().all(Result::is_ok));
        assert!(enter("198.51.100.1").is_err() && enter("::ffff:198.51.100.1").is_err());
    }
}
