//! Byte counters on the links between nodes: nftables counters in each node's namespace for every other node's own and pod
//! addresses, both directions, all protocols, read back as JSON. Called by `lab::network`.
//!
//! Counted are IP packets where they leave or enter the node's `eth0`, forwarded ones included. Neighbour discovery and multicast
//! membership (RFC 4861, RFC 3810) are left out, as ARP is: they carry nobody's data.

use super::namespace::Namespace;
use super::network::Node;
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::process::Command;

/// What one node counted on its link in one direction for one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Crossing {
    /// The node that counted.
    pub node: String,
    /// To whom, or from whom.
    pub peer: Peer,
    /// Whether the packets left the node or came in.
    pub direction: Direction,
    /// IP bytes, headers included.
    pub bytes: u64,
    /// Packets; one that the kernel segments later counts once.
    pub packets: u64,
}

/// The other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// Another node or its pods, by the node's name.
    Node(String),
    /// Clients and the control plane: everything that is no node.
    Outside,
}

/// As seen from the node that counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Left the node.
    Sent,
    /// Came in.
    Received,
}

/// Bytes that left some node for another node or its pods.
#[must_use]
pub fn between_nodes(crossings: &[Crossing]) -> u64 {
    sum(crossings, |peer| matches!(peer, Peer::Node(_)))
}

/// Bytes that left the nodes for clients and the control plane.
#[must_use]
pub fn to_outside(crossings: &[Crossing]) -> u64 {
    sum(crossings, |peer| *peer == Peer::Outside)
}

/// Loads the counters of `node` into its namespace.
pub(super) fn install(namespace: &Namespace, node: &Node, nodes: &[Node]) -> Result<()> {
    let mut names = String::new();
    let (mut sent, mut received) = (String::new(), String::new());
    for other in nodes.iter().filter(|other| other.name() != node.name()) {
        let name = other.name();
        writeln!(names, "counter {SENT}{name} {{ }}\ncounter {RECEIVED}{name} {{ }}")?;
        for (family, v4) in [("ip", true), ("ip6", false)] {
            let own =
                other.place().addresses().iter().filter(|address| address.is_ipv4() == v4).map(ToString::to_string);
            let pods = other.pod_ranges().iter().filter(|range| range.addr().is_ipv4() == v4).map(ToString::to_string);
            let set = own.chain(pods).collect::<Vec<_>>().join(", ");
            writeln!(sent, "{family} daddr {{ {set} }} counter name {SENT}{name} return")?;
            writeln!(received, "{family} saddr {{ {set} }} counter name {RECEIVED}{name} return")?;
        }
    }
    let neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, \
         mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } return";
    namespace.nft(&format!(
        "table inet {TABLE} {{
counter {SENT}{OUTSIDE} {{ }}
counter {RECEIVED}{OUTSIDE} {{ }}
{names}
chain sent {{
type filter hook postrouting priority 300; policy accept;
oifname != \"eth0\" return
{neighbours}
{sent}
counter name {SENT}{OUTSIDE}
}}
chain received {{
type filter hook prerouting priority -300; policy accept;
iifname != \"eth0\" return
{neighbours}
{received}
counter name {RECEIVED}{OUTSIDE}
}}
}}
"
    ))
}

/// Reads the counters of the node `name`.
pub(super) fn read(namespace: &Namespace, name: &str) -> Result<Vec<Crossing>> {
    let output = namespace
        .run(|| Command::new("nft").args(["-j", "list", "counters", "table", "inet", TABLE]).output())
        .context("cannot start `nft`")?;
    ensure!(output.status.success(), "node {name}: nft: {}", String::from_utf8_lossy(&output.stderr).trim());
    let listing: Listing =
        serde_json::from_slice(&output.stdout).with_context(|| format!("node {name}: the JSON of nft"))?;
    Ok(listing
        .nftables
        .into_iter()
        .filter_map(|item| item.counter)
        .filter_map(|counter| crossing(name, counter))
        .collect())
}

fn crossing(node: &str, counter: Counter) -> Option<Crossing> {
    let (direction, peer) = match (counter.name.strip_prefix(SENT), counter.name.strip_prefix(RECEIVED)) {
        (Some(peer), _) => (Direction::Sent, peer),
        (_, Some(peer)) => (Direction::Received, peer),
        _ => return None,
    };
    let peer = if peer == OUTSIDE { Peer::Outside } else { Peer::Node(peer.to_owned()) };
    Some(Crossing { node: node.to_owned(), peer, direction, bytes: counter.bytes, packets: counter.packets })
}

fn sum(crossings: &[Crossing], peer: impl Fn(&Peer) -> bool) -> u64 {
    // Only what was sent: the same packet is counted again where it arrives.
    crossings.iter().filter(|c| c.direction == Direction::Sent && peer(&c.peer)).map(|c| c.bytes).sum()
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    counter: Option<Counter>,
}

#[derive(Deserialize)]
struct Counter {
    name: String,
    bytes: u64,
    packets: u64,
}

const TABLE: &str = "nearside_lab";
const SENT: &str = "to_";
const RECEIVED: &str = "from_";
const OUTSIDE: &str = "outside";
