//! The shape of the generated cluster: the sizes that were asked for come in, where each pod, Service and Route belongs comes
//! out. Only arithmetic, so that a million pods are described without being kept.

use super::Options;
use std::net::Ipv4Addr;

/// Sizes and the rules of who belongs to whom. Numbers begin at 0; the proxy runs on node 0.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) nodes: u32,
    pub(super) pods: u32,
    pub(super) services: u32,
    pub(super) routes: u32,
    /// How many times as many pods the first node has as another one.
    pub(super) own_share: u32,
    pub(super) namespaces: u32,
}

/// How a Route or an Ingress is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    Edge,
    Path,
    Ingress,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let Options { nodes, pods, services, routes, .. } = *options;
        Self { nodes, pods, services, routes, own_share: 1, namespaces: (services / 50).max(1) }
    }

    /// The Service of a pod: pods in a row are of one Service, so that each has pods on several nodes.
    pub(super) fn service_of_pod(&self, pod: u32) -> u32 {
        let each = self.pods.div_ceil(self.services).max(1);
        (pod / each).min(self.services - 1)
    }

    pub(super) fn pods_of_service(&self, service: u32) -> impl Iterator<Item = u32> {
        let each = self.pods.div_ceil(self.services).max(1);
        let first = service * each;
        let last = if service + 1 == self.services { self.pods } else { (first + each).min(self.pods) };
        first..last.max(first)
    }

    pub(super) fn node_of_pod(&self, pod: u32) -> u32 {
        // The first places of the second node are the first node's where that has a larger share.
        match pod % self.nodes {
            place if place < self.own_share => 0,
            place => place,
        }
    }

    /// The pods of the node that the proxy runs on.
    pub(super) fn own_pods(&self) -> impl Iterator<Item = u32> {
        (0..self.pods).filter(|pod| self.node_of_pod(*pod) == 0)
    }

    pub(super) fn service_of_route(&self, route: u32) -> u32 {
        route % self.services
    }

    /// The first Route of a Service, if it has one.
    pub(super) fn route_of_service(&self, service: u32) -> Option<u32> {
        (service < self.routes).then_some(service)
    }

    pub(super) fn shape(&self, route: u32) -> Shape {
        match (route / self.services + route) % 20 {
            0..=10 => Shape::Plain,
            11..=14 => Shape::Edge,
            15 | 16 => Shape::Path,
            _ => Shape::Ingress,
        }
    }

    pub(super) fn namespace_of_service(&self, service: u32) -> String {
        format!("team-{:03}", service % self.namespaces)
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = String> {
        (0..self.namespaces).map(|number| format!("team-{number:03}"))
    }

    pub(super) fn host(&self, route: u32) -> String {
        format!("app-{route}.{}.apps.example.com", self.namespace_of_service(self.service_of_route(route)))
    }

    /// Pods answer on loopback addresses, each its own, so that one listener plays them all.
    pub(super) fn pod_address(pod: u32) -> Ipv4Addr {
        let [_, a, b, c] = (pod + 2).to_be_bytes();
        Ipv4Addr::new(127, a, b, c)
    }

    pub(super) fn node_address(node: u32) -> Ipv4Addr {
        let [_, _, a, b] = (node + 1).to_be_bytes();
        Ipv4Addr::new(198, 18 | (a >> 7), a & 0x7f, b)
    }

    pub(super) fn node_name(node: u32) -> String {
        format!("worker-{node:04}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_is_of_the_service_that_names_it_and_the_first_node_has_its_share() {
        let mut world = World { nodes: 10, pods: 205, services: 20, routes: 40, own_share: 1, namespaces: 2 };
        let named: Vec<u32> = (0..world.services).flat_map(|service| world.pods_of_service(service)).collect();
        assert_eq!(named, (0..205).collect::<Vec<_>>());
        for service in 0..world.services {
            assert!(world.pods_of_service(service).all(|pod| world.service_of_pod(pod) == service));
        }
        assert_eq!(world.own_pods().count(), 21);
        world.own_share = 2;
        assert_eq!(world.own_pods().count(), 42);
    }
}
