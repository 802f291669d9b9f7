//! The lab's network: a switch, nodes on it, a pod range routed behind each node, one place for the control plane, and clients.
//! As root these are network namespaces; otherwise, or with `NEARSIDE_LAB_NETWORK=loopback`, loopback addresses of the host.
//! `Network::open` builds it; dropping the value removes it.
//!
//! ```text
//!              switch (198.18.0.0/16, fd00:6e73::/64)
//!      ┌──────────┬──┴───────┬───────────┐
//!   control    client1       n1          n2 …         198.18.1.N
//!                             │           │
//!                          n1-pods     n2-pods …      198.19.N.0/24, fd00:6e73:1:N::/64
//! ```

mod loopback;
mod namespaces;
mod shared;

use super::counters::{self, Crossing};
use super::namespace::{self, Namespace};
use super::place::Place;
use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use shared::Family;
use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

/// How many places of each kind to make.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes, named `n1`, `n2`, …; 1 to 99.
    pub nodes: u8,
    /// Clients, named `client1`, …; 1 to 99.
    pub clients: u8,
}

/// The whole network.
#[derive(Debug)]
pub struct Network {
    nodes: Vec<Node>,
    control: Place,
    clients: Vec<Place>,
    // Last, so that the places' threads end before the namespaces go.
    base: Base,
}

/// A node: its own place, and the place of its pods behind it.
#[derive(Clone, Debug)]
pub struct Node {
    name: Arc<str>,
    number: u8,
    place: Place,
    pods: Place,
    ranges: Arc<[IpNet]>,
    taken: Arc<Mutex<BTreeSet<u8>>>,
}

/// The addresses of one pod, IPv4 before IPv6; they go back to the node when the value is dropped.
#[derive(Debug)]
pub struct PodAddresses {
    addresses: Vec<IpAddr>,
    number: u8,
    node: Node,
}

/// What the network is made of, and what undoes it.
#[derive(Debug)]
enum Base {
    Namespaces(Vec<String>),
    /// One namespace for all places.
    Shared(String),
    Loopback {
        /// Bound for as long as the block of addresses is this network's.
        _reservation: UdpSocket,
    },
}

impl Network {
    /// Builds a network: of namespaces when root, else of loopback addresses.
    ///
    /// # Errors
    /// When `ip` or `nft` is missing or refuses; then what was built is removed again.
    pub fn open(size: Size) -> Result<Self> {
        let forced = std::env::var_os(CHOICE).is_some_and(|value| value == "loopback");
        if rustix::process::geteuid().is_root() && !forced { Self::namespaces(size) } else { Self::loopback(size) }
    }

    /// Builds a network of namespaces; needs root. Removes first what runs that died left behind.
    ///
    /// # Errors
    /// When not root, or `ip` or `nft` is missing or refuses.
    pub fn namespaces(size: Size) -> Result<Self> {
        check(size)?;
        ensure!(rustix::process::geteuid().is_root(), "a network of namespaces needs root");
        namespace::remove_stale();
        namespaces::build(size)
    }

    /// Builds a network without links: as root one namespace with the addresses of a network of namespaces, all at one interface;
    /// else loopback addresses. Made in a moment, for tests that neither count nor cut.
    ///
    /// # Errors
    /// When `ip` is missing or refuses.
    pub fn without_links(size: Size) -> Result<Self> {
        check(size)?;
        let forced = std::env::var_os(CHOICE).is_some_and(|value| value == "loopback");
        if !rustix::process::geteuid().is_root() || forced {
            return loopback::build(size);
        }
        namespace::remove_stale();
        shared::build(size, Family::V4)
    }

    /// Builds a network without links in which there is no IPv4 address at all, not even that of loopback; needs root.
    ///
    /// # Errors
    /// When not root, or `ip` is missing or refuses.
    pub fn without_ipv4(size: Size) -> Result<Self> {
        check(size)?;
        ensure!(rustix::process::geteuid().is_root(), "a network without IPv4 needs root");
        namespace::remove_stale();
        shared::build(size, Family::V6)
    }

    /// Whether its addresses are those of the host's loopback, which a real API server takes for no pod.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self.base, Base::Loopback { .. })
    }

    /// Builds a network of loopback addresses of the host. Links cannot be counted or cut in it.
    ///
    /// # Errors
    /// When no block of loopback addresses is free.
    pub fn loopback(size: Size) -> Result<Self> {
        check(size)?;
        loopback::build(size)
    }

    /// Whether links can be counted and cut.
    #[must_use]
    pub fn has_links(&self) -> bool {
        matches!(self.base, Base::Namespaces(_))
    }

    /// The nodes, in order of their numbers.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where the API server, the controller and dns-sync are.
    #[must_use]
    pub fn control(&self) -> &Place {
        &self.control
    }

    /// Where clients are.
    #[must_use]
    pub fn clients(&self) -> &[Place] {
        &self.clients
    }

    /// The node that owns `address`, itself or as a pod's.
    #[must_use]
    pub fn node_of(&self, address: IpAddr) -> Option<&Node> {
        self.nodes.iter().find(|node| node.owns(address))
    }

    /// Bytes counted so far on the links between nodes; empty when the network has no links.
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn crossings(&self) -> Result<Vec<Crossing>> {
        if !self.has_links() {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for node in &self.nodes {
            let namespace = node.place.namespace().context("a node of a network with links has a namespace")?;
            all.extend(counters::read(namespace, node.name())?);
        }
        Ok(all)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        match &self.base {
            Base::Namespaces(names) => namespace::remove(names.iter().map(String::as_str)),
            Base::Shared(name) => namespace::remove([name.as_str()]),
            Base::Loopback { .. } => {}
        }
    }
}

