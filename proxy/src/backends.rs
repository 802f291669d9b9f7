//! The endpoints on this node: the endpoint table of a snapshot flows in, for each request one pod to ask flows out.
//! What is known of an endpoint lives as long as the pod is one, whatever else changes. `builder` makes them, asked by
//! `http` and `accept::passthrough`.

mod builder;
mod slots;
mod tracked;

pub(crate) use builder::BackendsBuilder;

use crate::balance::{Candidate, CookieValue, Method, Random, RouteBalance, choose};
use crate::health::Health;
use crate::metrics::{Exchanging, Series};
use nearside_routing::SharedMap;
use nearside_routing::endpoints::{Endpoint, EndpointState, PortEndpoints, ServiceEndpoints, ServiceKey};
use nearside_routing::table::{CompiledRoute, WeightedBackend};
use slots::{InFlight, Ticket};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
pub(crate) use tracked::Tracked;

/// The local endpoints of every Service that has any.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    services: SharedMap<ServiceKey, LocalService>,
}

#[derive(Debug)]
struct LocalService {
    key: Arc<ServiceKey>,
    /// Tells whether the Service has changed.
    all: Arc<ServiceEndpoints>,
    /// As in `all`, with the endpoints of this node.
    ports: Vec<Vec<LocalEndpoint>>,
}

impl LocalService {
    fn meant_by<'b>(&'b self, backend: &'b WeightedBackend) -> impl Iterator<Item = Place<'b>> {
        self.all.ports.iter().zip(&self.ports).flat_map(move |(port, endpoints)| {
            let meant = endpoints.iter().filter(|local| port.is_meant(&backend.port, &local.endpoint));
            meant.map(move |local| Place { service: self, port, local })
        })
    }
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

impl LocalEndpoint {
    /// What is known of it.
    pub(crate) fn tracked(&self) -> &Arc<Tracked> {
        &self.tracked
    }
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
    /// The time.
    pub(crate) now: Instant,
}

/// What a demand gets.
#[derive(Debug)]
pub(crate) enum Picked {
    /// This endpoint.
    Target(Target),
    /// The first one that has room again.
    Waiting(Waiting),
    /// Nothing: every endpoint that may be asked has as many requests as it may have, and as many as may wait.
    Full,
    /// Nothing: no endpoint is left.
    Nothing,
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
    tracked: Arc<Tracked>,
    /// `None` while the request waits for room.
    in_flight: Option<InFlight>,
    exchanging: Option<Exchanging>,
}

impl Target {
    /// Tells this endpoint's connections from those of any other pod, also of one that has the same address later.
    pub(crate) fn identity(&self) -> u64 {
        self.tracked.id()
    }

    /// The endpoint is not busy with the request any more.
    pub(crate) fn leave(&mut self) {
        self.in_flight = None;
        self.exchanging = None;
    }

    /// Counts from now on what the endpoint does with the request.
    #[must_use]
    pub(crate) fn counted(mut self, series: &Series, route: &CompiledRoute) -> Self {
        self.exchanging = Some(series.begin(route, self.identity()));
        self
    }

    /// Where that is counted.
    pub(crate) fn exchanging(&self) -> Option<&Exchanging> {
        self.exchanging.as_ref()
    }

    /// Requests and passed-through connections that the endpoint is busy with.
    pub(crate) fn in_flight(&self) -> usize {
        self.tracked.in_flight()
    }

    /// How the endpoint fares.
    pub(crate) fn health(&self) -> &Health {
        &self.tracked.health
    }
}

/// A request that waits until one of these endpoints has room, while the value lives.
#[derive(Debug)]
pub(crate) struct Waiting {
    ticket: Ticket,
    targets: Vec<Target>,
}

impl Waiting {
    /// The first endpoint that has room. To be asked until it answers, and then no more.
    pub(crate) async fn target(&mut self) -> Target {
        loop {
            let begun = self.ticket.granted().await;
            if let Some(at) = self.targets.iter().position(|target| target.tracked.id() == begun.endpoint().id()) {
                let mut target = self.targets.swap_remove(at);
                target.in_flight = Some(begun);
                return target;
            }
        }
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
    /// Chooses an endpoint: the one that the client named by one of these cookie values, else by the route's method.
    pub(crate) fn pick<'v>(
        &self,
        demand: &Demand<'_>,
        cookies: impl Iterator<Item = &'v [u8]>,
        random: &mut Random,
    ) -> Picked {
        let limit = demand.route.policy.balance.pod_connections.filter(|limit| *limit > 0);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        if let Some(place) = self.kept(demand, cookies) {
            return place.begin(true, limit).map_or_else(|| wait(&[place], true, limit), Picked::Target);
        }
        // By far the most usual: there is nothing to choose.
        if let Some(target) = self.only(demand).and_then(|place| place.begin(false, limit)) {
            return Picked::Target(target);
        }
        let (mut places, mut candidates) = self.candidates(demand);
        let mut choose = |candidates: &[Candidate]| choose(demand.method, candidates, &demand.balance.rotation, random);
        let Some(mut chosen) = choose(&candidates) else { return Picked::Nothing };
        if let Some(target) = places[chosen].begin(false, limit) {
            return Picked::Target(target);
        }
        // Who belongs to an endpoint waits for it; anybody else takes another one that has room.
        if let Method::Hash(_) = demand.method {
            return wait(&[places[chosen]], false, limit);
        }
        let all = places.clone();
        loop {
            places.remove(chosen);
            candidates.remove(chosen);
            let Some(next) = choose(&candidates) else { return wait(&all, false, limit) };
            if let Some(target) = places[next].begin(false, limit) {
                return Picked::Target(target);
            }
            chosen = next;
        }
    }

