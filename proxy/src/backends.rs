//! The endpoints on this node: the endpoint table of a snapshot flows in, for each request one pod to ask flows out.
//! Counters of requests in flight live as long as the pod is an endpoint, whatever else changes. Built by `state`,
//! asked by `http` and `accept::passthrough`.

use crate::balance::{Random, two_choices, weighted};
use nearside_routing::endpoints::{
    Endpoint, EndpointState, EndpointTable, PortEndpoints, ServiceEndpoints, ServiceKey,
};
use nearside_routing::table::{CompiledRoute, WeightedBackend};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// The local endpoints of every Service that has any.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    node: Arc<str>,
    services: HashMap<ServiceKey, Arc<LocalService>>,
}

#[derive(Debug)]
struct LocalService {
    key: Arc<ServiceKey>,
    /// What the loads belong to; also tells whether the Service has changed.
    all: Arc<ServiceEndpoints>,
    loads: HashMap<SocketAddr, Arc<Load>>,
}

/// How busy one endpoint is.
#[derive(Debug)]
pub(crate) struct Load {
    id: u64,
    in_flight: AtomicUsize,
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
    load: Arc<Load>,
}

impl Target {
    /// Tells this endpoint's connections from those of any other pod, also of one that has the same address later.
    pub(crate) fn identity(&self) -> u64 {
        self.load.id
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Backends {
    /// Chooses an endpoint for a route: a Service by weight among those with local endpoints, then the less busy of two
    /// of its endpoints. Addresses that were tried are left out. `None` if nothing is left.
    pub(crate) fn pick(&self, route: &CompiledRoute, tried: &[SocketAddr], random: &mut Random) -> Option<Target> {
        let share = |backend: &WeightedBackend| {
            let has_any = self.local(backend, tried).next().is_some();
            if has_any { backend.weight } else { 0 }
        };
        let backend = &route.backends[weighted(route.backends.iter().map(share), random)?];
        let service = self.services.get(&backend.service)?;
        let busy = |place: usize| {
            let load = self.local(backend, tried).nth(place).and_then(|(_, one)| service.loads.get(&one.address));
            load.map_or(0, |load| load.in_flight.load(Ordering::Relaxed))
        };
        let place = two_choices(self.local(backend, tried).count(), busy, random)?;
        let (port, endpoint) = self.local(backend, tried).nth(place)?;
        let load = Arc::clone(service.loads.get(&endpoint.address)?);
        load.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Target {
            address: endpoint.address,
            node: Arc::clone(&endpoint.node),
            pod: Arc::clone(&endpoint.pod),
            service: Arc::clone(&service.key),
            h2c: matches!(port.app_protocol.as_deref(), Some("kubernetes.io/h2c" | "h2c")),
            load,
        })
    }

    /// Whether an endpoint is left for a route besides these.
    pub(crate) fn has_more(&self, route: &CompiledRoute, besides: &[SocketAddr]) -> bool {
        route.backends.iter().any(|backend| backend.weight > 0 && self.local(backend, besides).next().is_some())
    }

    /// The local endpoints of a backend that take requests now, with the port each belongs to: those that
    /// [`ServiceEndpoints::serving`] gives, less the ones that were tried, without a list of them.
    pub(crate) fn local<'b>(
        &'b self,
        backend: &'b WeightedBackend,
        tried: &'b [SocketAddr],
    ) -> impl Iterator<Item = (&'b PortEndpoints, &'b Endpoint)> {
        let here = |(_, endpoint): &(&PortEndpoints, &Endpoint)| *endpoint.node == *self.node;
        let all = self.services.get(&backend.service).map(|service| &service.all);
        let any_ready = all.is_some_and(|all| {
            all.select(&backend.port).filter(here).any(|(_, endpoint)| endpoint.state == EndpointState::Ready)
        });
        let local = all.into_iter().flat_map(|all| all.select(&backend.port)).filter(here);
        local.filter(move |(_, endpoint)| {
            (!any_ready || endpoint.state == EndpointState::Ready) && !tried.contains(&endpoint.address)
        })
    }
}

