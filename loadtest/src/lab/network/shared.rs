//! A network in one namespace: every place has its own addresses, and all of them are at the loopback interface of that namespace.
//! The addresses are those of a network of namespaces, of one family alone; the whole block is local, so that none needs setting up.

use super::namespaces::{SERIAL, lan, pod_ranges};
use super::{Base, Network, Node, Size};
use crate::lab::namespace::{self, Namespace};
use crate::lab::place::Place;
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The one family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    /// Without any address of the other one, not even 127.0.0.1.
    V6,
}

pub(super) fn build(size: Size, family: Family) -> Result<Network> {
    let name = namespace::name(SERIAL.fetch_add(1, Ordering::Relaxed), "lab");
    // Owns the name from here on, so that any failure below removes it.
    let mut network =
        Network { nodes: Vec::new(), control: Place::host(), clients: Vec::new(), base: Base::Shared(name.clone()) };
    namespace::add([name.as_str()])?;
    let namespace = Arc::new(Namespace::enter(&name)?);
    match family {
        Family::V4 => namespace.ip("link set lo up\nroute add local 198.18.0.0/15 dev lo\n")?,
        Family::V6 => {
            // That a block is local is enough to be reached at its addresses, but not to bind them, nor to have one to connect from.
            namespace.sysctl("ipv6/ip_nonlocal_bind", "1")?;
            namespace.ip(
                "link set lo up\naddr del 127.0.0.1/8 dev lo\naddr add fd00:6e73::1/128 dev lo nodad\nroute add local fd00:6e73::/32 dev lo\n",
            )?;
        }
    }
    let of_family = usize::from(family == Family::V6);
    let place = |name: &str, number: [u8; 2]| Place::within(name, &namespace, &lan(number)[of_family..=of_family]);
    network.control = place("control", [0, 2]);
    network.clients = (1..=size.clients).map(|n| place(&format!("client{n}"), [0, 100 + n])).collect();
    for number in 1..=size.nodes {
        let name = format!("n{number}");
        let range = pod_ranges(number)[of_family];
        let pods = Place::within(&format!("{name}-pods"), &namespace, &[super::nth(range, 1)]);
        network.nodes.push(Node::new(number, place(&name, [1, number]), pods, &[range]));
    }
    Ok(network)
}
