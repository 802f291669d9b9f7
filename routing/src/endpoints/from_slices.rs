//! Endpoints from EndpointSlices: the slices of one Service flow in, one merged list of endpoints flows out.

use super::from_pods::{is_tcp, tcp_ports};
use super::{Endpoint, EndpointState, PortEndpoints, RefusedEndpoint, ServiceEndpoints};
use crate::address_policy::AddressPolicy;
use crate::object::{EndpointPort, EndpointSlice, Service, SliceEndpoint};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Adds the endpoints of slices to those of a Service. `service` gives the port numbers for the slices' port names and
/// the preferred address family; a slice may outlive or precede it. A pod that stands in a slice of each family counts
/// once. Slices of host names (`addressType: FQDN`) are ignored.
pub fn from_slices<'s>(
    service: Option<&Service>,
    slices: impl Iterator<Item = &'s EndpointSlice>,
    node_addresses: impl Fn(&str) -> Vec<IpAddr>,
    policy: &AddressPolicy,
) -> ServiceEndpoints {
    let mut out = ServiceEndpoints { ports: service.map(tcp_ports).unwrap_or_default(), refused: Vec::new() };
    let mut slices: Vec<&EndpointSlice> = slices.filter(|slice| slice.address_type != "FQDN").collect();
    slices.sort_by_key(|slice| (family_rank(service, slice), slice.metadata.name.as_str()));
    let mut seen: BTreeSet<(usize, Arc<str>, u16)> = BTreeSet::new();
    let mut places: HashMap<Box<str>, usize> = HashMap::new();
    for (place, port) in out.ports.iter().enumerate() {
        places.entry(port.name.clone()).or_insert(place);
    }
    for slice in slices {
        for port in slice.ports.iter().filter(|port| is_tcp(&port.protocol)) {
            let Some(number) = port.port else { continue };
            let entry = *places.entry(port.name.as_str().into()).or_insert_with(|| out.add(port));
            for endpoint in &slice.endpoints {
                let (Some(state), Some(ip)) = (state_of(endpoint), address_of(endpoint)) else {
                    continue;
                };
                let node: Arc<str> = endpoint.node_name.as_deref().unwrap_or_default().into();
                let pod: Arc<str> = pod_name(endpoint).into();
                if !pod.is_empty() && !seen.insert((entry, Arc::clone(&pod), number)) {
                    continue;
                }
                let address = SocketAddr::new(ip, number);
                match policy.refusal(ip, &node_addresses(&node)) {
                    None => out.ports[entry].endpoints.push(Endpoint { address, node, pod, state }),
                    Some(refusal) => out.refused.push(RefusedEndpoint { address, node, pod, refusal }),
                }
            }
        }
    }
    out.sort();
    out
}

impl ServiceEndpoints {
    /// Adds what a second source knows of the same Service.
    pub fn merge(&mut self, other: Self) {
        let places: HashMap<(Box<str>, Option<u16>), usize> =
            self.ports.iter().enumerate().map(|(place, port)| ((port.name.clone(), port.number), place)).collect();
        for port in other.ports {
            match places.get(&(port.name.clone(), port.number)) {
                Some(place) => self.ports[*place].endpoints.extend(port.endpoints),
                None => self.ports.push(port),
            }
        }
        self.refused.extend(other.refused);
        self.sort();
    }

    /// Adds a port that the Service lacks, and gives its place.
    fn add(&mut self, port: &EndpointPort) -> usize {
        self.ports.push(PortEndpoints {
            name: port.name.as_str().into(),
            number: None,
            app_protocol: port.app_protocol.as_deref().map(Into::into),
            endpoints: Vec::new(),
        });
        self.ports.len() - 1
    }
}

fn family_rank(service: Option<&Service>, slice: &EndpointSlice) -> usize {
    let families = service.map(|s| s.spec.ip_families.as_slice()).unwrap_or_default();
    families
        .iter()
        .position(|family| *family == slice.address_type)
        .unwrap_or_else(|| usize::from(slice.address_type == "IPv6"))
}

/// An absent `ready` means ready; an absent `serving` means the same as `ready` (EndpointConditions).
fn state_of(endpoint: &SliceEndpoint) -> Option<EndpointState> {
    let ready = endpoint.conditions.ready.unwrap_or(true);
    let serving = endpoint.conditions.serving.unwrap_or(ready);
    let terminating = endpoint.conditions.terminating.unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => Some(EndpointState::Ready),
        (false, true) => Some(EndpointState::ServingTerminating),
        (false, false) => None,
    }
}

/// Consumers must take only the first address (EndpointSlice API).
fn address_of(endpoint: &SliceEndpoint) -> Option<IpAddr> {
    endpoint.addresses.first()?.parse().ok()
}

fn pod_name(endpoint: &SliceEndpoint) -> &str {
    match &endpoint.target_ref {
        Some(target) if target.kind == "Pod" => &target.name,
        _ => "",
    }
}
