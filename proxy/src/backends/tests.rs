//! Which endpoints are chosen, and what is kept of them from table to table.

use super::*;
use crate::health::CheckKind;
use nearside_routing::endpoints::PortSelector;
use nearside_routing::object::ObjectKey;
use nearside_routing::policy::Policy;
use nearside_routing::policy::balance::{Algorithm, Balance};
use nearside_routing::table::{InsecurePolicy, Termination};
use nearside_routing::{HostPattern, Kind, PathRule};
use std::time::Duration;

fn by_chance() -> RouteBalance {
    RouteBalance {
        algorithm: Algorithm::Random,
        rotation: Arc::default(),
        canary: Arc::default(),
        cookie: None,
        check: CheckKind { tls: None, path: None },
        retries: None,
    }
}

fn pick(backends: &Backends, route: &CompiledRoute, random: &mut Random) -> Option<Target> {
    let demand = Demand { route, balance: &by_chance(), method: Method::Random, tried: &[], now: Instant::now() };
    match backends.pick(&demand, std::iter::empty(), random) {
        Picked::Target(target) => Some(target),
        Picked::Waiting(_) | Picked::Full => panic!("there is no limit"),
        Picked::Nothing => None,
    }
}

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
        canary: None,
        credentials: None,
        closed: false,
        pod_tls: None,
    }
}

fn build(builder: &mut BackendsBuilder, services: Vec<(ServiceKey, Arc<ServiceEndpoints>)>) -> Arc<Backends> {
    builder.build(&services.into_iter().collect(), Instant::now())
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
        let a = pick(&backends, &route(&[("a", 1)]), &mut random).unwrap();
        assert_eq!((&*a.pod, &*a.node), ("pod-10.0.0.1:80", "n1"));
        let b = pick(&backends, &route(&[("b", 1)]), &mut random).unwrap();
        assert_eq!(&*b.pod, "pod-10.0.0.3:80");
        assert!(pick(&backends, &route(&[("c", 1)]), &mut random).is_none());
        let both = pick(&backends, &route(&[("c", 200), ("a", 1)]), &mut random).unwrap();
        assert_eq!(both.service.name.as_ref(), "a", "a Service without local endpoints gets no share");
    }
    assert!(pick(&backends, &route(&[("a", 0)]), &mut random).is_none(), "weight 0 gets nothing");
    let tried = ["10.0.0.1:80".parse().unwrap()];
    assert!(
        !backends.has_more(&route(&[("a", 1)]), |address| tried.contains(&address)),
        "a terminating one is no second choice"
    );
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
        let local: Vec<_> = backends.local(&route.backends[0]).map(|(_, local)| &local.endpoint).collect();
        proptest::prop_assert_eq!(local, all.serving(&PortSelector::All, "n1"));
    }
}

#[test]
fn counters_survive_changes_and_end_with_the_pod() {
    let mut builder = BackendsBuilder::new("n1".into());
    let one = endpoint("10.0.0.1:80", "n1", EndpointState::Ready);
    let two = endpoint("10.0.0.2:80", "n1", EndpointState::Ready);
    let before = build(&mut builder, vec![service("a", vec![one.clone()])]);
    let target = pick(&before, &route(&[("a", 1)]), &mut Random::seeded(1)).unwrap();
    let after = build(&mut builder, vec![service("a", vec![one.clone(), two.clone()])]);
    for seed in 0..20 {
        let next = pick(&after, &route(&[("a", 1)]), &mut Random::seeded(seed)).unwrap();
        assert_eq!(next.address, two.address, "the first is busy with a request of before the change");
    }
    let identity = target.identity();
    drop((target, before, after));
    drop(build(&mut builder, vec![service("a", vec![two])]));
    let back = build(&mut builder, vec![service("a", vec![one])]);
    let again = pick(&back, &route(&[("a", 1)]), &mut Random::seeded(1)).unwrap();
    assert_ne!(again.identity(), identity, "a pod that was gone does not inherit connections");
}

#[test]
fn an_endpoint_that_fails_is_passed_over_until_it_is_the_last() {
    let ready = EndpointState::Ready;
    let all = |name: &str, count: u8| {
        let endpoints = (1..=count).map(|number| endpoint(&format!("10.0.{count}.{number}:80"), "n1", ready));
        service(name, endpoints.collect())
    };
    let backends = build(&mut BackendsBuilder::new("n1".into()), vec![all("a", 2), all("b", 1)]);
    let mut random = Random::seeded(5);
    let fail = |target: &Target| (0..3).filter(|_| target.health().failed(Instant::now(), 0.5)).count();
    let failing = pick(&backends, &route(&[("a", 1)]), &mut random).unwrap();
    assert_eq!(fail(&failing), 1);
    for _ in 0..20 {
        assert_ne!(pick(&backends, &route(&[("a", 1)]), &mut random).unwrap().address, failing.address);
    }
    let other = pick(&backends, &route(&[("a", 1)]), &mut random).unwrap();
    assert_eq!(fail(&other), 1);
    let seen: std::collections::BTreeSet<_> =
        (0..50).map(|_| pick(&backends, &route(&[("a", 1)]), &mut random).unwrap().address).collect();
    assert_eq!(seen.len(), 2, "where all fail, all are tried");
    let alone = pick(&backends, &route(&[("b", 1)]), &mut random).unwrap();
    assert_eq!(fail(&alone), 1);
    let services: Vec<_> = (0..50)
        .map(|_| pick(&backends, &route(&[("a", 1), ("b", 1)]), &mut random).unwrap().service.name.clone())
        .collect();
    assert!(services.iter().any(|name| &**name == "b"), "the last endpoint of a Service keeps its share");
    other.health().succeeded();
    for _ in 0..20 {
        assert_eq!(pick(&backends, &route(&[("a", 1)]), &mut random).unwrap().address, other.address);
    }
}

#[test]
fn an_endpoint_that_has_just_come_gets_a_small_share_first() {
    let ready = EndpointState::Ready;
    let (old, new) = (endpoint("10.0.0.1:80", "n1", ready), endpoint("10.0.0.2:80", "n1", ready));
    let mut builder = BackendsBuilder::new("n1".into());
    build(&mut builder, vec![service("a", vec![old.clone()])]);
    let start = Instant::now();
    let table = Arc::new([service("a", vec![old, new.clone()])].into_iter().collect());
    let backends = builder.build(&table, start);
    let mut route = route(&[("a", 1)]);
    let balance = Balance { slow_start: Some(Duration::from_secs(10)), ..Balance::default() };
    route.policy = Arc::new(Policy { balance, ..Policy::default() });
    let share = |seconds: u64| {
        let balance = RouteBalance {
            algorithm: Algorithm::RoundRobin,
            rotation: Arc::default(),
            canary: Arc::default(),
            cookie: None,
            check: CheckKind { tls: None, path: None },
            retries: None,
        };
        let now = start + Duration::from_secs(seconds);
        let demand = Demand { route: &route, balance: &balance, method: Method::RoundRobin, tried: &[], now };
        let chosen = (0..110).map(|_| match backends.pick(&demand, std::iter::empty(), &mut Random::seeded(1)) {
            Picked::Target(target) => target.address,
            other => panic!("{other:?}"),
        });
        chosen.filter(|address| *address == new.address).count()
    };
    assert_eq!([share(1), share(10)], [10, 55], "a tenth of the other's share after a tenth of the time");
}
