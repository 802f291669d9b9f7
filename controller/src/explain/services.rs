//! Who serves a rule, and where: the rule that answers and the snapshot flow in; its Services with their endpoints, the
//! placement of the host and what DNS says of it flow out.

use super::explanation::{Dns, Endpoint, Placement, Service};
use crate::handover::answers_for;
use nearside_routing::address_policy::Refusal;
use nearside_routing::endpoints::{EndpointState, PortSelector, RefusedEndpoint, ServiceEndpoints};
use nearside_routing::object::{DnsEndpoint, DnsEndpointSpec, ObjectMeta};
use nearside_routing::placement::{HostPlacement, RecordPolicy, addresses, dns_endpoint_name, records_of};
use nearside_routing::published::{
    BASIS_ANNOTATION, DnsRecords, MANAGED_LABEL, MANAGED_VALUE, PublishedAlias, published as published_by,
};
use nearside_routing::table::{CompiledRoute, WeightedBackend};
use nearside_routing::{HostPattern, Hostname, Instance, Kind, Object, ObjectKey, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The Services of a rule, those of its canary last.
pub(super) fn services(
    snapshot: &Snapshot,
    objects: &BTreeMap<ObjectKey, Object>,
    route: &CompiledRoute,
) -> Vec<Service> {
    let of = |route: &CompiledRoute, canary: bool| -> Vec<Service> {
        route.backends.iter().map(|backend| service(snapshot, objects, backend, canary)).collect()
    };
    let beside = route.canary.as_ref().map(|canary| of(&canary.route, true)).unwrap_or_default();
    of(route, false).into_iter().chain(beside).collect()
}

fn service(
    snapshot: &Snapshot,
    objects: &BTreeMap<ObjectKey, Object>,
    backend: &WeightedBackend,
    canary: bool,
) -> Service {
    let none = ServiceEndpoints::default();
    let known = snapshot.endpoints.get(&backend.service).map_or(&none, AsRef::as_ref);
    let endpoints: BTreeSet<Endpoint> = known
        .select(&backend.port)
        .map(|(_, endpoint)| Endpoint {
            node: endpoint.node.to_string(),
            pod: endpoint.pod.to_string(),
            address: endpoint.address.to_string(),
            state: match endpoint.state {
                EndpointState::Ready => "ready",
                EndpointState::ServingTerminating => "ending",
            },
        })
        .collect();
    let key = ObjectKey::new(Kind::Service, &backend.service.namespace, &backend.service.name);
    Service {
        service: backend.service.to_string(),
        port: port(&backend.port),
        weight: backend.weight,
        canary,
        exists: objects.contains_key(&key),
        endpoints: endpoints.into_iter().collect(),
        refused: known.refused.iter().map(refused).collect(),
    }
}

fn refused(endpoint: &RefusedEndpoint) -> String {
    let RefusedEndpoint { address, node, pod, refusal } = endpoint;
    let why: &Refusal = refusal;
    format!("{address} ({pod} on {node}): {why}")
}

fn port(port: &PortSelector) -> String {
    match port {
        PortSelector::All => "every port".into(),
        PortSelector::ServicePort(number) => format!("port {number}"),
        PortSelector::ServicePortName(name) => format!("port {name}"),
        PortSelector::TargetPort(target) => format!("target port {target}"),
    }
}

/// Where a host is placed, as it is told.
pub(super) fn placement(host: &HostPlacement) -> Placement {
    Placement { basis: host.basis.as_str(), nodes: host.nodes.iter().map(ToString::to_string).collect() }
}

/// What DNS says of a host, and what it should.
pub(super) struct Names<'n> {
    pub(super) pattern: &'n HostPattern,
    /// The host that was asked for.
    pub(super) host: &'n str,
    /// Where the DNSEndpoints are.
    pub(super) namespace: &'n str,
    pub(super) instance: Instance,
    pub(super) policy: &'n RecordPolicy,
    /// `None` for a host that is not placed.
    pub(super) placement: Option<&'n HostPlacement>,
    pub(super) held: Option<&'static str>,
}

