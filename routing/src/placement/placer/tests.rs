//! Whatever happens, and however many snapshots are skipped: the placer ends where a placement of everything does, and names
//! every host for which that makes a difference.

use super::*;
use crate::index::{Change, Index};
use crate::object::{Kind, Object, ObjectKey};
use crate::placement::{RecordPolicy, place, records};
use crate::testing::config;
use proptest::prelude::*;
use serde_json::{Value, json};

const NODES: u8 = 4;
const SERVICES: u8 = 4;
const HOSTS: u8 = 4;

/// One thing that happens in a small cluster.
#[derive(Clone, Debug)]
enum Step {
    Node {
        node: u8,
        ready: bool,
        drained: bool,
        address: u8,
    },
    NoNode {
        node: u8,
    },
    Router {
        node: u8,
        ready: bool,
    },
    NoRouter {
        node: u8,
    },
    Slice {
        service: u8,
        endpoints: Vec<(u8, bool, bool)>,
    },
    NoSlice {
        service: u8,
    },
    Route {
        host: u8,
        path: u8,
        services: Vec<(u8, u8)>,
    },
    NoRoute {
        host: u8,
        path: u8,
    },
    /// A reader sees what stands now; what stood between two of these it does not.
    Publish,
}

fn step() -> impl Strategy<Value = Step> {
    let endpoint = (0..NODES, any::<bool>(), any::<bool>());
    let endpoints = proptest::collection::vec(endpoint, 0..4);
    let services = proptest::collection::vec((0..SERVICES, 0_u8..2), 1..3);
    prop_oneof![
        (0..NODES, any::<bool>(), any::<bool>(), 0_u8..2).prop_map(|(node, ready, drained, address)| Step::Node {
            node,
            ready,
            drained: drained && !ready,
            address
        }),
        (0..NODES).prop_map(|node| Step::NoNode { node }),
        (0..NODES, any::<bool>()).prop_map(|(node, ready)| Step::Router { node, ready }),
        (0..NODES).prop_map(|node| Step::NoRouter { node }),
        (0..SERVICES, endpoints.clone()).prop_map(|(service, endpoints)| Step::Slice { service, endpoints }),
        (0..SERVICES, endpoints).prop_map(|(service, endpoints)| Step::Slice { service, endpoints }),
        (0..SERVICES).prop_map(|service| Step::NoSlice { service }),
        (0..HOSTS, 0_u8..2, services).prop_map(|(host, path, services)| Step::Route { host, path, services }),
        (0..HOSTS, 0_u8..2).prop_map(|(host, path)| Step::NoRoute { host, path }),
        Just(Step::Publish),
        Just(Step::Publish),
    ]
}

fn apply(kind: Kind, object: Value) -> Change {
    Change::Apply(Object::decode(kind, object).unwrap())
}

fn status(ready: bool) -> &'static str {
    if ready { "True" } else { "False" }
}

fn change(step: Step) -> Option<Change> {
    let delete = |kind, namespace, name: String| Change::Delete(ObjectKey::new(kind, namespace, &name));
    Some(match step {
        Step::Node { node, ready, drained, address } => apply(
            Kind::Node,
            json!({ "metadata": { "name": format!("n{node}"), "annotations": { "nearside.dev/drain": drained.to_string() } },
                "status": { "addresses": [{ "type": "InternalIP", "address": format!("198.18.{address}.{node}") }],
                    "conditions": [{ "type": "Ready", "status": status(ready) }] } }),
        ),
        Step::NoNode { node } => delete(Kind::Node, "", format!("n{node}")),
        Step::Router { node, ready } => apply(
            Kind::Pod,
            json!({ "metadata": { "namespace": "sys", "name": format!("r{node}"), "labels": { "app.kubernetes.io/name": "nearside-proxy" } },
                "spec": { "nodeName": format!("n{node}") },
                "status": { "conditions": [{ "type": "Ready", "status": status(ready) }] } }),
        ),
        Step::NoRouter { node } => delete(Kind::Pod, "sys", format!("r{node}")),
        Step::Slice { service, endpoints } => {
            let endpoints: Vec<Value> = endpoints
                .iter()
                .enumerate()
                .map(|(at, (node, ready, ending))| {
                    json!({ "addresses": [format!("198.18.9.{at}")], "nodeName": format!("n{node}"),
                        "conditions": { "ready": *ready && !*ending, "serving": ready, "terminating": ending } })
                })
                .collect();
            let labels = json!({ "kubernetes.io/service-name": format!("s{service}") });
            apply(
                Kind::EndpointSlice,
                json!({ "metadata": { "namespace": "a", "name": format!("s{service}"), "labels": labels },
                    "addressType": "IPv4", "ports": [{ "port": 80 }], "endpoints": endpoints }),
            )
        }
        Step::NoSlice { service } => delete(Kind::EndpointSlice, "a", format!("s{service}")),
        Step::Route { host, path, services } => {
            let backend = |(service, weight): &(u8, u8)| json!({ "kind": "Service", "name": format!("s{service}"), "weight": weight });
            let wildcard = if host == 0 { "Subdomain" } else { "None" };
            // The last is an alias of the first but one.
            let name = if host + 1 == HOSTS {
                format!("h1--{}.d1.test", NodeId::of("n0"))
            } else {
                format!("h{host}.d{host}.test")
            };
            let spec = json!({ "host": name, "path": format!("/{path}"), "wildcardPolicy": wildcard,
                "to": backend(&services[0]), "alternateBackends": services[1..].iter().map(backend).collect::<Vec<_>>() });
            let metadata =
                json!({ "namespace": "a", "name": format!("h{host}-{path}"), "uid": format!("{host}-{path}") });
            apply(Kind::Route, json!({ "metadata": metadata, "spec": spec }))
        }
        Step::NoRoute { host, path } => delete(Kind::Route, "a", format!("h{host}-{path}")),
        Step::Publish => return None,
    })
}

proptest! {
    #[test]
    fn the_placer_ends_where_a_placement_of_everything_does(steps in proptest::collection::vec(step(), 0..60)) {
        let mut index = Index::new(config());
        let mut placer = Placer::default();
        let mut before = BTreeMap::new();
        for step in steps.into_iter().chain([Step::Publish]) {
            if let Some(change) = change(step) {
                index.apply(change);
                continue;
            }
            let snapshot = index.publish();
            let touched = placer.update(&snapshot);
            let placement = place(&snapshot.routes, &snapshot.endpoints, &snapshot.nodes);
            prop_assert_eq!(placer.placement(), &placement);
            let after = records(&placement, &snapshot.nodes, &snapshot.routes, &RecordPolicy { wildcard_aliases: true, ..RecordPolicy::default() });
            for pattern in before.keys().chain(after.keys()) {
                prop_assert!(before.get(pattern) == after.get(pattern) || touched.contains(pattern), "{} is not named", pattern);
            }
            before = after;
            prop_assert!(placer.update(&snapshot).is_empty(), "nothing changed");
        }
    }
}
