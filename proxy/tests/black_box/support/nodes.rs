//! Several proxies as on several nodes: loopback addresses of their own, one pair of ports.

use super::{Manifests, Proxy};
use std::net::SocketAddr;

/// The nodes, and their addresses.
pub(crate) const NODES: [(&str, &str); 3] = [("n1", "127.0.0.1"), ("n2", "127.0.0.2"), ("n3", "127.0.0.3")];

/// A proxy on the first node, and one on each further node for which there are manifests, at the same ports.
pub(crate) fn start(manifests: &[&Manifests], flags: &[&str]) -> Vec<Proxy> {
    start_each(&manifests.iter().map(|manifests| (*manifests, flags)).collect::<Vec<_>>())
}

/// The same with flags of each one's own.
pub(crate) fn start_each(each: &[(&Manifests, &[&str])]) -> Vec<Proxy> {
    let mut proxies = vec![Proxy::start(each[0].0, each[0].1)];
    for ((node, address), (manifests, flags)) in NODES.iter().zip(each).skip(1) {
        let own = [
            format!("--node-name={node}"),
            format!("--http-listen={address}:{}", proxies[0].http.port()),
            format!("--https-listen={address}:{}", proxies[0].https.port()),
        ];
        let own: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        proxies.push(Proxy::start(manifests, &own));
    }
    proxies
}

/// Where a node's alias leads to.
pub(crate) fn address_of_alias(host: &str, port: u16) -> Option<SocketAddr> {
    let node = NODES.iter().find(|(node, _)| host.contains(&format!("--{}.", nearside_routing::NodeId::of(node))))?;
    Some(SocketAddr::new(node.1.parse().unwrap(), port))
}