impl Node {
    fn new(number: u8, place: Place, pods: Place, ranges: &[IpNet]) -> Self {
        Self { name: format!("n{number}").into(), number, place, pods, ranges: ranges.into(), taken: Arc::default() }
    }

    /// The name, as in `metadata.name` of its Node object.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts from 1.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Where the node's own programs run.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where the node's pods run.
    #[must_use]
    pub fn pods(&self) -> &Place {
        &self.pods
    }

    /// The ranges that pod addresses come from (`Node.spec.podCIDRs`), IPv4 before IPv6.
    #[must_use]
    pub fn pod_ranges(&self) -> &[IpNet] {
        &self.ranges
    }

    /// Whether `address` is the node's or one of its pods'.
    #[must_use]
    pub fn owns(&self, address: IpAddr) -> bool {
        self.place.addresses().contains(&address) || self.ranges.iter().any(|range| range.contains(&address))
    }

    /// Takes a free address of each family for a pod.
    ///
    /// # Errors
    /// When all are taken, or `ip` refuses.
    pub fn pod_addresses(&self) -> Result<PodAddresses> {
        let number = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let number = (FIRST_POD..=u8::MAX)
                .find(|number| !taken.contains(number))
                .with_context(|| format!("node {}: all pod addresses are taken", self.name))?;
            taken.insert(number);
            number
        };
        let addresses: Vec<IpAddr> = self.ranges.iter().map(|range| nth(*range, number)).collect();
        // Made first, so that a failure below gives the number back.
        let lease = PodAddresses { addresses, number, node: self.clone() };
        if let Some(namespace) = self.pods.namespace().filter(|_| !self.pods.is_shared()) {
            namespace.ip(&lease.commands("add"))?;
        }
        Ok(lease)
    }

    /// Cuts the node's link to the switch, as when its cable is pulled: nothing answers, nothing refuses.
    ///
    /// # Errors
    /// When the network has no links.
    pub fn cut(&self) -> Result<()> {
        self.link()?.ip("link set eth0 down\n")
    }

    /// Joins the link again.
    ///
    /// # Errors
    /// When the network has no links.
    pub fn join(&self) -> Result<()> {
        let namespace = self.link()?;
        namespace.ip("link set eth0 up\n")?;
        // A link that goes down takes the interface's IPv6 addresses and routes with it.
        namespaces::restore_node(self, namespace)
    }

    fn link(&self) -> Result<&Namespace> {
        self.place
            .namespace()
            .filter(|_| !self.place.is_shared())
            .with_context(|| format!("node {}: links can only be cut in a network of namespaces (root)", self.name))
    }
}

impl PodAddresses {
    /// The addresses, IPv4 before IPv6.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    fn commands(&self, verb: &str) -> String {
        let option = |address: &IpAddr| if address.is_ipv6() && verb == "add" { " nodad" } else { "" };
        self.addresses
            .iter()
            .zip(self.node.ranges.iter())
            .map(|(address, range)| {
                format!("addr {verb} {address}/{} dev eth0{}\n", range.prefix_len(), option(address))
            })
            .collect()
    }
}

impl Drop for PodAddresses {
    fn drop(&mut self) {
        if let Some(namespace) = self.node.pods.namespace().filter(|_| !self.node.pods.is_shared()) {
            // Fails only when the whole network is on its way out.
            let _ = namespace.ip(&self.commands("del"));
        }
        self.node.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Address `number` of a range.
fn nth(range: IpNet, number: u8) -> IpAddr {
    match range {
        IpNet::V4(range) => IpAddr::from((u32::from(range.network()) | u32::from(number)).to_be_bytes()),
        IpNet::V6(range) => IpAddr::from((u128::from(range.network()) | u128::from(number)).to_be_bytes()),
    }
}

fn check(size: Size) -> Result<()> {
    ensure!((1..=99).contains(&size.nodes), "1 to 99 nodes, not {}", size.nodes);
    ensure!((1..=99).contains(&size.clients), "1 to 99 clients, not {}", size.clients);
    Ok(())
}

/// Addresses below are the range's gateway and spare.
const FIRST_POD: u8 = 10;
/// Set to `loopback` to do without namespaces although root.
const CHOICE: &str = "NEARSIDE_LAB_NETWORK";
