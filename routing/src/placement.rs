//! Placement: the route table, the endpoints and the nodes flow in, for each host the nodes that are to be published
//! flow out. A pure function; the controller turns its answer into DNSEndpoint objects.

mod node;
mod placer;
mod records;
mod weights;

pub(crate) use node::RouterState;
pub use node::{NodeState, NodeStates, RouterSelector};
pub use placer::Placer;
pub use records::{AddressTypes, RecordPolicy, addresses, dns_endpoint_name, records, records_of};
pub use weights::weights;

use crate::endpoints::{EndpointState, EndpointTable, PortSelector, ServiceKey};
use crate::hostname::HostPattern;
use crate::shared_map::SharedMap;
use crate::table::{HostRoutes, RouteTable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The nodes of each host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Every exact and wildcard host of the table.
    pub hosts: SharedMap<HostPattern, HostPlacement>,
}

/// The nodes of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlacement {
    /// The nodes to publish, sorted by name; empty only where no node has a router at all.
    pub nodes: Arc<[Arc<str>]>,
    /// Why these.
    pub basis: Basis,
}

/// Why nodes were chosen, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Basis {
    /// They hold ready pods for every Service of the host.
    AllServices,
    /// No node holds all; they hold the most.
    MostServices {
        /// How many Services they hold.
        held: usize,
        /// How many the host has.
        total: usize,
    },
    /// Nothing is ready that stays: they hold pods that end but still answer, or are to go themselves and answer until then.
    Terminating,
    /// No node holds anything: every node with a ready router answers, with an error page.
    NoReadyPods,
    /// There is no node with a ready router.
    NoReadyRouter,
}

impl Basis {
    /// The word for it in annotations, conditions and metrics; what the proxies read back from DNSEndpoints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllServices => "AllServices",
            Self::MostServices { .. } => "MostServices",
            Self::Terminating => "Terminating",
            Self::NoReadyPods => "NoReadyPods",
            Self::NoReadyRouter => "NoReadyRouter",
        }
    }
}

/// Places every host. The answer is never empty for a host while any node has a ready router. [`Placer`] gives the same from
/// one snapshot to the next, for what changed between them.
pub fn place(routes: &RouteTable, endpoints: &EndpointTable, nodes: &NodeStates) -> Placement {
    let eligible = eligible(nodes);
    let hosts = routes.hosts().filter(|host| host.pattern != HostPattern::Any);
    let placed = |host: &Arc<HostRoutes>| Arc::new(place_host(host, endpoints, nodes, &eligible));
    Placement { hosts: hosts.map(|host| (host.pattern.clone(), placed(host))).collect() }
}

/// The nodes that clients may be sent to, by name.
fn eligible(nodes: &NodeStates) -> Arc<[Arc<str>]> {
    nodes.iter().filter(|(_, node)| node.is_eligible()).map(|(name, _)| Arc::clone(name)).collect()
}

/// The Services that decide where a host is placed, with the ports that it means.
fn services_of(host: &HostRoutes) -> BTreeSet<(&ServiceKey, &PortSelector)> {
    let backends = host.routes.iter().flat_map(|route| &route.backends).filter(|backend| backend.weight > 0);
    backends.map(|backend| (&backend.service, &backend.port)).collect()
}

/// `eligible` are those of `nodes`.
fn place_host(
    host: &HostRoutes,
    endpoints: &EndpointTable,
    nodes: &NodeStates,
    eligible: &Arc<[Arc<str>]>,
) -> HostPlacement {
    if eligible.is_empty() {
        return HostPlacement { nodes: Arc::default(), basis: Basis::NoReadyRouter };
    }
    let services = services_of(host);
    for (state, best) in [(EndpointState::Ready, None), (EndpointState::ServingTerminating, Some(Basis::Terminating))] {
        let held = held(&services, state, endpoints, nodes);
        let most = held.values().copied().max().unwrap_or(0);
        if most > 0 {
            let nodes = held.into_iter().filter(|(_, count)| *count == most);
            let basis = best.unwrap_or(match services.len() {
                total if most == total => Basis::AllServices,
                total => Basis::MostServices { held: most, total },
            });
            return HostPlacement { nodes: nodes.map(|(name, _)| Arc::clone(name)).collect(), basis };
        }
    }
    HostPlacement { nodes: Arc::clone(eligible), basis: Basis::NoReadyPods }
}

/// How many of these Services each eligible node holds in this state; nodes that hold none are not named.
fn held<'n>(
    services: &BTreeSet<(&ServiceKey, &PortSelector)>,
    state: EndpointState,
    endpoints: &EndpointTable,
    nodes: &'n NodeStates,
) -> BTreeMap<&'n Arc<str>, usize> {
    let mut counts = BTreeMap::new();
    for (service, port) in services {
        let Some(endpoints) = endpoints.get(*service) else {
            continue;
        };
        let selected = endpoints.select(port).filter(|(_, endpoint)| endpoint.state == state);
        let on: BTreeSet<&Arc<str>> = selected
            .filter_map(|(_, endpoint)| nodes.get_key_value(&endpoint.node))
            .filter(|(_, node)| node.is_eligible())
            .map(|(name, _)| name)
            .collect();
        for node in on {
            *counts.entry(node).or_insert(0) += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests;
