//! The endpoints on this node: the endpoint table of a snapshot flows in, for each request one pod to ask flows out.
//! What is known of an endpoint lives as long as the pod is one, whatever else changes. `builder` makes them, asked by
//! `http` and `accept::passthrough`.

mod builder;
mod tracked;

pub(crate) use builder::BackendsBuilder;

use crate::balance::{Candidate, CookieValue, Method, Random, RouteBalance, choose};
use nearside_routing::endpoints::{Endpoint, EndpointState, PortEndpoints, ServiceEndpoints, ServiceKey};
use nearside_routing::table::{CompiledRoute, WeightedBackend};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tracked::{InFlight, Tracked};

/// The local endpoints of every Service that has any.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    services: HashMap<ServiceKey, Arc<LocalService>>,
}

#[derive(Debug)]
struct LocalService {
    key: Arc<ServiceKey>,
    /// Tells whether the Service has changed.
    all: Arc<ServiceEndpoints>,
    /// As in `all`, with the endpoints of this node.
    ports: Vec<Vec<LocalEndpoint>>,
}

/// One endpoint of this node for one Service port.
#[derive(Debug)]
pub(crate) struct LocalEndpoint {
    /// What it is.
    pub(crate) endpoint: Endpoint,
    /// What is known of it.
    tracked: Arc<Tracked>,
    /// Of its address, the same in every process.
    hash: u64,
    /// What names it in an affinity cookie.
    cookie: CookieValue,
}

/// One request or passed-through connection that is to have an endpoint.
#[derive(Debug)]
pub(crate) struct Demand<'d> {
    /// The route that answers.
    pub(crate) route: &'d CompiledRoute,
    /// How it chooses.
    pub(crate) balance: &'d RouteBalance,
    /// How it chooses for this client.
    pub(crate) method: Method,
    /// Addresses that were tried in vain.
    pub(crate) tried: &'d [SocketAddr],
}

/// One endpoint, chosen for one request; counts as in flight while the value lives.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// The node that the endpoint is on.
    pub(crate) node: Arc<str>,
    /// The pod's name; empty for endpoints that are not pods.
    pub(crate) pod: Arc<str>,
    /// The Service.
    pub(crate) service: Arc<ServiceKey>,
    /// Whether the pod speaks HTTP/2 without TLS (`appProtocol`).
    pub(crate) h2c: bool,
    /// What names the endpoint in an affinity cookie.
    pub(crate) cookie: CookieValue,
    /// Whether the client named it.
    pub(crate) kept: bool,
    in_flight: InFlight,
}

impl Target {
    /// Tells this endpoint's connections from those of any other pod, also of one that has the same address later.
    pub(crate) fn identity(&self) -> u64 {
        self.in_flight.endpoint().id()
    }
}

/// An endpoint with its Service and port.
#[derive(Clone, Copy)]
struct Place<'b> {
    service: &'b LocalService,
    port: &'b PortEndpoints,
    local: &'b LocalEndpoint,
}

impl Backends {
    /// Chooses an endpoint: a Service has its share by weight among those with local endpoints, its endpoints have equal
    /// shares of that. `None` if nothing is left.
    pub(crate) fn pick(&self, demand: &Demand<'_>, random: &mut Random) -> Option<Target> {
        let (places, candidates) = self.candidates(demand);
        let chosen = choose(demand.method, &candidates, &demand.balance.rotation, random)?;
        Some(places.get(chosen)?.target(false))
    }

