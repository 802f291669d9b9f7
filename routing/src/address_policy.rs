//! Which endpoint addresses may be dialled: an address flows in, a refusal with its reason flows out. The proxy runs on
//! the host network, so an endpoint that names the node itself would open the node to every tenant.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

/// Refuses addresses that no pod has, except those an operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Ranges that are allowed whatever else would refuse them (`--allow-endpoints`).
    pub allowed: Vec<IpNet>,
}

impl AddressPolicy {
    /// Why an endpoint at this address is refused; `None` where it may be dialled. `node_addresses` are the addresses
    /// of the node that the endpoint is on.
    pub fn refusal(&self, address: IpAddr, node_addresses: &[IpAddr]) -> Option<Refusal> {
        let address = canonical(address);
        if self.allowed.iter().any(|range| range.contains(&address)) {
            return None;
        }
        if address.is_unspecified() {
            return Some(Refusal::Unspecified);
        }
        if address.is_loopback() {
            return Some(Refusal::Loopback);
        }
        if address.is_multicast() {
            return Some(Refusal::Multicast);
        }
        if METADATA.contains(&address) {
            return Some(Refusal::Metadata);
        }
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if link_local {
            return Some(Refusal::LinkLocal);
        }
        node_addresses.iter().any(|own| canonical(*own) == address).then_some(Refusal::Node)
    }
}

/// Why an endpoint address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says it")]
pub enum Refusal {
    #[error("the unspecified address")]
    Unspecified,
    #[error("a loopback address")]
    Loopback,
    #[error("a multicast address")]
    Multicast,
    #[error("a cloud metadata address")]
    Metadata,
    #[error("a link-local address")]
    LinkLocal,
    #[error("an address of the node itself")]
    Node,
}

/// The IPv4 address behind a mapped (`::ffff:a.b.c.d`) or compatible (`::a.b.c.d`) IPv6 address.
fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) if v6 == Ipv6Addr::LOCALHOST || v6 == Ipv6Addr::UNSPECIFIED => address,
        IpAddr::V6(v6) => v6.to_ipv4().map_or(address, IpAddr::V4),
    }
}

/// Metadata services outside the link-local range: Azure's wire server and AWS over IPv6.
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str) -> Option<Refusal> {
        AddressPolicy::default().refusal(address.parse().unwrap(), &["198.18.0.7".parse().unwrap()])
    }

    #[test]
    fn addresses_that_no_pod_has_are_refused() {
        for (address, expected) in [
            ("127.0.0.1", Some(Refusal::Loopback)),
            ("127.9.9.9", Some(Refusal::Loopback)),
            ("::1", Some(Refusal::Loopback)),
            ("::ffff:127.0.0.1", Some(Refusal::Loopback)),
            ("::127.0.0.1", Some(Refusal::Loopback)),
            ("0.0.0.0", Some(Refusal::Unspecified)),
            ("::", Some(Refusal::Unspecified)),
            ("169.254.169.254", Some(Refusal::LinkLocal)),
            ("::ffff:169.254.169.254", Some(Refusal::LinkLocal)),
            ("fe80::1", Some(Refusal::LinkLocal)),
            ("168.63.129.16", Some(Refusal::Metadata)),
            ("fd00:ec2::254", Some(Refusal::Metadata)),
            ("224.0.0.1", Some(Refusal::Multicast)),
            ("ff02::1", Some(Refusal::Multicast)),
            ("198.18.0.7", Some(Refusal::Node)),
            ("::ffff:198.18.0.7", Some(Refusal::Node)),
            ("198.18.0.8", None),
            ("10.0.0.1", None),
            ("fd00::1", None),
        ] {
            assert_eq!(refusal(address), expected, "{address}");
        }
    }

    #[test]
    fn an_allowed_range_overrides_every_refusal() {
        let policy = AddressPolicy { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
        assert_eq!(policy.refusal("127.0.0.1".parse().unwrap(), &[]), None);
        assert_eq!(policy.refusal("::ffff:127.0.0.1".parse().unwrap(), &[]), None);
        assert_eq!(policy.refusal("::1".parse().unwrap(), &[]), Some(Refusal::Loopback));
    }
}
