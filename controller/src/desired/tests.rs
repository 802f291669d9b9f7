//! Tests of the planner, on snapshots that a real index made from objects as the API serves them.

use super::*;
use crate::liveness::Probe;
use nearside_routing::admission::AdmissionRules;
use nearside_routing::object::DnsEndpointSpec;
use nearside_routing::object::Object;
use nearside_routing::placement::{RecordPolicy, dns_endpoint_name};
use nearside_routing::{Change, EndpointSource, Index, IndexConfig, NodeId, Snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// An index of manifests and a planner that sees each of its snapshots.
struct World {
    index: Index,
    planner: Planner,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let admission = AdmissionRules { wildcard_routes: true, ..AdmissionRules::default() };
        let endpoints = EndpointSource::Pods { node: None };
        let config = IndexConfig { admission, endpoints, ..IndexConfig::default() };
        let mut world =
            Self { index: Index::new(config), planner: Planner::new(RecordPolicy::default()), now: Duration::ZERO };
        world.put(
            Kind::Service,
            json!({"metadata": {"namespace": "shop", "name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}),
        );
        world
    }

    /// One where probes are awaited.
    fn probing() -> Self {
        let world = Self::new();
        Self { planner: world.planner.with_probes(), ..world }
    }

    /// The plan at this moment, with these probes.
    fn plan_with(&mut self, probes: &[(u8, Probe)]) -> Desired {
        self.now += Duration::from_secs(1);
        let (snapshot, now) = (self.index.publish(), self.now);
        self.planner.observe(probes.iter().map(|(place, probe)| (format!("n{place}").into(), (*probe, now))).collect());
        self.planner.plan(&snapshot, now)
    }

    /// What the node controller makes of a node that it has lost.
    fn lose(&mut self, place: u8) {
        self.node(place, false);
        self.pod("router", place, false);
        self.pod("web", place, false);
    }

    fn put(&mut self, kind: Kind, object: Value) {
        self.index.apply(Change::Apply(Object::decode(kind, object).unwrap()));
    }

    fn delete(&mut self, kind: Kind, namespace: &str, name: &str) {
        self.index.apply(Change::Delete(ObjectKey::new(kind, namespace, name)));
    }

    fn plan(&mut self) -> Desired {
        let snapshot = self.index.publish();
        self.settled(&snapshot)
    }

    /// The plan when every handover is over, long after the one before.
    fn settled(&mut self, snapshot: &Snapshot) -> Desired {
        self.now += Duration::from_secs(3600);
        let mut desired = self.planner.plan(snapshot, self.now);
        while let Some(due) = self.planner.next_due() {
            self.now = due;
            desired = self.planner.plan(snapshot, self.now);
        }
        desired
    }

    fn node(&mut self, place: u8, ready: bool) {
        let addresses = json!([{"type": "InternalIP", "address": format!("198.18.0.{place}")}]);
        self.put(
            Kind::Node,
            json!({"metadata": {"name": format!("n{place}")},
            "status": {"addresses": addresses, "conditions": [{"type": "Ready", "status": status(ready)}]}}),
        );
    }

    fn pod(&mut self, name: &str, place: u8, ready: bool) {
        let (namespace, labels) = match name {
            "router" => ("nearside", json!({"app.kubernetes.io/name": "nearside-proxy"})),
            _ => ("shop", json!({"app": name})),
        };
        let ip = format!("10.0.{place}.7");
        self.put(
            Kind::Pod,
            json!({
                "metadata": {"namespace": namespace, "name": format!("{name}-{place}"), "labels": labels},
                "spec": {"nodeName": format!("n{place}"), "containers": [{"ports": [{"containerPort": 8080}]}]},
                "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                    "conditions": [{"type": "Ready", "status": status(ready)}]},
            }),
        );
    }

    fn route(&mut self, name: &str, spec: Value) {
        let mut spec = spec;
        if spec.get("to").is_none() {
            spec["to"] = json!({"kind": "Service", "name": "web"});
        }
        self.put(Kind::Route, json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec}));
    }

    fn ingress(&mut self, name: &str, rules: &[(&str, &str)]) {
        let rules: Vec<Value> = rules
            .iter()
            .map(|(host, path_type)| {
                let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
                json!({"host": host, "http": {"paths": [{"path": "/", "pathType": path_type, "backend": backend}]}})
            })
            .collect();
        let annotations = json!({"kubernetes.io/ingress.class": "nearside"});
        self.put(
            Kind::Ingress,
            json!({"metadata": {"namespace": "shop", "name": name, "annotations": annotations},
            "spec": {"rules": rules}}),
        );
    }

    fn serving(&mut self) {
        self.node(1, true);
        self.pod("router", 1, true);
        self.pod("web", 1, true);
    }
}

fn status(ready: bool) -> &'static str {
    if ready { "True" } else { "False" }
}