/// Builds [`Backends`] one after the other and carries the counters over.
#[derive(Debug)]
pub(crate) struct BackendsBuilder {
    node: Arc<str>,
    last: Arc<Backends>,
    source: Arc<EndpointTable>,
    known: HashMap<(SocketAddr, Arc<str>), Weak<Load>>,
}

impl BackendsBuilder {
    /// For the endpoints on this node.
    pub(crate) fn new(node: Arc<str>) -> Self {
        let last = Arc::new(Backends { node: Arc::clone(&node), services: HashMap::new() });
        Self { node, last, source: Arc::default(), known: HashMap::new() }
    }

    /// The backends of a snapshot; the same ones if its endpoints are the same.
    pub(crate) fn build(&mut self, endpoints: &Arc<EndpointTable>) -> Arc<Backends> {
        if Arc::ptr_eq(&self.source, endpoints) {
            return Arc::clone(&self.last);
        }
        let mut services = HashMap::with_capacity(endpoints.len());
        for (key, all) in endpoints.iter() {
            let service = match self.last.services.get(key) {
                Some(last) if Arc::ptr_eq(&last.all, all) => Arc::clone(last),
                _ => Arc::new(self.local_service(key, all)),
            };
            if !service.loads.is_empty() {
                services.insert(key.clone(), service);
            }
        }
        self.source = Arc::clone(endpoints);
        self.last = Arc::new(Backends { node: Arc::clone(&self.node), services });
        self.known.retain(|_, load| load.strong_count() > 0);
        Arc::clone(&self.last)
    }

    fn local_service(&mut self, key: &ServiceKey, all: &Arc<ServiceEndpoints>) -> LocalService {
        let local = all.ports.iter().flat_map(|port| &port.endpoints).filter(|endpoint| *endpoint.node == *self.node);
        let mut loads = HashMap::new();
        for endpoint in local {
            let known = self.known.entry((endpoint.address, Arc::clone(&endpoint.pod))).or_default();
            let load = known.upgrade().unwrap_or_else(|| {
                Arc::new(Load { id: NEXT_LOAD.fetch_add(1, Ordering::Relaxed), in_flight: AtomicUsize::new(0) })
            });
            *known = Arc::downgrade(&load);
            loads.insert(endpoint.address, load);
        }
        LocalService { key: Arc::new(key.clone()), all: Arc::clone(all), loads }
    }
}

