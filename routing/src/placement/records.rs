//! Records: a placement and the nodes' addresses flow in, the DNSEndpoint specs that publish it flow out, one per host.

use super::{Basis, HostPlacement, NodeState, NodeStates, Placement};
use crate::hostname::HostPattern;
use crate::node_id::NodeId;
use crate::object::{DnsEndpointSpec, RecordSet};
use crate::table::RouteTable;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Which addresses of a node are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressTypes(pub Vec<String>);

impl Default for AddressTypes {
    fn default() -> Self {
        Self(vec!["ExternalIP".into(), "InternalIP".into()])
    }
}

/// How records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPolicy {
    /// The first type of which a node has addresses gives all of its records.
    pub address_types: AddressTypes,
    /// Seconds.
    pub ttl: u32,
    /// The most addresses of one family under one name; a host on more nodes gets a stable choice of them. At most 100,
    /// because resolvers answer SERVFAIL beyond.
    pub max_addresses: usize,
}

impl Default for RecordPolicy {
    fn default() -> Self {
        Self { address_types: AddressTypes::default(), ttl: 30, max_addresses: 24 }
    }
}

/// The records of every host: A and AAAA of the host, and of its alias on each of its nodes. A host whose nodes have no
/// address is left out, never emptied.
pub fn records(
    placement: &Placement,
    nodes: &NodeStates,
    routes: &RouteTable,
    policy: &RecordPolicy,
) -> BTreeMap<HostPattern, DnsEndpointSpec> {
    let specs =
        placement.hosts.iter().map(|(pattern, host)| (pattern, records_of(pattern, host, nodes, routes, policy)));
    specs.filter_map(|(pattern, spec)| Some((pattern.clone(), spec?))).collect()
}

/// The records of one host; `None` where its nodes have no address. A host that no pod can answer has aliases of those nodes
/// alone that are published under its name: nobody is redirected to them.
pub fn records_of(
    pattern: &HostPattern,
    host: &HostPlacement,
    nodes: &NodeStates,
    routes: &RouteTable,
    policy: &RecordPolicy,
) -> Option<DnsEndpointSpec> {
    let states: Vec<&NodeState> = host.nodes.iter().filter_map(|name| nodes.get(name)).collect();
    let name = pattern.to_string();
    let published = capped(&name, &states, policy);
    let mut endpoints = record_sets(&name, &published, policy);
    if let HostPattern::Exact(exact) = pattern {
        let mut by_alias: BTreeMap<NodeId, Vec<&NodeState>> = BTreeMap::new();
        for node in if host.basis == Basis::NoReadyPods { published } else { states } {
            by_alias.entry(node.id).or_default().push(node);
        }
        for (id, nodes) in by_alias {
            // A host of that very name belongs to whoever claimed it.
            let Some(alias) = id.alias(exact).filter(|alias| routes.host(&HostPattern::Exact(alias.clone())).is_none())
            else {
                continue;
            };
            endpoints.extend(record_sets(alias.as_str(), &nodes, policy));
        }
    }
    (!endpoints.is_empty()).then_some(DnsEndpointSpec { endpoints })
}

/// At most as many nodes as fit, by rendezvous hashing: the choice is stable, differs from host to host, and the loss of
/// one node changes one place.
fn capped<'n>(host: &str, nodes: &[&'n NodeState], policy: &RecordPolicy) -> Vec<&'n NodeState> {
    let mut ranked: Vec<&NodeState> = nodes.to_vec();
    ranked.sort_by_cached_key(|node| {
        let score: [u8; 32] = Sha256::digest(format!("{host}\n{}", node.id)).into();
        Reverse(score)
    });
    ranked.truncate(policy.max_addresses.clamp(1, HARD_CAP));
    ranked
}

fn record_sets(name: &str, nodes: &[&NodeState], policy: &RecordPolicy) -> Vec<RecordSet> {
    let addresses: BTreeSet<IpAddr> = nodes.iter().flat_map(|node| addresses(node, &policy.address_types)).collect();
    let set = |record_type: &str, of_family: fn(&IpAddr) -> bool| {
        let targets: Vec<String> =
            addresses.iter().filter(|a| of_family(a)).take(HARD_CAP).map(ToString::to_string).collect();
        (!targets.is_empty()).then(|| RecordSet {
            dns_name: name.to_owned(),
            record_type: record_type.to_owned(),
            targets,
            record_ttl: Some(i64::from(policy.ttl)),
        })
    };
    [set("A", IpAddr::is_ipv4), set("AAAA", IpAddr::is_ipv6)].into_iter().flatten().collect()
}

fn addresses(node: &NodeState, types: &AddressTypes) -> Vec<IpAddr> {
    let of = |kind: &String| -> Vec<IpAddr> {
        let entries = node.addresses.iter().filter(|entry| entry.kind == *kind);
        entries.filter_map(|entry| entry.address.parse().ok()).collect()
    };
    types.0.iter().map(of).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The name of the DNSEndpoint object of a host: the same host has the same name for ever.
pub fn dns_endpoint_name(pattern: &HostPattern) -> Arc<str> {
    let digest = Sha256::digest(pattern.to_string());
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("nearside-{hex}").into()
}

/// BIND answers SERVFAIL for an RRset of more records (`max-records-per-type`).
const HARD_CAP: usize = 100;