    /// The endpoint that a client names by one of these cookie values, whatever its Service's weight and though it is about
    /// to end. An endpoint of another node is as unknown as one that is gone.
    pub(crate) fn kept<'v>(&self, route: &CompiledRoute, values: impl Iterator<Item = &'v [u8]>) -> Option<Target> {
        let named = |value: &[u8]| {
            let all = route.backends.iter().flat_map(|backend| self.selected(backend));
            all.into_iter().find(|place| place.local.cookie.is(value))
        };
        Some(values.take(COOKIES).find_map(named)?.target(true))
    }

    /// Whether an endpoint is left for a route besides these.
    pub(crate) fn has_more(&self, route: &CompiledRoute, besides: &[SocketAddr]) -> bool {
        let weighted = route.backends.iter().filter(|backend| backend.weight > 0);
        weighted.flat_map(|backend| self.local(backend)).any(|(_, local)| !besides.contains(&local.endpoint.address))
    }

    /// The local endpoints of a backend that take new requests, with the port each belongs to: those that
    /// [`ServiceEndpoints::serving`] gives.
    pub(crate) fn local<'b>(
        &'b self,
        backend: &'b WeightedBackend,
    ) -> impl Iterator<Item = (&'b PortEndpoints, &'b LocalEndpoint)> {
        self.places(backend).map(|place| (place.port, place.local))
    }

    fn places<'b>(&'b self, backend: &'b WeightedBackend) -> impl Iterator<Item = Place<'b>> {
        let is_ready = |place: &Place<'_>| place.local.endpoint.state == EndpointState::Ready;
        let any_ready = self.selected(backend).any(|place| is_ready(&place));
        self.selected(backend).filter(move |place| !any_ready || is_ready(place))
    }

    /// The local endpoints that a backend means.
    fn selected<'b>(&'b self, backend: &'b WeightedBackend) -> impl Iterator<Item = Place<'b>> {
        let service = self.services.get(&backend.service).map(AsRef::as_ref);
        service.into_iter().flat_map(move |service| {
            service.all.ports.iter().zip(&service.ports).flat_map(move |(port, endpoints)| {
                let meant = endpoints.iter().filter(|local| port.is_meant(&backend.port, &local.endpoint));
                meant.map(move |local| Place { service, port, local })
            })
        })
    }

    fn candidates<'b>(&'b self, demand: &Demand<'b>) -> (Vec<Place<'b>>, Vec<Candidate>) {
        let (mut places, mut candidates): (Vec<Place<'_>>, Vec<Candidate>) = (Vec::new(), Vec::new());
        let weighted = demand.route.backends.iter().enumerate().filter(|(_, backend)| backend.weight > 0);
        for (service, backend) in weighted {
            let first = places.len();
            for place in self.places(backend).filter(|place| !demand.tried.contains(&place.local.endpoint.address)) {
                // Two ports of a Service may lead to one port of its pods.
                if candidates[first..].iter().any(|known| known.endpoint == place.local.tracked.id()) {
                    continue;
                }
                places.push(place);
                candidates.push(Candidate {
                    endpoint: place.local.tracked.id(),
                    service,
                    weight: 0,
                    in_flight: place.local.tracked.in_flight(),
                    hash: place.local.hash,
                });
            }
            let count = i64::try_from(candidates.len() - first).unwrap_or(i64::MAX).max(1);
            for candidate in &mut candidates[first..] {
                candidate.weight = i64::from(backend.weight) * WHOLE / count;
            }
        }
        (places, candidates)
    }
}

impl Place<'_> {
    fn target(&self, kept: bool) -> Target {
        let endpoint = &self.local.endpoint;
        Target {
            address: endpoint.address,
            node: Arc::clone(&endpoint.node),
            pod: Arc::clone(&endpoint.pod),
            service: Arc::clone(&self.service.key),
            h2c: matches!(self.port.app_protocol.as_deref(), Some("kubernetes.io/h2c" | "h2c")),
            cookie: self.local.cookie,
            kept,
            in_flight: InFlight::begin(&self.local.tracked),
        }
    }
}

/// Values of one cookie that are looked up; a client has one for each path that it was set for.
const COOKIES: usize = 8;
/// What a weight of 1 is divided into, so that Services with different numbers of endpoints have their shares.
const WHOLE: i64 = 1 << 20;

#[cfg(test)]
mod tests;
