//! A network without root: every place is a set of loopback addresses of the host. A block `127.B.0.0/16` is reserved by a bound
//! UDP socket, so that networks of several tests and processes never share an address.

use super::{Base, Network, Node, Size};
use crate::lab::place::Place;
use anyhow::{Context as _, Result};
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

pub(super) fn build(size: Size) -> Result<Network> {
    let start = std::process::id();
    let (block, reservation) = (0..BLOCKS)
        .map(|step| u8::try_from((start + step) % BLOCKS).unwrap_or(0) + FIRST_BLOCK)
        .find_map(|block| Some((block, UdpSocket::bind((Ipv4Addr::new(127, block, 0, 1), RESERVATION_PORT)).ok()?)))
        .context("all blocks of loopback addresses are taken by other runs")?;
    let address = |third, fourth| IpAddr::from([127, block, third, fourth]);

    let mut nodes = Vec::new();
    for number in 1..=size.nodes {
        let name = format!("n{number}");
        let range = Ipv4Net::new(Ipv4Addr::new(127, block, number, 0), 24)?;
        let place = Place::new(&name, None, &[address(100 + number, 1)]);
        let pods = Place::new(&format!("{name}-pods"), None, &[address(number, 1)]);
        nodes.push(Node::new(number, place, pods, &[IpNet::V4(range)]));
    }
    Ok(Network {
        nodes,
        control: Place::new("control", None, &[address(0, 2)]),
        clients: (1..=size.clients).map(|n| Place::new(&format!("client{n}"), None, &[address(0, 100 + n)])).collect(),
        base: Base::Loopback { _reservation: reservation },
    })
}

const BLOCKS: u32 = 200;
/// 127.0.0.0/16 belongs to the host's own services.
const FIRST_BLOCK: u8 = 20;
const RESERVATION_PORT: u16 = 61_000;
