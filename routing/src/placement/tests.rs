//! Placement: who is published, and that the answer for a live host is never empty.

use crate::hostname::HostPattern;
use crate::index::{EndpointSource, IndexConfig, Snapshot};
use crate::node_id::NodeId;
use crate::object::DnsEndpointSpec;
use crate::placement::{AddressTypes, Basis, RecordPolicy, place, records, weights};
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

/// A node with a router and a pod of `a`, and these addresses, each `type=address`.
fn holding(name: &str, written: &[&str]) -> String {
    let listed: Vec<String> = written
        .iter()
        .map(|entry| entry.split_once('=').unwrap())
        .map(|(kind, address)| format!("{{type: {kind}, address: '{address}'}}"))
        .collect();
    let node = format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nstatus: {{addresses: [{}], conditions: [{{type: Ready, \
         status: 'True'}}]}}\n",
        listed.join(", ")
    );
    [node, router(name), pod(name, "a", true, false)].concat()
}

/// `name type targets` of each set of the host `h.test`.
fn sets(parts: &[String], policy: &RecordPolicy) -> Vec<String> {
    shown(&spec(parts, "h.test", policy))
}

fn spec(parts: &[String], host: &str, policy: &RecordPolicy) -> DnsEndpointSpec {
    let snapshot = see(parts);
    let placement = place(&snapshot.routes, &snapshot.endpoints, &snapshot.nodes);
    records(&placement, &snapshot.nodes, &snapshot.routes, policy).remove(&HostPattern::parse(host).unwrap()).unwrap()
}

fn shown(spec: &DnsEndpointSpec) -> Vec<String> {
    let sets = spec.endpoints.iter();
    sets.map(|set| format!("{} {} {}", set.dns_name, set.record_type, set.targets.join(" "))).collect()
}

#[test]
fn a_family_that_few_nodes_have_is_not_published_and_none_is_ever_emptied() {
    let [v4, v6] = ["InternalIP=198.18.0.", "InternalIP=fd00::"];
    let published = |nodes: &[(bool, bool)]| {
        let mut parts = vec![service("a"), route("ns", "a", 1, "host: h.test")];
        for (at, (has_v4, has_v6)) in nodes.iter().enumerate() {
            let of = |has: &bool, base: &str| has.then(|| format!("{base}{}", at + 1));
            let addresses: Vec<String> = of(has_v4, v4).into_iter().chain(of(has_v6, v6)).collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            parts.push(holding(&format!("n{at}"), &addresses));
        }
        let mut sets = sets(&parts, &RecordPolicy::default());
        sets.retain(|set| set.starts_with("h.test "));
        sets.iter().map(|set| set.trim_start_matches("h.test ").to_owned()).collect::<Vec<_>>()
    };
    let (dual, only_v4, only_v6) = ((true, true), (true, false), (false, true));
    assert_eq!(published(&[only_v6, only_v6]), ["AAAA fd00::1 fd00::2"]);
    assert_eq!(published(&[dual, dual]), ["A 198.18.0.1 198.18.0.2", "AAAA fd00::1 fd00::2"]);
    assert_eq!(published(&[dual, dual, only_v4]), ["A 198.18.0.1 198.18.0.2 198.18.0.3", "AAAA fd00::1 fd00::2"]);
    assert_eq!(
        published(&[dual, only_v4, only_v4]),
        ["A 198.18.0.1 198.18.0.2 198.18.0.3"],
        "one node for most clients"
    );
    assert_eq!(published(&[only_v4, only_v6]), ["A 198.18.0.1"], "not one family on each half");
    assert_eq!(published(&[only_v4, only_v6, only_v6]), ["AAAA fd00::2 fd00::3"]);
    assert_eq!(published(&[dual, only_v6, only_v6]), ["AAAA fd00::1 fd00::2 fd00::3"]);
}

#[test]
fn a_node_keeps_both_families_under_its_alias() {
    let parts = [
        service("a"),
        route("ns", "a", 1, "host: h.test"),
        holding("n1", &["InternalIP=198.18.0.1", "InternalIP=fd00::1"]),
        holding("n2", &["InternalIP=198.18.0.2"]),
    ];
    let alias = format!("h--{}.test", NodeId::of("n1"));
    let sets = sets(&parts, &RecordPolicy::default());
    assert!(
        sets.contains(&format!("{alias} A 198.18.0.1")) && sets.contains(&format!("{alias} AAAA fd00::1")),
        "{sets:?}"
    );
    assert!(!sets.iter().any(|set| set.starts_with("h.test AAAA")), "{sets:?}");
}

#[test]
fn the_first_type_of_address_that_a_node_has_counts() {
    let parts = [
        service("a"),
        route("ns", "a", 1, "host: h.test"),
        holding("n1", &["InternalIP=10.0.0.1", "ExternalIP=198.18.0.1", "Hostname=n1", "ExternalIP=broken"]),
        holding("n2", &["InternalIP=10.0.0.2"]),
        holding("n3", &["Hostname=n3"]),
    ];
    let first = |types: &[&str]| {
        let types = AddressTypes(types.iter().map(|kind| (*kind).to_owned()).collect());
        sets(&parts, &RecordPolicy { address_types: types, ..RecordPolicy::default() })[0].clone()
    };
    assert_eq!(first(&["ExternalIP", "InternalIP"]), "h.test A 10.0.0.2 198.18.0.1");
    assert_eq!(first(&["InternalIP", "ExternalIP"]), "h.test A 10.0.0.1 10.0.0.2");
    assert_eq!(first(&["ExternalIP"]), "h.test A 198.18.0.1");
}

