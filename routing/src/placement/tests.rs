//! Placement: who is published, and that the answer for a live host is never empty.

use crate::hostname::HostPattern;
use crate::index::{EndpointSource, IndexConfig, Snapshot};
use crate::node_id::NodeId;
use crate::placement::{AddressTypes, Basis, RecordPolicy, place, records};
use crate::testing::{CLASS, ingress, route, rule, snapshot};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn node(name: &str, number: u8, more_status: &str, more_metadata: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}{more_metadata}}}\nstatus: {{addresses: [{{type: InternalIP, \
         address: 198.18.0.{number}}}, {{type: InternalIP, address: 'fd00::{number}'}}], conditions: [{{type: Ready, status: '{}'}}]}}\n",
        if more_status.is_empty() { "True" } else { more_status }
    )
}

fn pod(node: &str, app: &str, ready: bool, ending: bool) -> String {
    let deletion = if ending { ", deletionTimestamp: '2025-01-01T00:00:00Z'" } else { "" };
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{namespace: ns, name: {app}-{node}, labels: {{app: {app}, \
         app.kubernetes.io/name: {app}}}{deletion}}}\nspec: {{nodeName: {node}}}\n\
         status: {{podIP: 198.18.1.1, conditions: [{{type: Ready, status: '{}'}}]}}\n",
        if ready { "True" } else { "False" }
    )
}

fn router(node: &str) -> String {
    pod(node, "nearside-proxy", true, false)
}

fn service(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{namespace: ns, name: {name}}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
    )
}

fn see(parts: &[String]) -> std::sync::Arc<Snapshot> {
    let config = IndexConfig { endpoints: EndpointSource::Pods { node: None }, ..IndexConfig::default() };
    snapshot(config, &parts.concat())
}

fn nodes_of(parts: &[String]) -> (Vec<String>, Basis) {
    let snapshot = see(parts);
    let placement = place(&snapshot.routes, &snapshot.endpoints, &snapshot.nodes);
    let host = &placement.hosts[&HostPattern::parse("h.test").unwrap()];
    (host.nodes.iter().map(ToString::to_string).collect(), host.basis)
}

/// Three nodes with routers, and a host with the Services `a` and `b`.
fn cluster(more: &[String]) -> Vec<String> {
    let mut parts: Vec<String> =
        (1..=3).flat_map(|n| [node(&format!("n{n}"), n, "", ""), router(&format!("n{n}"))]).collect();
    parts.extend([service("a"), service("b")]);
    parts.extend([route("ns", "a", 1, "host: h.test"), route("ns", "b", 2, "host: h.test, path: /b")]);
    parts.extend_from_slice(more);
    parts
}

#[test]
fn a_canary_takes_no_node_out() {
    let rules = |service| format!("rules: [{}]", rule("h.test", &[("Prefix", "/", service)]));
    let canary = ingress("ns", "b", 2, &rules("b")).replacen(
        "metadata: {",
        "metadata: {annotations: {nearside.dev/canary: 'true', nearside.dev/canary-weight: '50'}, ",
        1,
    );
    let mut parts = vec![CLASS.to_owned(), service("a"), service("b"), ingress("ns", "a", 1, &rules("a")), canary];
    parts.extend((1..=3).flat_map(|n| [node(&format!("n{n}"), n, "", ""), router(&format!("n{n}"))]));
    parts.extend([pod("n1", "a", true, false), pod("n2", "a", true, false), pod("n2", "b", true, false)]);
    parts.push(pod("n3", "b", true, false));
    let expected = (vec!["n1".to_owned(), "n2".to_owned()], Basis::AllServices);
    assert_eq!(nodes_of(&parts), expected, "where the main Service has pods, whatever the canary has");
}

#[test]
fn only_nodes_that_hold_every_service_are_published() {
    let parts = cluster(&[pod("n1", "a", true, false), pod("n2", "a", true, false), pod("n2", "b", true, false)]);
    assert_eq!(nodes_of(&parts), (vec!["n2".into()], Basis::AllServices));
}

#[test]
fn the_ladder_goes_down_step_by_step_and_is_never_empty() {
    let most = cluster(&[pod("n1", "a", true, false), pod("n3", "b", true, false), pod("n2", "b", false, false)]);
    assert_eq!(nodes_of(&most), (vec!["n1".into(), "n3".into()], Basis::MostServices { held: 1, total: 2 }));
    let ending = cluster(&[pod("n3", "a", true, true), pod("n2", "b", false, false)]);
    assert_eq!(nodes_of(&ending), (vec!["n3".into()], Basis::Terminating));
    assert_eq!(nodes_of(&cluster(&[])), (vec!["n1".into(), "n2".into(), "n3".into()], Basis::NoReadyPods));
}

