//! Records: a placement and the nodes' addresses flow in, the DNSEndpoint specs that publish it flow out, one per host.
//!
//! Clients that speak both families prefer IPv6, so a family that few nodes of a host have would send most clients to those
//! few. A family is published for a host where more than half of its nodes have it; the one that most have always is.

use super::{Basis, HostPlacement, NodeState, NodeStates, Placement};
use crate::hostname::HostPattern;
use crate::node_id::NodeId;
use crate::object::{DnsEndpointSpec, RecordSet};
use crate::policy::https_record::HttpsRecord;
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
    /// Whether wildcard hosts get aliases, too ([`NodeId::wildcard_alias`]): where the embedded name server answers.
    pub wildcard_aliases: bool,
}

impl Default for RecordPolicy {
    fn default() -> Self {
        Self { address_types: AddressTypes::default(), ttl: 30, max_addresses: 24, wildcard_aliases: false }
    }
}

/// The records of every host: A and AAAA of the host, and of its alias on each of its nodes; beside each the HTTPS record that
/// an object asks for. A host whose nodes have no address is left out, never emptied.
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
    let writer = Writer { policy, https: https(pattern, routes) };
    let families = families(&states, &policy.address_types);
    let reached =
        |node: &&&NodeState| addresses(node, &policy.address_types).iter().any(|a| families.contains(&Family::of(a)));
    let candidates: Vec<&NodeState> = states.iter().filter(reached).copied().collect();
    let published = capped(&name, &candidates, policy);
    let mut endpoints = writer.sets(&name, &published, &families);
    let mut by_alias: BTreeMap<NodeId, Vec<&NodeState>> = BTreeMap::new();
    for node in if host.basis == Basis::NoReadyPods { published } else { states } {
        by_alias.entry(node.id).or_default().push(node);
    }
    for (id, nodes) in by_alias {
        let alias = match pattern {
            // A host of that very name belongs to whoever claimed it.
            HostPattern::Exact(exact) => id
                .alias(exact)
                .filter(|alias| routes.host(&HostPattern::Exact(alias.clone())).is_none())
                .map(|alias| alias.to_string()),
            HostPattern::Wildcard(domain) => policy.wildcard_aliases.then(|| id.wildcard_alias(domain)),
            HostPattern::Any => None,
        };
        // One node has no families to choose from.
        endpoints.extend(alias.map(|alias| writer.sets(&alias, &nodes, &Family::ALL)).unwrap_or_default());
    }
    (!endpoints.is_empty()).then_some(DnsEndpointSpec { endpoints })
}

/// The HTTPS record that the first rule of a host asks for, if any does.
fn https(pattern: &HostPattern, routes: &RouteTable) -> Option<HttpsRecord> {
    routes.host(pattern)?.routes.iter().find_map(|route| route.policy.https_record.clone())
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn record_type(self) -> &'static str {
        match self {
            Self::V4 => "A",
            Self::V6 => "AAAA",
        }
    }
}

/// The families to publish for a host on these nodes; see the module head.
fn families(nodes: &[&NodeState], types: &AddressTypes) -> Vec<Family> {
    let found: Vec<Vec<IpAddr>> =
        nodes.iter().map(|node| addresses(node, types)).filter(|all| !all.is_empty()).collect();
    let count = |family| found.iter().filter(|all| all.iter().any(|address| Family::of(address) == family)).count();
    let main = if count(Family::V4) >= count(Family::V6) { Family::V4 } else { Family::V6 };
    Family::ALL.into_iter().filter(|family| *family == main || 2 * count(*family) > found.len()).collect()
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

/// How the sets of a host are written.
struct Writer<'p> {
    policy: &'p RecordPolicy,
    https: Option<HttpsRecord>,
}

impl Writer<'_> {
    /// The sets of one name; none where the nodes have no address of these families.
    fn sets(&self, name: &str, nodes: &[&NodeState], families: &[Family]) -> Vec<RecordSet> {
        let addresses: BTreeSet<IpAddr> =
            nodes.iter().flat_map(|node| addresses(node, &self.policy.address_types)).collect();
        let set = |record_type: &str, targets: Vec<String>| RecordSet {
            dns_name: name.to_owned(),
            record_type: record_type.to_owned(),
            targets,
            record_ttl: Some(i64::from(self.policy.ttl)),
        };
        let of = |family: &Family| -> Vec<String> {
            addresses.iter().filter(|a| Family::of(a) == *family).take(HARD_CAP).map(ToString::to_string).collect()
        };
        let mut sets: Vec<RecordSet> = families
            .iter()
            .map(|family| set(family.record_type(), of(family)))
            .filter(|set| !set.targets.is_empty())
            .collect();
        if let Some(https) = self.https.as_ref().filter(|_| !sets.is_empty()) {
            sets.push(set("HTTPS", vec![https.target()]));
        }
        sets
    }
}

/// The addresses of a node that may be published.
pub fn addresses(node: &NodeState, types: &AddressTypes) -> Vec<IpAddr> {
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
