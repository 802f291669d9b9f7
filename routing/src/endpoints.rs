//! The endpoints of Services: which addresses answer for a Service port and on which node, from the pods of one node or
//! from EndpointSlices. Both builders give the same answer for the same cluster.

mod from_pods;
mod from_slices;

pub use from_pods::from_pods;
pub use from_slices::from_slices;

use crate::address_policy::Refusal;
use crate::shared_map::SharedMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// The endpoints of every known Service.
pub type EndpointTable = SharedMap<ServiceKey, ServiceEndpoints>;

/// Namespace and name of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The Service's namespace.
    pub namespace: Box<str>,
    /// The Service's name.
    pub name: Box<str>,
}

impl ServiceKey {
    /// A key from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which port of a Service a rule means.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortSelector {
    /// Every TCP port (a Route without `spec.port`).
    All,
    /// The Service port of this number (`backend.service.port.number` of an Ingress).
    ServicePort(u16),
    /// The Service port of this name (`backend.service.port.name` of an Ingress).
    ServicePortName(Box<str>),
    /// The pod's port of this number, or the Service port of this name (`spec.port.targetPort` of a Route).
    TargetPort(Box<str>),
}

/// The endpoints of one Service, port by port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceEndpoints {
    /// One entry for each TCP port, in the order of the Service.
    pub ports: Vec<PortEndpoints>,
    /// Addresses that are not dialled, with the reason.
    pub refused: Vec<RefusedEndpoint>,
}

/// The endpoints of one Service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortEndpoints {
    /// The Service port's name, empty where it has none.
    pub name: Box<str>,
    /// The Service port's number; `None` for slices whose Service has no such port.
    pub number: Option<u16>,
    /// `appProtocol`, such as `kubernetes.io/h2c`.
    pub app_protocol: Option<Box<str>>,
    /// Sorted by address.
    pub endpoints: Vec<Endpoint>,
}

/// One address that answers for a Service port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// The node that holds it; empty where a slice names none, and then it is on no node.
    pub node: Arc<str>,
    /// The pod's name; empty for endpoints that are not pods.
    pub pod: Arc<str>,
    /// Whether new requests go there.
    pub state: EndpointState,
}

/// Whether an endpoint takes new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointState {
    /// It does.
    Ready,
    /// It is being deleted but still answers: it is used only where nothing is ready (KEP-1669).
    ServingTerminating,
}

/// An endpoint that is not dialled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefusedEndpoint {
    /// The address.
    pub address: SocketAddr,
    /// The node that holds it.
    pub node: Arc<str>,
    /// The pod's name; empty for endpoints that are not pods.
    pub pod: Arc<str>,
    /// Why.
    pub refusal: Refusal,
}

impl ServiceEndpoints {
    /// The endpoints of the ports that a rule means.
    pub fn select<'e>(&'e self, port: &'e PortSelector) -> impl Iterator<Item = (&'e PortEndpoints, &'e Endpoint)> {
        self.ports.iter().flat_map(move |entry| {
            entry.endpoints.iter().filter(move |endpoint| entry.is_meant(port, endpoint)).map(move |e| (entry, e))
        })
    }

    /// The endpoints on one node that take requests now: the ready ones, else those that end but still answer.
    pub fn serving<'e>(&'e self, port: &'e PortSelector, node: &'e str) -> Vec<&'e Endpoint> {
        let local = || self.select(port).map(|(_, endpoint)| endpoint).filter(move |e| &*e.node == node);
        let ready: Vec<_> = local().filter(|e| e.state == EndpointState::Ready).collect();
        if ready.is_empty() { local().collect() } else { ready }
    }
}

impl PortEndpoints {
    /// Whether a rule with this port means this endpoint of the entry.
    pub fn is_meant(&self, port: &PortSelector, endpoint: &Endpoint) -> bool {
        match port {
            PortSelector::All => true,
            PortSelector::ServicePort(number) => self.number == Some(*number),
            PortSelector::ServicePortName(name) => self.name == *name,
            PortSelector::TargetPort(target) => {
                (!self.name.is_empty() && self.name == *target) || target.parse() == Ok(endpoint.address.port())
            }
        }
    }
}

#[cfg(test)]
mod tests;