#[test]
fn nodes_that_cannot_serve_are_withdrawn() {
    for (status, metadata) in [
        ("False", ""),
        ("True", ", annotations: {nearside.dev/drain: 'true'}"),
        ("True", ", labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}"),
        ("True", ", deletionTimestamp: '2025-01-01T00:00:00Z'"),
    ] {
        let parts = cluster(&[
            pod("n1", "a", true, false),
            pod("n1", "b", true, false),
            pod("n2", "a", true, false),
            pod("n2", "b", true, false),
            node("n1", 1, status, metadata),
        ]);
        assert_eq!(nodes_of(&parts).0, ["n2"], "{status}{metadata}");
    }
    let unready_router = cluster(&[
        pod("n1", "a", true, false),
        pod("n1", "b", true, false),
        pod("n2", "a", true, false),
        pod("n2", "b", true, false),
        pod("n1", "nearside-proxy", false, false),
    ]);
    assert_eq!(nodes_of(&unready_router).0, ["n2"]);
    let cordoned = cluster(&[
        pod("n1", "a", true, false),
        pod("n1", "b", true, false),
        node("n1", 1, "", "").replace("\nstatus:", "\nspec: {unschedulable: true}\nstatus:"),
    ]);
    assert_eq!(nodes_of(&cordoned).0, ["n1"], "a cordoned node keeps serving");
}

#[test]
fn records_name_the_host_and_each_node_by_its_alias() {
    let snapshot = see(&cluster(&[pod("n2", "a", true, false), pod("n2", "b", true, false)]));
    let placement = place(&snapshot.routes, &snapshot.endpoints, &snapshot.nodes);
    let specs = records(&placement, &snapshot.nodes, &snapshot.routes, &RecordPolicy::default());
    let sets = &specs[&HostPattern::parse("h.test").unwrap()].endpoints;
    let alias = format!("h--{}.test", NodeId::of("n2"));
    let shown: Vec<String> = sets.iter().map(|s| format!("{} {} {:?}", s.dns_name, s.record_type, s.targets)).collect();
    assert_eq!(
        shown,
        [
            "h.test A [\"198.18.0.2\"]".to_owned(),
            "h.test AAAA [\"fd00::2\"]".to_owned(),
            format!("{alias} A [\"198.18.0.2\"]"),
            format!("{alias} AAAA [\"fd00::2\"]"),
        ]
    );
    assert!(sets.iter().all(|set| set.record_ttl == Some(30)));
}

#[test]
fn a_host_whose_nodes_have_no_address_of_the_wanted_type_is_left_out() {
    let snapshot = see(&cluster(&[]));
    let placement = place(&snapshot.routes, &snapshot.endpoints, &snapshot.nodes);
    let policy = RecordPolicy { address_types: AddressTypes(vec!["Hostname".into()]), ..RecordPolicy::default() };
    assert!(records(&placement, &snapshot.nodes, &snapshot.routes, &policy).is_empty());
}

#[test]
fn a_host_on_many_nodes_gets_a_stable_choice() {
    let many = |lost: Option<u8>| {
        let mut parts = vec![service("a"), route("ns", "a", 1, "host: h.test")];
        for n in (1..=60).filter(|n| Some(*n) != lost) {
            let name = format!("n{n}");
            parts.extend([node(&name, n, "", ""), router(&name), pod(&name, "a", true, false)]);
        }
        let snapshot = see(&parts);
        let placement = place(&snapshot.routes, &snapshot.endpoints, &snapshot.nodes);
        let specs = records(&placement, &snapshot.nodes, &snapshot.routes, &RecordPolicy::default());
        let set = specs[&HostPattern::parse("h.test").unwrap()].endpoints[0].clone();
        set.targets.into_iter().collect::<BTreeSet<String>>()
    };
    let before = many(None);
    assert_eq!(before.len(), 24);
    let lost: u8 = before.first().unwrap().rsplit('.').next().unwrap().parse().unwrap();
    let after = many(Some(lost));
    assert_eq!(after.len(), 24);
    assert_eq!(before.intersection(&after).count(), 23, "the loss of one node changes one place");
}

proptest! {
    #[test]
    fn a_live_host_is_never_empty_while_a_router_is_ready(
        pods in proptest::collection::vec((1_u8..4, any::<bool>(), any::<bool>(), any::<bool>()), 0..8),
        ready in proptest::collection::vec(any::<bool>(), 3),
    ) {
        let mut more: Vec<String> = pods.iter().map(|(n, b, ready, ending)| {
            pod(&format!("n{n}"), if *b { "b" } else { "a" }, *ready, *ending)
        }).collect();
        more.extend((1..=3).map(|n| node(&format!("n{n}"), n, if ready[usize::from(n) - 1] { "True" } else { "False" }, "")));
        let (nodes, basis) = nodes_of(&cluster(&more));
        prop_assert_eq!(nodes.is_empty(), !ready.contains(&true));
        prop_assert_eq!(nodes.is_empty(), basis == Basis::NoReadyRouter);
        for name in nodes {
            let n: usize = name[1..].parse().unwrap();
            prop_assert!(ready[n - 1]);
        }
    }
}
