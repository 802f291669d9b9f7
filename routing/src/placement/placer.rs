//! Placement from one snapshot to the next: snapshots flow in, the placement and the hosts that may be placed otherwise than
//! before flow out. The cost follows what changed between two snapshots and not their size. [`super::place`] is the
//! reference.

use super::{Basis, HostPlacement, NodeStates, Placement, eligible, place_host};
use crate::endpoints::{EndpointTable, ServiceEndpoints, ServiceKey};
use crate::hostname::{HostPattern, Hostname};
use crate::index::Snapshot;
use crate::node_id::NodeId;
use crate::table::{HostRoutes, RouteTable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// See the module head.
#[derive(Debug, Default)]
pub struct Placer {
    routes: Arc<RouteTable>,
    endpoints: EndpointTable,
    nodes: Arc<NodeStates>,
    eligible: Arc<[Arc<str>]>,
    placement: Placement,
    /// The hosts whose rules name a Service.
    hosts_of: BTreeMap<ServiceKey, BTreeSet<HostPattern>>,
    /// The Services with endpoints on a node.
    services_on: BTreeMap<Arc<str>, BTreeSet<ServiceKey>>,
    /// The hosts that no Service has chosen nodes for: every eligible node counts for them.
    everywhere: BTreeSet<HostPattern>,
}

impl Placer {
    /// Places the hosts of a snapshot. Gives those for which anything changed since the last one that placement or the records
    /// of a host depend on; those that are gone and rules without host ([`HostPattern::Any`]) are among them.
    pub fn update(&mut self, snapshot: &Snapshot) -> BTreeSet<HostPattern> {
        let mut touched = BTreeSet::new();
        self.follow_routes(&snapshot.routes, &mut touched);
        self.follow_endpoints(&snapshot.endpoints, &mut touched);
        self.follow_nodes(&snapshot.nodes, &mut touched);
        for pattern in touched.iter().filter(|pattern| **pattern != HostPattern::Any) {
            self.place(pattern);
        }
        touched
    }

    /// The placement of the last snapshot.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    fn follow_routes(&mut self, routes: &Arc<RouteTable>, touched: &mut BTreeSet<HostPattern>) {
        let before = std::mem::replace(&mut self.routes, Arc::clone(routes));
        for changed in routes.changes_since(&before) {
            let Some(pattern) = changed.pattern() else { continue };
            for service in services(changed.before) {
                if let Some(hosts) = self.hosts_of.get_mut(service) {
                    hosts.remove(pattern);
                    if hosts.is_empty() {
                        self.hosts_of.remove(service);
                    }
                }
            }
            for service in services(changed.after) {
                self.hosts_of.entry(service.clone()).or_default().insert(pattern.clone());
            }
            touched.insert(pattern.clone());
            // A host of the form of an alias takes the alias's place in the records of the host that it stands for.
            if changed.before.is_some() != changed.after.is_some()
                && let HostPattern::Exact(name) = pattern
                && let Some((original, _)) = NodeId::split_alias(name.as_str())
            {
                touched.extend(Hostname::parse(&original).ok().map(HostPattern::Exact));
            }
        }
    }

    fn follow_endpoints(&mut self, endpoints: &EndpointTable, touched: &mut BTreeSet<HostPattern>) {
        let before = std::mem::replace(&mut self.endpoints, endpoints.clone());
        for changed in endpoints.changes_since(&before) {
            let (left, holding) = (nodes_of(changed.before), nodes_of(changed.after));
            for node in left.difference(&holding) {
                if let Some(services) = self.services_on.get_mut(&***node) {
                    services.remove(changed.key);
                    if services.is_empty() {
                        self.services_on.remove(&***node);
                    }
                }
            }
            for node in holding.difference(&left) {
                self.services_on.entry(Arc::clone(node)).or_default().insert(changed.key.clone());
            }
            touched.extend(self.hosts_of.get(changed.key).into_iter().flatten().cloned());
        }
    }

    fn follow_nodes(&mut self, nodes: &Arc<NodeStates>, touched: &mut BTreeSet<HostPattern>) {
        if Arc::ptr_eq(&self.nodes, nodes) {
            return;
        }
        let before = std::mem::replace(&mut self.nodes, Arc::clone(nodes));
        let names: BTreeSet<&Arc<str>> = before.keys().chain(nodes.keys()).collect();
        for name in names.into_iter().filter(|name| before.get(*name) != nodes.get(*name)) {
            let services = self.services_on.get(name).into_iter().flatten();
            touched.extend(services.filter_map(|service| self.hosts_of.get(service)).flatten().cloned());
        }
        self.eligible = eligible(nodes);
        touched.extend(self.everywhere.iter().cloned());
        touched.insert(HostPattern::Any);
    }

    fn place(&mut self, pattern: &HostPattern) {
        let routes = self.routes.host(pattern);
        let placed = routes.map(|host| place_host(host, &self.endpoints, &self.nodes, &self.eligible));
        if placed.as_ref().is_some_and(is_everywhere) {
            self.everywhere.insert(pattern.clone());
        } else {
            self.everywhere.remove(pattern);
        }
        if self.placement.hosts.get(pattern).map(AsRef::as_ref) != placed.as_ref() {
            self.placement.hosts.set(pattern.clone(), placed.map(Arc::new));
        }
    }
}

fn is_everywhere(host: &HostPlacement) -> bool {
    matches!(host.basis, Basis::NoReadyPods | Basis::NoReadyRouter)
}

/// A canary's Services decide about no host, but readers of rules without host ask for them.
fn services(host: Option<&Arc<HostRoutes>>) -> impl Iterator<Item = &ServiceKey> {
    let rules = host.into_iter().flat_map(|host| host.routes.iter()).flat_map(|rule| rule.with_canary());
    rules.flat_map(|rule| &rule.backends).map(|backend| &backend.service)
}

fn nodes_of(endpoints: Option<&Arc<ServiceEndpoints>>) -> BTreeSet<&Arc<str>> {
    let ports = endpoints.into_iter().flat_map(|endpoints| &endpoints.ports);
    ports.flat_map(|port| &port.endpoints).map(|endpoint| &endpoint.node).collect()
}

#[cfg(test)]
mod tests;