impl Names<'_> {
    /// The object of the host, where it is among the objects.
    fn object<'o>(&self, objects: &'o BTreeMap<ObjectKey, Object>) -> Option<&'o DnsEndpoint> {
        match objects.get(&self.key()) {
            Some(Object::DnsEndpoint(endpoint)) => Some(endpoint),
            _ => None,
        }
    }

    fn key(&self) -> ObjectKey {
        ObjectKey::new(Kind::DnsEndpoint, self.namespace, &self.instance.name(&dns_endpoint_name(self.pattern)))
    }

    fn wanted(&self, snapshot: &Snapshot) -> Option<DnsEndpointSpec> {
        records_of(self.pattern, self.placement?, &snapshot.nodes, &snapshot.routes, self.policy)
    }

    /// In words.
    pub(super) fn told(&self, snapshot: &Snapshot, objects: &BTreeMap<ObjectKey, Object>) -> Dns {
        let object = self.object(objects);
        let present = object.map(|object| lines(&object.spec)).unwrap_or_default();
        let wanted = self.wanted(snapshot).map(|spec| lines(&spec)).unwrap_or_default();
        Dns {
            object: self.key().to_string(),
            exists: object.is_some(),
            generation: object.and_then(|object| object.metadata.annotation(GENERATION)).map(ToOwned::to_owned),
            trouble: object.and_then(trouble),
            observed: object.map(|object| object.status.observed_generation >= object.metadata.generation.max(1)),
            wanted: if present == wanted { Vec::new() } else { wanted },
            records: present,
            held: self.held,
            resolved: None,
        }
    }

    /// Why the records name a node on which the host is not placed; `None` where it is, or they do not.
    pub(super) fn kept(
        &self,
        node: &str,
        snapshot: &Snapshot,
        objects: &BTreeMap<ObjectKey, Object>,
    ) -> Option<&'static str> {
        let (state, object) = (snapshot.nodes.get(node)?, self.object(objects)?);
        let is_placed = self.placement.is_some_and(|host| host.nodes.iter().any(|placed| **placed == *node));
        let (name, own) = (self.pattern.to_string(), addresses(state, &self.policy.address_types));
        let of_host = object.spec.endpoints.iter().filter(|set| set.dns_name == name);
        let mut targets = of_host.flat_map(|set| &set.targets).filter_map(|target| target.parse::<IpAddr>().ok());
        if is_placed || !targets.any(|target| own.contains(&target)) {
            return None;
        }
        Some(match () {
            () if state.is_suspect() => NOT_READY,
            () if answers_for(self.pattern, node, snapshot) => UNTIL_SEEN,
            () => NOT_WRITTEN,
        })
    }

    /// The nodes to which clients of the host can be sent: those that DNS names, else those that it will name.
    pub(super) fn aliases(&self, snapshot: &Snapshot, objects: &BTreeMap<ObjectKey, Object>) -> Vec<PublishedAlias> {
        let Ok(host) = Hostname::parse(self.host) else { return Vec::new() };
        if self.object(objects).is_some() {
            return snapshot.aliases(host.as_str());
        }
        let (Some(spec), Some(placement)) = (self.wanted(snapshot), self.placement) else { return Vec::new() };
        let metadata = ObjectMeta {
            labels: [(MANAGED_LABEL.to_owned(), MANAGED_VALUE.to_owned())].into(),
            annotations: [(BASIS_ANNOTATION.to_owned(), placement.basis.as_str().to_owned())].into(),
            ..ObjectMeta::default()
        };
        let all = published_by(&DnsEndpoint { metadata, spec, ..DnsEndpoint::default() });
        let own = all.into_iter().filter(|(pattern, _)| pattern.covers(host.as_str()));
        own.filter_map(|(_, node)| node.alias(&host)).collect()
    }
}

fn trouble(object: &DnsEndpoint) -> Option<String> {
    let records = DnsRecords::of(object);
    let condition = records.trouble()?;
    Some(format!("{}: {}: {}", condition.kind, condition.reason, condition.message))
}

fn lines(spec: &DnsEndpointSpec) -> Vec<String> {
    let sets = spec.endpoints.iter();
    sets.map(|set| format!("{} {} {}", set.dns_name, set.record_type, set.targets.join(" "))).collect()
}

/// Of a node that liveness keeps, as long as a probe says so; a question probes nobody.
const NOT_READY: &str =
    "the node is not Ready; while its router answers probes it stays: 60 s, or without limit where many do";
/// Of a node in a handover.
const UNTIL_SEEN: &str = "it is to go, and answers; it stays until those that take its place are seen in DNS";
const NOT_WRITTEN: &str = "it is to go; the controller has not written it yet, or keeps the last records";
const GENERATION: &str = "nearside.dev/gen";