static NEXT_LOAD: AtomicU64 = AtomicU64::new(1);

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::endpoints::PortSelector;
    use nearside_routing::object::ObjectKey;
    use nearside_routing::table::{InsecurePolicy, Termination};
    use nearside_routing::{HostPattern, Kind, PathRule};

    fn endpoint(address: &str, node: &str, state: EndpointState) -> Endpoint {
        Endpoint { address: address.parse().unwrap(), node: node.into(), pod: format!("pod-{address}").into(), state }
    }

    fn service(name: &str, endpoints: Vec<Endpoint>) -> (ServiceKey, Arc<ServiceEndpoints>) {
        let port = PortEndpoints { name: "http".into(), number: Some(80), app_protocol: None, endpoints };
        (ServiceKey::new("shop", name), Arc::new(ServiceEndpoints { ports: vec![port], refused: vec![] }))
    }

    fn route(backends: &[(&str, u16)]) -> CompiledRoute {
        let backend = |(name, weight): &(&str, u16)| WeightedBackend {
            service: ServiceKey::new("shop", name),
            port: PortSelector::All,
            weight: *weight,
        };
        CompiledRoute {
            source: ObjectKey::new(Kind::Route, "shop", "r"),
            pattern: HostPattern::Any,
            path: PathRule::Any,
            backends: backends.iter().map(backend).collect(),
            termination: Termination::None,
            insecure: InsecurePolicy::None,
            policy: Arc::default(),
        }
    }

    fn build(builder: &mut BackendsBuilder, services: Vec<(ServiceKey, Arc<ServiceEndpoints>)>) -> Arc<Backends> {
        builder.build(&Arc::new(services.into_iter().collect()))
    }

    #[test]
    fn only_ready_endpoints_of_this_node_are_chosen_and_terminating_ones_where_nothing_is_ready() {
        let mut builder = BackendsBuilder::new("n1".into());
        let (ready, ending) = (EndpointState::Ready, EndpointState::ServingTerminating);
        let backends = build(
            &mut builder,
            vec![
                service(
                    "a",
                    vec![
                        endpoint("10.0.0.1:80", "n1", ready),
                        endpoint("10.0.0.2:80", "n1", ending),
                        endpoint("10.1.0.1:80", "n2", ready),
                    ],
                ),
                service("b", vec![endpoint("10.0.0.3:80", "n1", ending), endpoint("10.1.0.2:80", "n2", ready)]),
                service("c", vec![endpoint("10.1.0.3:80", "n2", ready)]),
            ],
        );
        let mut random = Random::seeded(3);
        for _ in 0..50 {
            let a = backends.pick(&route(&[("a", 1)]), &[], &mut random).unwrap();
            assert_eq!((&*a.pod, &*a.node), ("pod-10.0.0.1:80", "n1"));
            let b = backends.pick(&route(&[("b", 1)]), &[], &mut random).unwrap();
            assert_eq!(&*b.pod, "pod-10.0.0.3:80");
            assert!(backends.pick(&route(&[("c", 1)]), &[], &mut random).is_none());
            let both = backends.pick(&route(&[("c", 200), ("a", 1)]), &[], &mut random).unwrap();
            assert_eq!(both.service.name.as_ref(), "a", "a Service without local endpoints gets no share");
        }
        assert!(backends.pick(&route(&[("a", 0)]), &[], &mut random).is_none(), "weight 0 gets nothing");
        let tried = ["10.0.0.1:80".parse().unwrap()];
        assert!(!backends.has_more(&route(&[("a", 1)]), &tried), "a terminating one is no second choice");
    }

    proptest::proptest! {
        #[test]
        fn local_endpoints_are_those_that_the_routing_core_calls_serving(
            all in proptest::collection::vec((1_u8..6, 1_u8..3, proptest::bool::ANY), 0..8),
        ) {
            let state = |ready| if ready { EndpointState::Ready } else { EndpointState::ServingTerminating };
            let endpoints = all.iter().map(|(ip, node, ready)| {
                endpoint(&format!("10.0.0.{ip}:80"), &format!("n{node}"), state(*ready))
            });
            let (key, all) = service("a", endpoints.collect());
            let backends = build(&mut BackendsBuilder::new("n1".into()), vec![(key, Arc::clone(&all))]);
            let route = route(&[("a", 1)]);
            let local: Vec<_> = backends.local(&route.backends[0], &[]).map(|(_, endpoint)| endpoint).collect();
            proptest::prop_assert_eq!(local, all.serving(&PortSelector::All, "n1"));
        }
    }

    #[test]
    fn counters_survive_changes_and_end_with_the_pod() {
        let mut builder = BackendsBuilder::new("n1".into());
        let one = endpoint("10.0.0.1:80", "n1", EndpointState::Ready);
        let two = endpoint("10.0.0.2:80", "n1", EndpointState::Ready);
        let before = build(&mut builder, vec![service("a", vec![one.clone()])]);
        let target = before.pick(&route(&[("a", 1)]), &[], &mut Random::seeded(1)).unwrap();
        let after = build(&mut builder, vec![service("a", vec![one.clone(), two.clone()])]);
        for seed in 0..20 {
            let next = after.pick(&route(&[("a", 1)]), &[], &mut Random::seeded(seed)).unwrap();
            assert_eq!(next.address, two.address, "the first is busy with a request of before the change");
        }
        let identity = target.identity();
        drop((target, before, after));
        drop(build(&mut builder, vec![service("a", vec![two])]));
        let back = build(&mut builder, vec![service("a", vec![one])]);
        let again = back.pick(&route(&[("a", 1)]), &[], &mut Random::seeded(1)).unwrap();
        assert_ne!(again.identity(), identity, "a pod that was gone does not inherit connections");
    }
}
