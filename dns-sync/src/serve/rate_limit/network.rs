//! Networks: text such as `192.0.2.0/24` flows in, whether an address is within flows out. Read from the command line, used by
//! the limiter.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address and the number of its leading bits that count; the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Before the slash.
    #[error("is no IP address or network, such as 192.0.2.0/24")]
    Address,
    /// After the slash.
    #[error("has a prefix length above {0}")]
    Length(u8),
}

impl Network {
    /// The network that stands for a source: as large as what one sender commonly can forge from within.
    pub fn of_source(client: IpAddr) -> Self {
        Self::new(client, if client.is_ipv4() { 24 } else { 56 })
    }

    /// Whether an address is within; an IPv4 address in IPv6 form is itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self::new(address, self.bits) == *self
    }

    fn new(address: IpAddr, bits: u8) -> Self {
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Self { address, bits }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse::<IpAddr>().map_err(|_| NetworkError::Address)?.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most));
        bits.map(|bits| Self::new(address, bits)).ok_or(NetworkError::Length(most))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_within_the_networks_that_share_its_leading_bits() {
        let within =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(within("192.0.2.0/24", "192.0.2.255") && !within("192.0.2.0/24", "192.0.3.0"));
        assert!(within("192.0.2.9", "192.0.2.9") && !within("192.0.2.9", "192.0.2.8"));
        assert!(within("0.0.0.0/0", "203.0.113.1") && !within("0.0.0.0/0", "2001:db8::1"));
        assert!(within("::/0", "2001:db8::1") && within("2001:db8::/32", "2001:db8:1::1"));
        assert!(within("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert_eq!("10.9.8.7/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_no_network_says_why() {
        assert_eq!("here".parse::<Network>(), Err(NetworkError::Address));
        assert_eq!("192.0.2.0/33".parse::<Network>(), Err(NetworkError::Length(32)));
        assert_eq!("::/x".parse::<Network>(), Err(NetworkError::Length(128)));
    }
}
