//! Placement: the route table, the endpoints and the nodes flow in, for each host the nodes that are to be published
//! flow out. A pure function; the controller turns its answer into DNSEndpoint objects.

mod node;
mod records;

pub use node::{NodeState, NodeStates, RouterSelector};
pub use records::{AddressTypes, RecordPolicy, dns_endpoint_name, records};

use crate::endpoints::{EndpointState, EndpointTable, PortSelector, ServiceKey};
use crate::hostname::HostPattern;
use crate::table::{HostRoutes, RouteTable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The nodes of each host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Every exact and wildcard host of the table.
    pub hosts: BTreeMap<HostPattern, HostPlacement>,
}

/// The nodes of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlacement {
    /// The nodes to publish, sorted by name; empty only where no node has a router at all.
    pub nodes: Vec<Arc<str>>,
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
    /// Nothing is ready; they hold pods that end but still answer.
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

/// Places every host. The answer is never empty for a host while any node has a ready router.
pub fn place(routes: &RouteTable, endpoints: &EndpointTable, nodes: &NodeStates) -> Placement {
    let held = Held::new(endpoints);
    let hosts = routes.hosts().filter(|host| host.pattern != HostPattern::Any);
    Placement { hosts: hosts.map(|host| (host.pattern.clone(), place_host(host, &held, nodes))).collect() }
}

fn place_host(host: &HostRoutes, held: &Held<'_>, nodes: &NodeStates) -> HostPlacement {
    let services: BTreeSet<(&ServiceKey, &PortSelector)> = host
        .routes
        .iter()
        .flat_map(|route| &route.backends)
        .filter(|backend| backend.weight > 0)
        .map(|backend| (&backend.service, &backend.port))
        .collect();
    let eligible: Vec<&Arc<str>> = nodes.iter().filter(|(_, node)| node.is_eligible()).map(|(name, _)| name).collect();
    if eligible.is_empty() {
        return HostPlacement { nodes: Vec::new(), basis: Basis::NoReadyRouter };
    }
    for (state, best) in [(EndpointState::Ready, None), (EndpointState::ServingTerminating, Some(Basis::Terminating))] {
        let counts = held.count(&services, state);
        let most = eligible.iter().filter_map(|name| counts.get(&***name)).copied().max().unwrap_or(0);
        if most > 0 {
            let nodes = eligible.iter().filter(|name| counts.get(&****name) == Some(&most));
            let basis = best.unwrap_or(match services.len() {
                total if most == total => Basis::AllServices,
                total => Basis::MostServices { held: most, total },
            });
            return HostPlacement { nodes: nodes.map(|name| Arc::clone(name)).collect(), basis };
        }
    }
    HostPlacement { nodes: eligible.into_iter().map(Arc::clone).collect(), basis: Basis::NoReadyPods }
}

/// Which nodes hold endpoints of which Service.
struct Held<'e> {
    endpoints: &'e EndpointTable,
}

impl<'e> Held<'e> {
    fn new(endpoints: &'e EndpointTable) -> Self {
        Self { endpoints }
    }

    /// How many of these Services each node holds in this state.
    fn count(
        &self,
        services: &BTreeSet<(&'e ServiceKey, &'e PortSelector)>,
        state: EndpointState,
    ) -> BTreeMap<&'e str, usize> {
        let mut counts = BTreeMap::new();
        for (service, port) in services {
            let Some(endpoints) = self.endpoints.get(*service) else {
                continue;
            };
            let on: BTreeSet<&str> = endpoints
                .select(port)
                .filter(|(_, endpoint)| endpoint.state == state && !endpoint.node.is_empty())
                .map(|(_, endpoint)| &*endpoint.node)
                .collect();
            for node in on {
                *counts.entry(node).or_insert(0) += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests;
