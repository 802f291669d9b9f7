//! Sets of addresses: a list of addresses and ranges flows in, whether an address is among them flows out, in a time that
//! hardly grows with the list. Used for the lists of [`super::Access`] and for the clients that no rate limit counts.

use crate::verdict::shown;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A set of addresses. Clones share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRanges {
    /// First and last address of each range; ascending, apart from each other.
    v4: Arc<[(u32, u32)]>,
    v6: Arc<[(u128, u128)]>,
}

impl AddressRanges {
    /// Reads addresses and ranges (RFC 4632, RFC 4291 §2.3) separated by blanks or commas, and gives the items that are
    /// neither, shortened.
    pub(crate) fn parse(text: &str) -> (Self, Vec<String>) {
        let (mut v4, mut v6, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        let items = text.split(|letter: char| letter.is_ascii_whitespace() || letter == ',');
        for item in items.filter(|item| !item.is_empty()) {
            match range(item) {
                Some((IpAddr::V4(first), IpAddr::V4(last))) => v4.push((u32::from(first), u32::from(last))),
                Some((IpAddr::V6(first), IpAddr::V6(last))) => v6.push((u128::from(first), u128::from(last))),
                _ => wrong.push(shown(item)),
            }
        }
        (Self { v4: merged(v4), v6: merged(v6) }, wrong)
    }

    /// Whether the address is in the set. An IPv4 address in IPv6 form is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => among(&self.v4, u32::from(address)),
            IpAddr::V6(address) => among(&self.v6, u128::from(address)),
        }
    }

    /// Whether no address is in the set.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// First and last address of an item.
fn range(item: &str) -> Option<(IpAddr, IpAddr)> {
    if let Ok(address) = item.parse::<IpAddr>() {
        let address = address.to_canonical();
        return Some((address, address));
    }
    let net = item.parse::<IpNet>().ok()?;
    let (first, last) = (net.network(), net.broadcast());
    match (mapped(first), mapped(last)) {
        (Some(v4_first), Some(v4_last)) => Some((v4_first.into(), v4_last.into())),
        _ => Some((first, last)),
    }
}

fn mapped(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Ipv6Addr::to_ipv4_mapped(&address),
    }
}

fn merged<N: Copy + Ord>(mut ranges: Vec<(N, N)>) -> Arc<[(N, N)]> {
    ranges.sort_unstable();
    let mut apart: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match apart.last_mut() {
            Some(previous) if first <= previous.1 => previous.1 = previous.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    apart.into()
}

fn among<N: Copy + Ord>(ranges: &[(N, N)], address: N) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).is_some_and(|place| address <= ranges[place].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_and_ranges_of_both_families_are_read() {
        let (set, wrong) = AddressRanges::parse("10.1.2.3/8,192.0.2.7 \t ::ffff:198.51.100.0/120 2001:db8::/64 x/y");
        for (address, expected) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("198.51.100.200", true),
            ("2001:db8::ffff", true),
            ("2001:db8:0:1::", false),
            ("::ffff:10.0.0.1", true),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert_eq!(wrong, ["x/y"]);
    }

    /// Few distinct addresses, so that ranges meet.
    fn item() -> impl Strategy<Value = String> {
        prop_oneof![
            (0_u8..4, 0_u8..4, 24_u8..=32).prop_map(|(a, b, prefix)| format!("10.0.{a}.{b}/{prefix}")),
            (0_u8..4, 0_u8..4).prop_map(|(a, b)| format!("10.0.{a}.{b}")),
            (0_u8..4, 120_u8..=128).prop_map(|(a, prefix)| format!("2001:db8::{a}/{prefix}")),
            "[a-f0-9.:/]{0,8}",
        ]
    }

    proptest! {
        #[test]
        fn an_address_is_in_the_set_exactly_where_it_is_in_an_item(
            items in proptest::collection::vec(item(), 0..12), a in 0_u8..4, b in 0_u8..8, six: bool,
        ) {
            let address: IpAddr =
                if six { format!("2001:db8::{b}") } else { format!("10.0.{a}.{b}") }.parse().unwrap();
            let naive = items.iter().any(|item| match item.parse::<IpNet>() {
                Ok(net) => net.contains(&address),
                Err(_) => item.parse::<IpAddr>().is_ok_and(|one| one == address),
            });
            let (set, _) = AddressRanges::parse(&items.join(" "));
            prop_assert_eq!(set.contains(address), naive);
        }

        #[test]
        fn any_text_is_read(text in "\\PC{0,60}") {
            let _ = AddressRanges::parse(&text);
        }
    }
}