#[test]
fn a_wildcard_has_aliases_where_the_name_server_knows_them() {
    let wildcard = |wildcard_aliases| {
        let wildcard = ingress("ns", "a", 1, &format!("rules: [{}]", rule("*.h.test", &[("Prefix", "/", "a")])));
        let parts = [CLASS.to_owned(), service("a"), wildcard, holding("n1", &["InternalIP=198.18.0.1"])];
        shown(&spec(&parts, "*.h.test", &RecordPolicy { wildcard_aliases, ..RecordPolicy::default() }))
    };
    assert_eq!(wildcard(false), ["*.h.test A 198.18.0.1"]);
    let alias = format!("*--{}.h.test", NodeId::of("n1"));
    assert_eq!(wildcard(true), ["*.h.test A 198.18.0.1".to_owned(), format!("{alias} A 198.18.0.1")]);
}

#[test]
fn an_https_record_stands_beside_the_addresses_where_an_object_asks_for_it() {
    let asking = |tls: &str, value: &str| {
        let asks = route("ns", "a", 1, &format!("host: h.test{tls}")).replacen(
            "metadata: {",
            &format!("metadata: {{annotations: {{nearside.dev/https-record: '{value}'}}, "),
            1,
        );
        let parts = [service("a"), asks, holding("n1", &["InternalIP=198.18.0.1"])];
        let problems = see(&parts).verdicts.values().map(|verdict| verdict.problems.len()).sum::<usize>();
        (sets(&parts, &RecordPolicy::default()), problems)
    };
    let alias = format!("h--{}.test", NodeId::of("n1"));
    let plain = vec!["h.test A 198.18.0.1".to_owned(), format!("{alias} A 198.18.0.1")];
    let (edge, passthrough) = (", tls: {termination: edge}", ", tls: {termination: passthrough}");
    let with_https = [
        plain[0].clone(),
        "h.test HTTPS 1 . alpn=\"h2,http/1.1\"".into(),
        plain[1].clone(),
        format!("{alias} HTTPS 1 . alpn=\"h2,http/1.1\""),
    ];
    assert_eq!(asking(edge, "auto"), (with_https.into(), 0));
    assert_eq!(asking(edge, "h3"), (plain.clone(), 1));
    assert_eq!(asking(passthrough, "auto"), (plain.clone(), 1), "TLS does not end here");
    assert_eq!(asking("", "auto"), (plain, 1), "nor is there any");
}

#[test]
fn weights_follow_the_ready_pods_where_they_differ() {
    let weighed = |pods: &[(&str, usize)]| {
        let mut parts = vec![service("a"), route("ns", "a", 1, "host: h.test")];
        for (at, (name, count)) in pods.iter().enumerate() {
            parts.push(node(name, u8::try_from(at).unwrap() + 1, "", ""));
            parts.push(router(name));
            parts.extend((0..*count).map(|number| {
                let ip = format!("198.18.{}.{}", at + 1, number + 1);
                let named = pod(name, "a", true, false).replace("198.18.1.1", &ip);
                named.replacen(&format!("name: a-{name}"), &format!("name: a-{name}-{number}"), 1)
            }));
        }
        let snapshot = see(&parts);
        let pattern = HostPattern::parse("h.test").unwrap();
        let placement = place(&snapshot.routes, &snapshot.endpoints, &snapshot.nodes);
        let policy = RecordPolicy::default();
        let spec = spec(&parts, "h.test", &policy);
        let host = snapshot.routes.host(&pattern).unwrap();
        let placed = &placement.hosts[&pattern];
        weights(host, placed, &spec, &snapshot.nodes, &snapshot.endpoints, &policy.address_types)
    };
    assert_eq!(weighed(&[("n1", 2), ("n2", 1)]), r#"{"198.18.0.1":2,"198.18.0.2":1,"fd00::1":2,"fd00::2":1}"#);
    assert_eq!(weighed(&[("n1", 1), ("n2", 9)]), r#"{"198.18.0.1":1,"198.18.0.2":4,"fd00::1":1,"fd00::2":4}"#);
    assert_eq!(weighed(&[("n1", 5), ("n2", 6)]), "", "nearly equal");
    assert_eq!(weighed(&[("n1", 3)]), "", "nobody to compare with");
    assert_eq!(weighed(&[("n1", 0), ("n2", 0)]), "", "no pods at all");
}

#[test]
fn a_host_on_two_hundred_nodes_has_a_choice_of_addresses_and_all_aliases() {
    let mut parts = vec![service("a"), route("ns", "a", 1, "host: h.test")];
    parts.extend((1..=200).map(|n| holding(&format!("n{n}"), &[&format!("InternalIP=198.18.0.{n}")])));
    let spec = spec(&parts, "h.test", &RecordPolicy::default());
    assert_eq!(spec.endpoints[0].targets.len(), 24);
    assert_eq!(spec.endpoints.len(), 201, "a node that is not chosen is reached by its alias still");
    let all = RecordPolicy { max_addresses: 1000, ..RecordPolicy::default() };
    assert_eq!(sets(&parts, &all)[0].split(' ').count() - 2, 100, "resolvers answer SERVFAIL beyond");
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