    /// Whether the client named an endpoint by one of these cookie values that it is to keep.
    pub(crate) fn keeps<'v>(&self, demand: &Demand<'_>, cookies: impl Iterator<Item = &'v [u8]>) -> bool {
        self.kept(demand, cookies).is_some()
    }

    /// The endpoint that a client names, whatever its Service's weight and though it is about to end, unless it fails. One
    /// of another node is as unknown as one that is gone.
    fn kept<'b, 'v>(&'b self, demand: &Demand<'b>, cookies: impl Iterator<Item = &'v [u8]>) -> Option<Place<'b>> {
        let named = |value: &[u8]| {
            let mut all = demand.route.backends.iter().flat_map(|backend| self.selected(backend));
            all.find(|place| place.local.cookie.is(value))
        };
        let place = cookies.take(COOKIES).find_map(named)?;
        let fails = standing(&place, demand) != Standing::Good;
        let passed_over = fails && self.has_more(demand.route, |address| address == place.address());
        (!passed_over).then_some(place)
    }

    /// An endpoint of a Service that no rule need name, at its first port: the least busy of those that fare best.
    pub(crate) fn of_service(&self, key: &ServiceKey) -> Option<Target> {
        let service = self.services.get(key)?;
        let (port, endpoints) = service.all.ports.iter().zip(&service.ports).next()?;
        let now = Instant::now();
        let local = endpoints.iter().min_by_key(|local| {
            let tracked = &local.tracked;
            (local.endpoint.state, tracked.health.is_ejected(now), tracked.in_flight())
        })?;
        Place { service, port, local }.begin(false, None)
    }

    /// Whether a route has an endpoint whose address is none of these.
    pub(crate) fn has_more(&self, route: &CompiledRoute, besides: impl Fn(SocketAddr) -> bool) -> bool {
        let weighted = route.backends.iter().filter(|backend| backend.weight > 0);
        weighted.flat_map(|backend| self.local(backend)).any(|(_, local)| !besides(local.endpoint.address))
    }

    /// The Services whose endpoints on this node are others than before.
    pub(crate) fn changes_since<'b>(&'b self, before: &'b Self) -> Vec<&'b ServiceKey> {
        self.services.changes_since(&before.services).into_iter().map(|changed| changed.key).collect()
    }

    /// Whether a Service may have more than one endpoint on this node.
    pub(crate) fn has_choice(&self, service: &ServiceKey) -> bool {
        self.services.get(service).is_some_and(|service| service.ports.iter().map(Vec::len).sum::<usize>() > 1)
    }

    /// The Services with endpoints on this node.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    /// Requests and passed-through connections that the local endpoints of a route are busy with.
    pub(crate) fn in_flight(&self, route: &CompiledRoute) -> usize {
        let places = route.backends.iter().flat_map(|backend| self.selected(backend));
        places.map(|place| place.local.tracked.in_flight()).sum()
    }

    /// The local endpoints of a backend that take new requests, with the port each belongs to: those that
    /// [`ServiceEndpoints::serving`] gives.
    pub(crate) fn local<'b>(
        &'b self,
        backend: &'b WeightedBackend,
    ) -> impl Iterator<Item = (&'b PortEndpoints, &'b LocalEndpoint)> {
        self.places(backend).map(|place| (place.port, place.local))
    }

