//! Rules without host: a snapshot flows in, the nodes that can answer for one object's rules without host flow out.

use nearside_routing::endpoints::EndpointState;
use nearside_routing::{HostPattern, ObjectKey, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An Ingress rule without host has no name in DNS, but its status names the nodes that can answer: those with a ready
/// pod for one of its backends, else every node with a ready router.
pub(super) fn nodes_for_any_host(snapshot: &Snapshot, key: &ObjectKey) -> Arc<[Arc<str>]> {
    let rules = snapshot.routes.host(&HostPattern::Any).into_iter().flat_map(|host| host.routes.iter());
    let routes = rules.flat_map(|rule| rule.with_canary()).filter(|route| route.source == *key);
    let backends = routes.flat_map(|route| &route.backends).filter(|backend| backend.weight > 0);
    let selected = backends.filter_map(|backend| Some((snapshot.endpoints.get(&backend.service)?, &backend.port)));
    let ready = selected.flat_map(|(endpoints, port)| endpoints.select(port)).map(|(_, endpoint)| endpoint);
    let holding: BTreeSet<&Arc<str>> = ready
        .filter(|endpoint| endpoint.state == EndpointState::Ready)
        .filter_map(|endpoint| snapshot.nodes.get_key_value(&endpoint.node))
        .filter(|(_, node)| node.is_eligible())
        .map(|(name, _)| name)
        .collect();
    if holding.is_empty() {
        return snapshot
            .nodes
            .iter()
            .filter(|(_, node)| node.is_eligible())
            .map(|(name, _)| Arc::clone(name))
            .collect();
    }
    holding.into_iter().map(Arc::clone).collect()
}
