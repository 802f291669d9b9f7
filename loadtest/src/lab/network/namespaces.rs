//! A network of namespaces: makes them, wires them with veth pairs to one bridge, numbers them, routes the pod ranges and loads
//! the counters. Nothing is added to the host's own namespace. Called by `Network::namespaces`.

use super::{Base, Network, Node, Size};
use crate::lab::counters;
use crate::lab::namespace::{self, Namespace};
use crate::lab::place::Place;
use anyhow::Result;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) fn build(size: Size) -> Result<Network> {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let clients: Vec<String> = (1..=size.clients).map(|n| format!("client{n}")).collect();
    let nodes: Vec<String> = (1..=size.nodes).map(|n| format!("n{n}")).collect();
    let parts = ["switch".to_owned(), "control".to_owned()]
        .into_iter()
        .chain(clients.iter().cloned())
        .chain(nodes.iter().flat_map(|node| [node.clone(), format!("{node}-pods")]));
    let names: Vec<String> = parts.map(|part| namespace::name(serial, &part)).collect();

    // Owns the names from here on, so that any failure below removes them.
    let mut network = Network {
        nodes: Vec::new(),
        control: Place::host(),
        clients: Vec::new(),
        base: Base::Namespaces(names.clone()),
    };
    namespace::add(names.iter().map(String::as_str))?;
    let enter = |part: &str| -> Result<Arc<Namespace>> {
        let namespace = Namespace::enter(&namespace::name(serial, part))?;
        // Before any interface exists: addresses are usable at once, not after a second of duplicate detection.
        namespace.sysctl("ipv6/conf/default/accept_dad", "0")?;
        namespace.sysctl("ipv6/conf/all/accept_dad", "0")?;
        namespace.ip("link set lo up\n")?;
        Ok(Arc::new(namespace))
    };

    let switch = enter("switch")?;
    switch.ip("link add name bridge type bridge mcast_snooping 0\nlink set bridge up\n")?;
    let plug = |part: &str, number: [u8; 2]| -> Result<(Arc<Namespace>, [IpAddr; 2])> {
        let namespace = enter(part)?;
        let addresses = lan(number);
        namespace::ip(&format!(
            "link add name eth0 netns {} type veth peer name {part} netns {}\n",
            namespace.name(),
            switch.name()
        ))?;
        switch.ip(&format!("link set {part} master bridge\nlink set {part} up\n"))?;
        namespace.ip(&format!(
            "addr add {}/16 dev eth0\naddr add {}/64 dev eth0 nodad\nlink set eth0 up\n",
            addresses[0], addresses[1]
        ))?;
        Ok((namespace, addresses))
    };

    let (control, addresses) = plug("control", [0, 2])?;
    network.control = Place::new("control", Some(control), &addresses);
    for (number, name) in (1..).zip(&clients) {
        let (namespace, addresses) = plug(name, [0, 100 + number])?;
        network.clients.push(Place::new(name, Some(namespace), &addresses));
    }
    for (number, name) in (1..).zip(&nodes) {
        let (namespace, addresses) = plug(name, [1, number])?;
        let pods = enter(&format!("{name}-pods"))?;
        let ranges = pod_ranges(number);
        namespace.sysctl("ipv4/ip_forward", "1")?;
        namespace.sysctl("ipv6/conf/all/forwarding", "1")?;
        namespace::ip(&format!(
            "link add name pods netns {} type veth peer name eth0 netns {}\n",
            namespace.name(),
            pods.name()
        ))?;
        let [v4, v6] = ranges.map(|range| super::nth(range, GATEWAY));
        namespace.ip(&format!("addr add {v4}/24 dev pods\naddr add {v6}/64 dev pods nodad\nlink set pods up\n"))?;
        let [own4, own6] = ranges.map(|range| super::nth(range, GATEWAY + 1));
        pods.ip(&format!(
            "addr add {own4}/24 dev eth0\naddr add {own6}/64 dev eth0 nodad\nlink set eth0 up\nroute add default via {v4}\nroute add ::/0 via {v6}\n"
        ))?;
        let place = Place::new(name, Some(namespace), &addresses);
        network.nodes.push(Node::new(
            number,
            place,
            Place::new(&format!("{name}-pods"), Some(pods), &[own4, own6]),
            &ranges,
        ));
    }

    let everyone = network.clients.iter().chain([&network.control]).chain(network.nodes.iter().map(Node::place));
    for place in everyone {
        if let Some(namespace) = place.namespace() {
            namespace.ip(&routes(&network.nodes, place))?;
        }
    }
    for node in &network.nodes {
        if let Some(namespace) = node.place().namespace() {
            counters::install(namespace, node, &network.nodes)?;
        }
    }
    Ok(network)
}

/// Puts back what the kernel dropped when the node's link went down.
pub(super) fn restore_node(node: &Node, namespace: &Namespace) -> Result<()> {
    let [_, v6] = lan([1, node.number()]);
    namespace.ip(&format!("addr replace {v6}/64 dev eth0 nodad\n"))?;
    let others: Vec<u8> = (1..=99).filter(|number| *number != node.number()).collect();
    let routes: String = others.iter().map(|number| route(*number)).collect();
    namespace.ip(&routes)
}

/// The routes that `place` needs to reach the pods of all nodes but itself.
fn routes(nodes: &[Node], place: &Place) -> String {
    nodes.iter().filter(|node| node.place().name() != place.name()).map(|node| route(node.number())).collect()
}

fn route(node: u8) -> String {
    let [pods4, pods6] = pod_ranges(node);
    let [node4, node6] = lan([1, node]);
    format!("route replace {pods4} via {node4} dev eth0\nroute replace {pods6} via {node6} dev eth0\n")
}

/// The addresses on the switch: 198.18.a.b and fd00:6e73::a:b.
pub(super) fn lan([a, b]: [u8; 2]) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0xfd00, 0x6e73, 0, 0, 0, 0, a.into(), b.into());
    [IpAddr::V4(Ipv4Addr::new(198, 18, a, b)), IpAddr::V6(v6)]
}

/// 198.19.N.0/24 and fd00:6e73:1:N::/64.
pub(super) fn pod_ranges(node: u8) -> [IpNet; 2] {
    let v6 = Ipv6Addr::new(0xfd00, 0x6e73, 1, node.into(), 0, 0, 0, 0);
    [IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(198, 19, node, 0), 24)), IpNet::V6(Ipv6Net::new_assert(v6, 64))]
}

/// Tells the networks of one process apart.
pub(super) static SERIAL: AtomicU32 = AtomicU32::new(0);
const GATEWAY: u8 = 1;
