//! Weights: how many ready pods of a host each of its nodes holds flows in, the value of the annotation by which the embedded
//! name server names some addresses more often than others flows out.
//!
//! Pods come and go all the time, and each other weight is a write. So counts are rounded to a full, a half or a quarter share
//! of the largest: a node gets at most four times what another gets, and one pod more or less seldom makes a difference.

use super::records::addresses;
use super::{AddressTypes, HostPlacement, NodeStates, services_of};
use crate::endpoints::{EndpointState, EndpointTable};
use crate::object::DnsEndpointSpec;
use crate::table::HostRoutes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The value of [`crate::published::WEIGHTS_ANNOTATION`]: a JSON object from each published address of the host to its weight.
/// Empty where all weigh the same, as they do without it.
pub fn weights(
    host: &HostRoutes,
    placed: &HostPlacement,
    spec: &DnsEndpointSpec,
    nodes: &NodeStates,
    endpoints: &EndpointTable,
    types: &AddressTypes,
) -> String {
    if placed.nodes.len() < 2 {
        return String::new();
    }
    let name = host.pattern.to_string();
    let sets = spec.endpoints.iter().filter(|set| set.dns_name == name);
    let published: BTreeSet<IpAddr> = sets.flat_map(|set| &set.targets).filter_map(|text| text.parse().ok()).collect();
    let counts = ready_pods(host, endpoints);
    let of_node = |node: &Arc<str>| counts.get(node).map_or(0, BTreeSet::len);
    let shares = shares(placed.nodes.iter().map(of_node));
    let mut by_address: BTreeMap<IpAddr, u8> = BTreeMap::new();
    for (node, share) in placed.nodes.iter().zip(shares) {
        let all = nodes.get(node).map(|state| addresses(state, types)).unwrap_or_default();
        for address in all.into_iter().filter(|address| published.contains(address)) {
            // Nodes that share an address are one place for DNS.
            let known = by_address.entry(address).or_default();
            *known = (*known).max(share);
        }
    }
    let least = by_address.values().copied().min().unwrap_or(1).max(1);
    if by_address.values().all(|share| *share == least) {
        return String::new();
    }
    let entries: Vec<String> =
        by_address.into_iter().map(|(address, share)| format!("\"{address}\":{}", share / least)).collect();
    format!("{{{}}}", entries.join(","))
}

/// The ready pods of all Services of a host on each node, by address.
fn ready_pods<'e>(host: &'e HostRoutes, endpoints: &'e EndpointTable) -> BTreeMap<&'e Arc<str>, BTreeSet<IpAddr>> {
    let mut pods: BTreeMap<&Arc<str>, BTreeSet<IpAddr>> = BTreeMap::new();
    for (service, port) in services_of(host) {
        let Some(of_service) = endpoints.get(service) else { continue };
        for (_, endpoint) in of_service.select(port).filter(|(_, endpoint)| endpoint.state == EndpointState::Ready) {
            pods.entry(&endpoint.node).or_default().insert(endpoint.address.ip());
        }
    }
    pods
}

/// 4, 2 or 1 for each count: what is nearest to its share of the largest on a scale of doublings.
fn shares(counts: impl Iterator<Item = usize> + Clone) -> Vec<u8> {
    let most = counts.clone().max().unwrap_or(0);
    let share = |count: usize| match () {
        // The square root of a half, and half of that.
        () if count * 1000 >= most * 707 => 4,
        () if count * 1000 >= most * 354 => 2,
        () => 1,
    };
    counts.map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(counts: &[usize]) -> Vec<u8> {
        shares(counts.iter().copied())
    }

    #[test]
    fn counts_become_shares_of_the_largest() {
        assert_eq!(of(&[1, 1, 1]), [4, 4, 4]);
        assert_eq!(of(&[2, 1]), [4, 2]);
        assert_eq!(of(&[10, 9, 8]), [4, 4, 4], "a pod more or less makes no difference");
        assert_eq!(of(&[100, 1, 0]), [4, 1, 1], "nobody gets more than four times what another gets");
        assert_eq!(of(&[0, 0]), [4, 4]);
        assert!(of(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn more_pods_never_weigh_less_and_ratios_are_bounded(counts in proptest::collection::vec(0_usize..50, 1..12)) {
            let shares = of(&counts);
            for (a, first) in counts.iter().zip(&shares) {
                prop_assert!((1..=4).contains(first));
                for (b, second) in counts.iter().zip(&shares) {
                    prop_assert!(a < b || first >= second);
                }
            }
            let doubled: Vec<usize> = counts.iter().map(|count| 2 * count).collect();
            prop_assert_eq!(of(&doubled), shares, "only proportions count");
        }
    }
}