fn records<'d>(desired: &'d Desired, host: &str) -> Option<&'d Records> {
    let target = Target::DnsEndpoint(dns_endpoint_name(&HostPattern::parse(host).unwrap()));
    match &**desired.intents.get(&target)? {
        Intent::DnsEndpoint(intent) => Some(&intent.records),
        _ => None,
    }
}

fn addresses(desired: &Desired, ingress: &str) -> Option<Vec<String>> {
    let key = ObjectKey::new(Kind::Ingress, "shop", ingress);
    match &**desired.intents.get(&Target::Status(key))? {
        Intent::Ingress(intent) => intent.addresses.clone(),
        _ => None,
    }
}

fn targets(desired: &Desired, host: &str) -> Vec<String> {
    match records(desired, host) {
        Some(Records::Publish { spec, .. }) => spec.endpoints[0].targets.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_that_is_not_ready_and_answers_keeps_its_hosts_though_its_pods_are_called_not_ready() {
    let mut world = World::probing();
    for place in 1..=4 {
        world.node(place, true);
        world.pod("router", place, true);
    }
    world.pod("web", 1, true);
    world.pod("web", 2, true);
    world.route("web", json!({"host": "a.example.com"}));
    assert_eq!(targets(&world.plan(), "a.example.com"), ["198.18.0.1", "198.18.0.2"]);
    world.lose(1);
    world.lose(2);
    let both = ["198.18.0.1", "198.18.0.2"];
    assert_eq!(targets(&world.plan_with(&[]), "a.example.com"), both, "until a probe has ended");
    let asked: Vec<String> = world.planner.suspects().into_keys().map(|name| name.to_string()).collect();
    assert_eq!(asked, ["n1", "n2"]);
    let desired = world.plan_with(&[(1, Probe::Green), (2, Probe::Green)]);
    assert_eq!((targets(&desired, "a.example.com"), desired.held.len()), (both.map(String::from).to_vec(), 0));
    let desired = world.plan_with(&[(1, Probe::Green), (2, Probe::Red)]);
    assert_eq!(targets(&desired, "a.example.com"), ["198.18.0.1"], "the other one could only refuse");
    // The pod is started anew elsewhere, and the time of the node is over.
    world.pod("web", 3, true);
    let desired = world.plan_with(&[(1, Probe::Green)]);
    assert_eq!(targets(&desired, "a.example.com"), ["198.18.0.1", "198.18.0.3"]);
    assert_eq!(targets(&world.plan(), "a.example.com"), ["198.18.0.3"]);
}

#[test]
fn many_nodes_that_answer_are_held_and_a_drain_takes_one_out() {
    let mut world = World::probing();
    for place in 1..=5 {
        world.node(place, true);
        world.pod("router", place, true);
        world.pod("web", place, true);
    }
    world.route("web", json!({"host": "a.example.com"}));
    world.plan();
    (1..=5).for_each(|place| world.lose(place));
    world.plan_with(&[]);
    let green: Vec<(u8, Probe)> = (1..=5).map(|place| (place, Probe::Green)).collect();
    let desired = world.plan_with(&green);
    let held = HostPattern::parse("a.example.com").unwrap();
    assert_eq!(targets(&desired, "a.example.com").len(), 5);
    assert_eq!(desired.held.get(&held).map(|reason| **reason), Some(HoldReason::NodesNotReady));
    assert_eq!(targets(&world.plan(), "a.example.com").len(), 5, "an hour later");
    world.put(
        Kind::Node,
        json!({"metadata": {"name": "n1", "annotations": {"nearside.dev/drain": "true"}},
        "status": {"addresses": [{"type": "InternalIP", "address": "198.18.0.1"}]}}),
    );
    let desired = world.plan_with(&green);
    assert_eq!(targets(&desired, "a.example.com").len(), 4, "an operator says that it is to go");
    (2..=5).for_each(|place| {
        world.node(place, true);
        world.pod("router", place, true);
        world.pod("web", place, true);
    });
    let desired = world.plan_with(&[]);
    assert_eq!((targets(&desired, "a.example.com").len(), desired.held.len()), (4, 0));
    let desired = world.plan();
    assert_eq!((targets(&desired, "a.example.com").len(), desired.kept.len()), (4, 0));
}

const BROKEN_TLS: &str = "not a certificate";

#[test]
fn a_route_that_cannot_be_served_keeps_its_records_until_it_is_deleted_or_moves() {
    let mut world = World::new();
    world.serving();
    world.route("web", json!({"host": "a.example.com"}));
    assert!(matches!(records(&world.plan(), "a.example.com"), Some(Records::Publish { .. })));
    let tls = json!({"termination": "edge", "certificate": BROKEN_TLS, "key": BROKEN_TLS});
    world.route("web", json!({"host": "a.example.com", "tls": tls}));
    let desired = world.plan();
    assert_eq!(records(&desired, "a.example.com"), Some(&Records::Hold(HoldReason::NotServed)));
    assert_eq!(desired.held.len(), 1);
    world.route("web", json!({"host": "b.example.com", "tls": tls}));
    assert_eq!(records(&world.plan(), "a.example.com"), None);
    world.delete(Kind::Route, "shop", "web");
    assert_eq!(records(&world.plan(), "b.example.com"), None);
}

#[test]
fn a_rejected_route_keeps_what_an_earlier_process_may_have_published() {
    let mut world = World::new();
    world.serving();
    world.route("web", json!({"host": "www.example.com", "wildcardPolicy": "Subdomain", "to": {"kind": "Pod"}}));
    let desired = world.plan();
    assert_eq!(records(&desired, "*.example.com"), Some(&Records::Hold(HoldReason::NotServed)));
    assert!(desired.held.is_empty(), "nothing is known to be published");
}

#[test]
fn a_rejected_route_below_a_deleted_wildcard_does_not_keep_it() {
    let mut world = World::new();
    world.serving();
    world.route("wild", json!({"host": "www.example.com", "wildcardPolicy": "Subdomain"}));
    world.route("bad", json!({"host": "bad.example.com", "to": {"kind": "Pod"}}));
    assert!(matches!(records(&world.plan(), "*.example.com"), Some(Records::Publish { .. })));
    world.delete(Kind::Route, "shop", "wild");
    assert_eq!(records(&world.plan(), "*.example.com"), None);
    assert_eq!(records(&world.plan(), "*.example.com"), None, "and it stays so");
}

#[test]
fn an_ingress_keeps_the_records_of_a_rule_that_broke_and_drops_those_of_a_rule_that_went() {
    let mut world = World::new();
    world.serving();
    world.ingress("site", &[("a.example.com", "Prefix"), ("b.example.com", "Prefix"), ("c.example.com", "Prefix")]);
    world.plan();
    world.ingress("site", &[("a.example.com", "Prefix"), ("b.example.com", "Sideways"), ("c.example.com", "Prefix")]);
    let desired = world.plan();
    assert_eq!(records(&desired, "b.example.com"), Some(&Records::Hold(HoldReason::NotServed)));
    world.ingress("site", &[("a.example.com", "Prefix")]);
    let desired = world.plan();
    assert_eq!(records(&desired, "b.example.com"), None);
    assert_eq!(records(&desired, "c.example.com"), None);
}

#[test]
fn without_any_router_the_last_records_and_addresses_stay() {
    let mut world = World::new();
    world.serving();
    world.ingress("site", &[("a.example.com", "Prefix")]);
    assert_eq!(addresses(&world.plan(), "site"), Some(vec!["198.18.0.1".into()]));
    world.pod("router", 1, false);
    let desired = world.plan();
    assert_eq!(records(&desired, "a.example.com"), Some(&Records::Hold(HoldReason::NoReadyRouter)));
    assert_eq!(addresses(&desired, "site"), Some(vec!["198.18.0.1".into()]));
    // A process that starts now does not know them, and leaves the status as it is.
    let fresh = Planner::new(RecordPolicy::default()).plan(&world.index.publish(), Duration::ZERO);
    assert_eq!(addresses(&fresh, "site"), None);
}

#[test]
fn nodes_without_an_address_to_publish_hold_the_records() {
    let mut world = World::new();
    world.serving();
    world.route("web", json!({"host": "a.example.com"}));
    world.plan();
    world.put(
        Kind::Node,
        json!({"metadata": {"name": "n1"},
        "status": {"addresses": [], "conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    assert_eq!(records(&world.plan(), "a.example.com"), Some(&Records::Hold(HoldReason::NoAddress)));
}

#[test]
fn a_rejected_ingress_has_no_address() {
    let mut world = World::new();
    world.serving();
    world.ingress("site", &[("a.example.com", "Sideways")]);
    assert_eq!(addresses(&world.plan(), "site"), Some(Vec::new()));
}

/// A change of the world.
#[derive(Clone, Debug)]
enum Step {
    Node(u8, bool),
    Router(u8, bool),
    Web(u8, bool),
    NoWeb(u8),
    Route(u8, bool),
    NoRoute(u8),
    Ingress(bool),
    NoIngress,
    /// An Ingress without host.
    Any(bool),
    /// A Route whose host is the alias of a host on a node.
    Alias(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u8..4, any::<bool>()).prop_map(|(n, ready)| Step::Node(n, ready)),
        (1_u8..4, any::<bool>()).prop_map(|(n, ready)| Step::Router(n, ready)),
        (1_u8..4, any::<bool>()).prop_map(|(n, ready)| Step::Web(n, ready)),
        (1_u8..4).prop_map(Step::NoWeb),
        (0_u8..3, any::<bool>()).prop_map(|(n, valid)| Step::Route(n, valid)),
        (0_u8..3).prop_map(Step::NoRoute),
        any::<bool>().prop_map(Step::Ingress),
        Just(Step::NoIngress),
    ]
}

/// With hosts that have no records of their own, or stand in the place of others'.
fn odd_step() -> impl Strategy<Value = Step> {
    prop_oneof![4 => step(), 1 => any::<bool>().prop_map(Step::Any), 1 => any::<bool>().prop_map(Step::Alias)]
}

impl World {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Node(place, ready) => self.node(*place, *ready),
            Step::Router(place, ready) => self.pod("router", *place, *ready),
            Step::Web(place, ready) => self.pod("web", *place, *ready),
            Step::NoWeb(place) => self.delete(Kind::Pod, "shop", &format!("web-{place}")),
            Step::Route(name, valid) => {
                let kind = if *valid { "Service" } else { "Pod" };
                let to = json!({"kind": kind, "name": "web"});
                self.route(&format!("r{name}"), json!({"host": format!("h{name}.example.com"), "to": to}));
            }
            Step::NoRoute(name) => self.delete(Kind::Route, "shop", &format!("r{name}")),
            Step::Ingress(valid) => {
                let path_type = if *valid { "Prefix" } else { "Sideways" };
                self.ingress("site", &[("h0.example.com", "Prefix"), ("i.example.com", path_type)]);
            }
            Step::NoIngress => self.delete(Kind::Ingress, "shop", "site"),
            Step::Any(true) => self.ingress("any", &[("", "Prefix")]),
            Step::Any(false) => self.delete(Kind::Ingress, "shop", "any"),
            Step::Alias(true) => {
                let host = format!("h0--{}.example.com", NodeId::of("n1"));
                self.route("alias", json!({ "host": host }));
            }
            Step::Alias(false) => self.delete(Kind::Route, "shop", "alias"),
        }
    }
}

proptest! {
    /// What is planned from one snapshot to the next is what would be planned from nothing, however many are skipped.
    #[test]
    fn a_plan_of_what_changed_is_a_plan_of_everything(
        steps in proptest::collection::vec((odd_step(), any::<bool>()), 1..60),
        probes in any::<bool>(),
    ) {
        let mut world = if probes { World::probing() } else { World::new() };
        for (step, seen) in steps {
            world.step(&step);
            let snapshot = world.index.publish();
            if !seen {
                continue;
            }
            let everything = world.planner.forgetful().plan(&snapshot, Duration::ZERO);
            let before = world.settled(&snapshot);
            prop_assert_eq!(&before.intents, &everything.intents);
            prop_assert_eq!(&before.held, &everything.held);
            prop_assert_eq!(&before.placement, &everything.placement);
            prop_assert_eq!(&before.bases, &everything.bases);
            prop_assert_eq!(&before.problems, &everything.problems);
            let again = world.settled(&snapshot);
            prop_assert!(again.intents.changes_since(&before.intents).is_empty(), "nothing changed");
        }
    }

    #[test]
    fn no_answer_set_of_a_live_host_is_ever_empty(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let mut published: BTreeMap<Target, DnsEndpointSpec> = BTreeMap::new();
        for step in steps {
            world.step(&step);
            let snapshot = world.index.publish();
            let desired = world.plan();
            // What a process that started now would publish is what the one with a history publishes.
            let fresh = Planner::new(RecordPolicy::default()).plan(&snapshot, Duration::ZERO);
            published.retain(|target, _| desired.intents.contains_key(target));
            for (target, intent) in &desired.intents {
                let Intent::DnsEndpoint(intent) = &**intent else { continue };
                if let Records::Publish { spec, .. } = &intent.records {
                    prop_assert!(!spec.endpoints.is_empty());
                    prop_assert!(spec.endpoints.iter().all(|set| !set.targets.is_empty()));
                    let same = fresh.intents.get(target).is_some_and(|other| **other == Intent::DnsEndpoint(intent.clone()));
                    prop_assert!(same, "{target} differs after a restart");
                    published.insert(target.clone(), spec.clone());
                }
            }
            for host in snapshot.routes.hosts() {
                let target = Target::DnsEndpoint(dns_endpoint_name(&host.pattern));
                prop_assert!(desired.intents.contains_key(&target), "{} is served but not named", host.pattern);
            }
            for (target, intent) in &desired.intents {
                let Intent::Ingress(intent) = &**intent else { continue };
                let known: BTreeSet<&String> = published.values().flat_map(|spec| &spec.endpoints)
                    .flat_map(|set| &set.targets).collect();
                let addresses = intent.addresses.iter().flatten();
                prop_assert!(addresses.clone().all(|address| known.contains(address)), "{target}: not published");
            }
        }
    }
}