    /// Every local endpoint of a backend, also those that end, with the Service.
    pub(crate) fn endpoints<'b>(
        &'b self,
        backend: &'b WeightedBackend,
    ) -> impl Iterator<Item = (&'b Arc<ServiceKey>, &'b LocalEndpoint)> {
        self.selected(backend).map(|place| (&place.service.key, place.local))
    }

    /// The one endpoint that there is for a demand which nothing has gone wrong for.
    fn only<'b>(&'b self, demand: &Demand<'b>) -> Option<Place<'b>> {
        let mut weighted = demand.route.backends.iter().filter(|backend| backend.weight > 0);
        let (Some(backend), None, true) = (weighted.next(), weighted.next(), demand.tried.is_empty()) else {
            return None;
        };
        let mut places = self.places(backend);
        places.next().filter(|_| places.next().is_none())
    }

    fn places<'b>(&'b self, backend: &'b WeightedBackend) -> impl Iterator<Item = Place<'b>> {
        let service = self.services.get(&backend.service).map(AsRef::as_ref);
        let is_ready = |place: &Place<'_>| place.local.endpoint.state == EndpointState::Ready;
        let any_ready = service.is_some_and(|service| service.meant_by(backend).any(|place| is_ready(&place)));
        let meant = service.into_iter().flat_map(move |service| service.meant_by(backend));
        meant.filter(move |place| !any_ready || is_ready(place))
    }

    /// The local endpoints that a backend means.
    fn selected<'b>(&'b self, backend: &'b WeightedBackend) -> impl Iterator<Item = Place<'b>> {
        let service = self.services.get(&backend.service).map(AsRef::as_ref);
        service.into_iter().flat_map(move |service| service.meant_by(backend))
    }

    fn candidates<'b>(&'b self, demand: &Demand<'b>) -> (Vec<Place<'b>>, Vec<Candidate>) {
        let (mut places, mut candidates): (Vec<Place<'_>>, Vec<Candidate>) = (Vec::new(), Vec::new());
        let untried = |backend| {
            let places = self.places(backend).filter(|place| !demand.tried.contains(&place.address()));
            places.map(|place| (standing(&place, demand), place)).collect::<Vec<_>>()
        };
        let weighted = demand.route.backends.iter().enumerate().filter(|(_, backend)| backend.weight > 0);
        // A Service is as good as its best endpoint. Where all fail, all are tried, so that no last one is passed over; a
        // Service whose endpoints are all down by their checks is passed over only for another Service.
        let mut services = Vec::new();
        for (service, backend) in weighted {
            let local = untried(backend);
            if let Some(best) = local.iter().map(|(standing, _)| *standing).min() {
                services.push((service, backend, best, local));
            }
        }
        let any_up = services.iter().any(|(_, _, best, _)| *best != Standing::Down);
        for (service, backend, best, local) in services {
            if any_up && best == Standing::Down {
                continue;
            }
            let first = places.len();
            for (_, place) in local.into_iter().filter(|(standing, _)| *standing == best) {
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
            let whole = i64::from(backend.weight) * WHOLE / count;
            for (place, candidate) in places[first..].iter().zip(&mut candidates[first..]) {
                candidate.weight = match demand.route.policy.balance.slow_start {
                    Some(warm_up) if !matches!(demand.method, Method::Hash(_)) => {
                        place.local.tracked.warmed(whole, warm_up, demand.now)
                    }
                    _ => whole,
                };
            }
        }
        (places, candidates)
    }
}

/// How an endpoint fares as far as a route is concerned, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Good,
    /// Requests failed there.
    Ejected,
    /// Checks fail there.
    Down,
}

fn standing(place: &Place<'_>, demand: &Demand<'_>) -> Standing {
    let health = &place.local.tracked.health;
    if health.is_down(&demand.balance.check) {
        Standing::Down
    } else if health.is_ejected(demand.now) {
        Standing::Ejected
    } else {
        Standing::Good
    }
}

impl Place<'_> {
    fn address(&self) -> SocketAddr {
        self.local.endpoint.address
    }

    /// The endpoint with the request begun, if it has room.
    fn begin(&self, kept: bool, limit: Option<usize>) -> Option<Target> {
        let in_flight = match limit {
            None => InFlight::begin(&self.local.tracked),
            Some(limit) => InFlight::try_begin(&self.local.tracked, limit)?,
        };
        Some(Target { in_flight: Some(in_flight), ..self.target(kept) })
    }

    fn target(&self, kept: bool) -> Target {
        let endpoint = &self.local.endpoint;
        Target {
            address: endpoint.address,
            node: Arc::clone(&endpoint.node),
            pod: Arc::clone(&endpoint.pod),
            service: Arc::clone(&self.service.key),
            h2c: is_h2c(self.port),
            cookie: self.local.cookie,
            kept,
            tracked: Arc::clone(&self.local.tracked),
            in_flight: None,
            exchanging: None,
        }
    }
}

/// Whether the pods of a port speak HTTP/2 without TLS (`appProtocol`).
pub(crate) fn is_h2c(port: &PortEndpoints) -> bool {
    matches!(port.app_protocol.as_deref(), Some("kubernetes.io/h2c" | "h2c"))
}

fn wait(places: &[Place<'_>], kept: bool, limit: Option<usize>) -> Picked {
    let endpoints = places.iter().map(|place| &place.local.tracked);
    match Ticket::join(endpoints, limit.unwrap_or(usize::MAX)) {
        Some(ticket) => {
            Picked::Waiting(Waiting { ticket, targets: places.iter().map(|place| place.target(kept)).collect() })
        }
        None => Picked::Full,
    }
}

/// Values of one cookie that are looked up; a client has one for each path that it was set for.
const COOKIES: usize = 8;
/// What a weight of 1 is divided into, so that Services with different numbers of endpoints have their shares.
const WHOLE: i64 = 1 << 20;

#[cfg(test)]
mod tests;
