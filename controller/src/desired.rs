//! What should stand in the API: a snapshot flows in, for each DNSEndpoint and each status the wanted content flows out.
//! Pure; the placement task calls it, the reconciler compares its answers and writes the difference.

mod dns_endpoint;
mod event;
mod ingress_status;
mod route_status;

pub(crate) use dns_endpoint::{DnsEndpointIntent, HoldReason, Records, is_ours, next_object, summary};
pub(crate) use event::{EventIntent, NO_READY_PODS};
pub(crate) use ingress_status::{IngressIntent, next_addresses};
pub(crate) use route_status::{RouteIntent, RouterIdentity, is_signed, next_entries};

use nearside_routing::endpoints::EndpointState;
use nearside_routing::object::DnsEndpointSpec;
use nearside_routing::placement::{Basis, HostPlacement, RecordPolicy, dns_endpoint_name, records};
use nearside_routing::{HostPattern, Kind, ObjectKey, Placement, Reason, Snapshot, place};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// One thing that the controller writes. DNSEndpoints come first: DNS matters more than status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// The DNSEndpoint of this name.
    DnsEndpoint(Arc<str>),
    /// The status of this Route or Ingress.
    Status(ObjectKey),
}

impl Target {
    /// The value of the label `kind` in metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::DnsEndpoint(_) => Kind::DnsEndpoint.name(),
            Self::Status(key) => key.kind.name(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DnsEndpoint(name) => write!(f, "DNSEndpoint {name}"),
            Self::Status(key) => write!(f, "status of {key}"),
        }
    }
}

/// What a target should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Intent {
    /// A DNSEndpoint.
    DnsEndpoint(DnsEndpointIntent),
    /// Our entry in a Route's status.
    Route(RouteIntent),
    /// The addresses in an Ingress's status.
    Ingress(IngressIntent),
}

impl Intent {
    /// The namespace of the object that claims the host of a DNSEndpoint.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        match self {
            Self::DnsEndpoint(intent) => intent.owner.clone(),
            Self::Route(_) | Self::Ingress(_) => None,
        }
    }
}

/// Everything that should stand in the API for one snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desired {
    /// The generation of the snapshot.
    pub(crate) generation: u64,
    /// By target. A DNSEndpoint that is not named here belongs to a host that no object claims.
    pub(crate) intents: BTreeMap<Target, Arc<Intent>>,
    /// Where each host is placed.
    pub(crate) placement: Placement,
    /// Hosts whose published records are kept although the snapshot gives none.
    pub(crate) held: BTreeMap<HostPattern, HoldReason>,
    /// How many parts of Routes and Ingresses are not served, or not as written.
    pub(crate) problems: BTreeMap<(Kind, Reason), usize>,
}

/// Turns snapshots into [`Desired`], and remembers what was good last.
#[derive(Debug)]
pub(crate) struct Planner {
    policy: RecordPolicy,
    last_good: BTreeMap<HostPattern, DnsEndpointSpec>,
}

impl Planner {
    /// A planner that has seen nothing yet.
    pub(crate) fn new(policy: RecordPolicy) -> Self {
        Self { policy, last_good: BTreeMap::new() }
    }

    /// What should stand in the API for this snapshot, which must be of a source that is in sync: a host that nothing in
    /// it claims is withdrawn.
    pub(crate) fn plan(&mut self, snapshot: &Snapshot) -> Desired {
        let placement = place(&snapshot.routes, &snapshot.endpoints, &snapshot.nodes);
        let mut specs = records(&placement, &snapshot.nodes, &snapshot.routes, &self.policy);
        let unserved: BTreeSet<HostPattern> =
            snapshot.claimed.iter().filter(|host| is_unserved(host, snapshot)).cloned().collect();
        self.last_good.retain(|pattern, _| placement.hosts.contains_key(pattern) || unserved.contains(pattern));
        let mut desired = Desired { generation: snapshot.generation, ..Desired::default() };
        for (pattern, host) in &placement.hosts {
            let records = match specs.remove(pattern) {
                Some(spec) => {
                    self.last_good.insert(pattern.clone(), spec.clone());
                    Records::Publish { spec, basis: host.basis }
                }
                None if host.basis == Basis::NoReadyRouter => Records::Hold(HoldReason::NoReadyRouter),
                None => Records::Hold(HoldReason::NoAddress),
            };
            desired.put_host(pattern, owner(pattern, snapshot), records);
        }
        // The larger guards against wrong withdrawal (ratio of a change, probes) belong here: a host they distrust is held.
        for pattern in unserved {
            let published = self.last_good.contains_key(&pattern);
            desired.put_host(&pattern, None, Records::Hold(HoldReason::NotServed));
            if !published {
                desired.held.remove(&pattern);
            }
        }
        let hosts = hosts_by_source(snapshot);
        for (key, verdict) in &*snapshot.verdicts {
            let own = hosts.get(key).cloned().unwrap_or_default();
            for problem in verdict.all_problems() {
                *desired.problems.entry((key.kind, problem.reason)).or_insert(0) += 1;
            }
            let events = event::events(verdict, &own, &placement);
            let intent = match key.kind {
                Kind::Route => Intent::Route(route_status::intent(verdict, &own, &placement, &desired.held, events)),
                _ => {
                    let addresses = self.addresses(snapshot, key, &own);
                    Intent::Ingress(ingress_status::intent(verdict, addresses, events))
                }
            };
            desired.intents.insert(Target::Status(key.clone()), Arc::new(intent));
        }
        desired.placement = placement;
        desired
    }

