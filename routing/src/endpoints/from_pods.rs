//! Endpoints from pods: a Service and the pods of its namespace flow in, what the EndpointSlice controller of Kubernetes
//! would write flows out, without waiting for it.

use super::{Endpoint, EndpointState, PortEndpoints, RefusedEndpoint, ServiceEndpoints};
use crate::address_policy::AddressPolicy;
use crate::object::{Container, IntOrString, Pod, Service, ServicePort};
use std::net::{IpAddr, SocketAddr};

/// The endpoints of a Service, given pods of its namespace. `node_addresses` gives the addresses of a node.
///
/// Follows the EndpointSlice controller: pods that have ended or have no address are left out; an endpoint is ready if
/// the pod is ready and not being deleted, or if the Service sets `publishNotReadyAddresses`. A dual-stack pod counts
/// once, by the Service's first address family that it has. A Service without selector, or of type ExternalName, has no
/// pods.
pub fn from_pods<'p>(
    service: &Service,
    pods: impl Iterator<Item = &'p Pod>,
    node_addresses: impl Fn(&str) -> Vec<IpAddr>,
    policy: &AddressPolicy,
) -> ServiceEndpoints {
    let mut out = ServiceEndpoints { ports: tcp_ports(service), refused: Vec::new() };
    if service.spec.selector.is_empty() || service.spec.kind == "ExternalName" {
        return out;
    }
    let ports: Vec<&ServicePort> = service.spec.ports.iter().filter(|p| is_tcp(&p.protocol)).collect();
    for pod in pods.filter(|pod| is_selected(service, pod) && !pod.has_ended() && !pod.spec.node_name.is_empty()) {
        let Some(state) = state_of(service, pod) else {
            continue;
        };
        let Some(ip) = address_of(service, pod) else {
            continue;
        };
        let refusal = policy.refusal(ip, &node_addresses(&pod.spec.node_name));
        for (port, entry) in ports.iter().zip(&mut out.ports) {
            let Some(number) = pod_port(port, pod) else {
                continue;
            };
            let (address, node, pod) =
                (SocketAddr::new(ip, number), pod.spec.node_name.as_str().into(), pod.metadata.name.as_str().into());
            match refusal {
                None => entry.endpoints.push(Endpoint { address, node, pod, state }),
                Some(refusal) => out.refused.push(RefusedEndpoint { address, node, pod, refusal }),
            }
        }
    }
    out.sort();
    out
}

impl ServiceEndpoints {
    /// One order and no duplicates, so that equal clusters give equal values.
    pub(super) fn sort(&mut self) {
        for port in &mut self.ports {
            port.endpoints.sort_unstable();
            port.endpoints.dedup_by(|b, a| a.address == b.address && a.node == b.node);
        }
        self.refused.sort_unstable();
        self.refused.dedup();
    }
}

/// An entry for each TCP port of a Service, without endpoints.
pub(super) fn tcp_ports(service: &Service) -> Vec<PortEndpoints> {
    let tcp = service.spec.ports.iter().filter(|port| is_tcp(&port.protocol));
    tcp.map(|port| PortEndpoints {
        name: port.name.as_str().into(),
        number: Some(port.port),
        app_protocol: port.app_protocol.as_deref().map(Into::into),
        endpoints: Vec::new(),
    })
    .collect()
}

pub(super) fn is_tcp(protocol: &str) -> bool {
    matches!(protocol, "" | "TCP")
}

fn is_selected(service: &Service, pod: &Pod) -> bool {
    pod.metadata.namespace == service.metadata.namespace
        && service.spec.selector.iter().all(|(key, value)| pod.metadata.labels.get(key) == Some(value))
}

fn state_of(service: &Service, pod: &Pod) -> Option<EndpointState> {
    if service.spec.publish_not_ready_addresses || (pod.is_ready() && !pod.is_terminating()) {
        Some(EndpointState::Ready)
    } else if pod.is_ready() {
        Some(EndpointState::ServingTerminating)
    } else {
        None
    }
}

fn address_of(service: &Service, pod: &Pod) -> Option<IpAddr> {
    let addresses = pod.addresses();
    let mut families = service.spec.ip_families.iter();
    if service.spec.ip_families.is_empty() {
        return addresses.first().copied();
    }
    families.find_map(|family| addresses.iter().copied().find(|a| a.is_ipv6() == (family == "IPv6")))
}

fn pod_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => named_port(pod, name),
    }
}

/// Named ports are those of the containers and of the sidecars (init containers that restart always).
fn named_port(pod: &Pod, name: &str) -> Option<u16> {
    let is_sidecar = |container: &&Container| container.restart_policy == "Always";
    let containers = pod.spec.containers.iter().chain(pod.spec.init_containers.iter().filter(is_sidecar));
    containers
        .flat_map(|container| &container.ports)
        .find(|port| port.name == name && is_tcp(&port.protocol))
        .map(|port| port.container_port)
}