    /// The addresses that are published for the hosts of an Ingress, sorted; `None` where none is known, because all of
    /// its hosts are held since before the controller started.
    fn addresses(&self, snapshot: &Snapshot, key: &ObjectKey, hosts: &BTreeSet<HostPattern>) -> Option<Vec<String>> {
        let any_host;
        let specs = hosts.iter().filter_map(|pattern| self.last_good.get(pattern).map(|spec| (pattern, spec)));
        let mut specs: Vec<_> = specs.collect();
        if hosts.contains(&HostPattern::Any) {
            let nodes = nodes_for_any_host(snapshot, key);
            let host = HostPlacement { nodes, basis: Basis::AllServices };
            let placement = Placement { hosts: [(HostPattern::Any, host)].into() };
            any_host = records(&placement, &snapshot.nodes, &snapshot.routes, &self.policy);
            specs.extend(any_host.iter());
        }
        if specs.is_empty() {
            return None;
        }
        let mut addresses: Vec<std::net::IpAddr> = specs
            .iter()
            .flat_map(|(pattern, spec)| {
                let name = pattern.to_string();
                spec.endpoints.iter().filter(move |set| set.dns_name == name).flat_map(|set| &set.targets)
            })
            .filter_map(|target| target.parse().ok())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        Some(addresses.iter().map(ToString::to_string).collect())
    }
}

impl Desired {
    fn put_host(&mut self, pattern: &HostPattern, owner: Option<Arc<str>>, records: Records) {
        if let Records::Hold(reason) = records {
            self.held.insert(pattern.clone(), reason);
        }
        let target = Target::DnsEndpoint(dns_endpoint_name(pattern));
        let intent = DnsEndpointIntent { pattern: pattern.clone(), owner, records };
        self.intents.insert(target, Arc::new(Intent::DnsEndpoint(intent)));
    }
}

/// The namespace of the first object that serves a host.
fn owner(pattern: &HostPattern, snapshot: &Snapshot) -> Option<Arc<str>> {
    let routes = &snapshot.routes.host(pattern)?.routes;
    routes.first().map(|route| (&*route.source.namespace).into())
}

/// A Route whose certificate broke still claims its host: its records stay until nobody claims the host.
fn is_unserved(pattern: &HostPattern, snapshot: &Snapshot) -> bool {
    *pattern != HostPattern::Any && snapshot.routes.host(pattern).is_none()
}

/// The hosts that each Route and Ingress serves.
fn hosts_by_source(snapshot: &Snapshot) -> BTreeMap<&ObjectKey, BTreeSet<HostPattern>> {
    let mut hosts: BTreeMap<&ObjectKey, BTreeSet<HostPattern>> = BTreeMap::new();
    for host in snapshot.routes.hosts() {
        for route in host.routes.iter().flat_map(|route| route.with_canary()) {
            hosts.entry(&route.source).or_default().insert(host.pattern.clone());
        }
    }
    hosts
}

/// An Ingress rule without host has no name in DNS, but its status names the nodes that can answer: those with a ready
/// pod for one of its backends, else every node with a ready router.
fn nodes_for_any_host(snapshot: &Snapshot, key: &ObjectKey) -> Vec<Arc<str>> {
    let eligible = || snapshot.nodes.iter().filter(|(_, node)| node.is_eligible()).map(|(name, _)| name);
    let rules = snapshot.routes.host(&HostPattern::Any).into_iter().flat_map(|host| host.routes.iter());
    let routes = rules.flat_map(|rule| rule.with_canary());
    let backends: Vec<_> = routes.filter(|route| route.source == *key).flat_map(|route| &route.backends).collect();
    let holds = |node: &str| {
        backends.iter().filter(|backend| backend.weight > 0).any(|backend| {
            snapshot.endpoints.get(&backend.service).is_some_and(|endpoints| {
                let mut selected = endpoints.select(&backend.port);
                selected.any(|(_, endpoint)| endpoint.state == EndpointState::Ready && *endpoint.node == *node)
            })
        })
    };
    let holding: Vec<Arc<str>> = eligible().filter(|name| holds(name)).map(Arc::clone).collect();
    if holding.is_empty() { eligible().map(Arc::clone).collect() } else { holding }
}

#[cfg(test)]
mod tests;
