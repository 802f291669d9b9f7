//! The PROXY protocol (haproxy.org, doc/proxy-protocol.txt), by which a load balancer tells who is connected to it. Bytes
//! flow in, addresses flow out (versions 1 and 2; `accept`); addresses flow in, bytes for a pod flow out (version 2). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The two ends of the connection that a header speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Addresses {
    /// Who connected.
    pub(crate) source: SocketAddr,
    /// To which address.
    pub(crate) destination: SocketAddr,
}

/// What the bytes at the start of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of a header of which at least this many bytes are still to come.
    Incomplete(usize),
    /// A whole header; nothing follows it. Without addresses the connection speaks for itself: a health check of the load
    /// balancer, or a client that has no IP address.
    Header(Option<Addresses>),
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The bytes begin like neither version.
    #[error("no PROXY header")]
    Absent,
    /// They begin like a header and break its grammar.
    #[error("a broken PROXY header")]
    Broken,
    /// More bytes than any header needs.
    #[error("a PROXY header of too many bytes")]
    TooLong,
}

/// Reads the header that `bytes` are, or are the beginning of. Who reads no more than [`Parsed::Incomplete`] asks for never
/// reads beyond the header.
///
/// # Errors
/// [`Malformed`] says what the bytes are instead.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if bytes.is_empty() {
        return Ok(Parsed::Incomplete(V1_SHORTEST));
    }
    if begins(bytes, V2_SIGNATURE) {
        return v2(bytes);
    }
    if begins(bytes, V1_SIGNATURE) { v1(bytes) } else { Err(Malformed::Absent) }
}

/// A header of version 2. Both addresses are of one family: an IPv4 address beside an IPv6 one is written as mapped.
pub(crate) fn encode_v2(addresses: &Addresses) -> Vec<u8> {
    let Addresses { source, destination } = addresses;
    let mut header = V2_SIGNATURE.to_vec();
    header.push(V2_PROXY);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.push(TCP_OVER_IPV4);
            header.extend(12_u16.to_be_bytes());
            header.extend(from.octets());
            header.extend(to.octets());
        }
        (from, to) => {
            header.push(TCP_OVER_IPV6);
            header.extend(36_u16.to_be_bytes());
            header.extend(mapped(from).octets());
            header.extend(mapped(to).octets());
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Whether `bytes` may be the beginning of something with this signature, or have it.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let shared = bytes.len().min(signature.len());
    bytes[..shared] == signature[..shared]
}

fn v1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        let ended_early = bytes.windows(2).any(|pair| pair == b"\r\n");
        return match bytes.len() {
            _ if ended_early => Err(Malformed::Broken),
            V1_BYTES.. => Err(Malformed::TooLong),
            length if length < V1_SHORTEST => Ok(Parsed::Incomplete(V1_SHORTEST - length)),
            _ => Ok(Parsed::Incomplete(1)),
        };
    };
    if bytes.len() > V1_BYTES {
        return Err(Malformed::TooLong);
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Broken)?;
    if line.contains('\r') {
        return Err(Malformed::Broken);
    }
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or(Malformed::Broken);
    let family = word()?;
    if family == "UNKNOWN" {
        return Ok(Parsed::Header(None));
    }
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    let [source, destination] = match family {
        "TCP4" => [address::<Ipv4Addr>(source)?, address::<Ipv4Addr>(destination)?],
        "TCP6" => [address::<Ipv6Addr>(source)?, address::<Ipv6Addr>(destination)?],
        _ => return Err(Malformed::Broken),
    };
    if word().is_ok() {
        return Err(Malformed::Broken);
    }
    Ok(Parsed::Header(Some(Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })))
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Malformed> {
    text.parse::<A>().map(Into::into).map_err(|_| Malformed::Broken)
}

fn port(text: &str) -> Result<u16, Malformed> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(Malformed::Broken);
    }
    text.parse().map_err(|_| Malformed::Broken)
}

fn v2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some((head, rest)) = bytes.split_first_chunk::<V2_HEAD>() else {
        return Ok(Parsed::Incomplete(V2_HEAD - bytes.len()));
    };
    let (command, family) = (head[12], head[13]);
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let needed = match (command, family) {
        (V2_LOCAL | V2_PROXY, UNSPECIFIED) | (V2_LOCAL, _) => 0,
        (V2_PROXY, TCP_OVER_IPV4 | UDP_OVER_IPV4) => 12,
        (V2_PROXY, TCP_OVER_IPV6 | UDP_OVER_IPV6) => 36,
        (V2_PROXY, UNIX_STREAM | UNIX_DATAGRAM) => 216,
        _ => return Err(Malformed::Broken),
    };
    if length < needed {
        return Err(Malformed::Broken);
    }
    if length > V2_BYTES - V2_HEAD {
        return Err(Malformed::TooLong);
    }
    if rest.len() < length {
        return Ok(Parsed::Incomplete(length - rest.len()));
    }
    if rest.len() > length {
        return Err(Malformed::Broken);
    }
    // What follows the addresses (TLVs) tells nothing that is used here.
    let addresses = match (command, family) {
        (V2_PROXY, TCP_OVER_IPV4) => {
            rest.first_chunk::<12>().map(|block| pair::<4>(block, |octets| Ipv4Addr::from(octets).into()))
        }
        (V2_PROXY, TCP_OVER_IPV6) => {
            rest.first_chunk::<36>().map(|block| pair::<16>(block, |octets| Ipv6Addr::from(octets).into()))
        }
        _ => None,
    };
    Ok(Parsed::Header(addresses))
}

/// Source and destination address of `N` bytes each, then their ports. `block` holds them all.
fn pair<const N: usize>(block: &[u8], address: impl Fn([u8; N]) -> IpAddr) -> Addresses {
    let octets = |at: usize| std::array::from_fn(|index| block[at + index]);
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    Addresses {
        source: SocketAddr::new(address(octets(0)), port(2 * N)),
        destination: SocketAddr::new(address(octets(N)), port(2 * N + 2)),
    }
}

/// How every header of version 1 begins.
const V1_SIGNATURE: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` and its line end.
const V1_SHORTEST: usize = 15;
/// The longest line, with its end (§2.1).
const V1_BYTES: usize = 107;
/// How every header of version 2 begins (§2.2).
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length.
const V2_HEAD: usize = 16;
/// Bytes of a header with all its TLVs; the longest that are known hold a client's certificate.
const V2_BYTES: usize = 16 * 1024;
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const UDP_OVER_IPV4: u8 = 0x12;
const TCP_OVER_IPV6: u8 = 0x21;
const UDP_OVER_IPV6: u8 = 0x22;
const UNIX_STREAM: u8 = 0x31;
const UNIX_DATAGRAM: u8 = 0x32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(source: &str, destination: &str) -> Addresses {
        Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    /// A header of version 2 by its command, family and what follows.
    fn raw_v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = V2_SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend(rest);
        header
    }

    #[test]
    fn a_line_of_version_1_is_read_strictly() {
        let v4 = addresses("192.0.2.1:1234", "198.51.100.2:443");
        let v6 = addresses("[2001:db8::1]:1", "[2001:db8::2]:65535");
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n", Ok(Parsed::Header(Some(v4)))),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", Ok(Parsed::Header(Some(v6)))),
            ("PROXY UNKNOWN\r\n", Ok(Parsed::Header(None))),
            ("PROXY UNKNOWN ff::1 ff::2 1 2\r\n", Ok(Parsed::Header(None))),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r", Ok(Parsed::Incomplete(1))),
            ("PRO", Ok(Parsed::Incomplete(12))),
            ("", Ok(Parsed::Incomplete(15))),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1234 443 \r\n", Err(Malformed::Broken)),
            ("PROXY TCP4 192.0.2.1  198.51.100.2 1234 443\r\n", Err(Malformed::Broken)),
            ("PROXY TCP4 192.0.2.01 198.51.100.2 1234 443\r\n", Err(Malformed::Broken)),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 01234 443\r\n", Err(Malformed::Broken)),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1234 65536\r\n", Err(Malformed::Broken)),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n", Err(Malformed::Broken)),
            ("PROXY TCP4 192.0.2.1 198.51.100.2 1234\r\n", Err(Malformed::Broken)),
            ("PROXY TCP4 ::1 ::2 1234 443\r\n", Err(Malformed::Broken)),
            ("PROXY TCP6 192.0.2.1 198.51.100.2 1234 443\r\n", Err(Malformed::Broken)),
            ("PROXY UDP4 192.0.2.1 198.51.100.2 1234 443\r\n", Err(Malformed::Broken)),
            ("PROXY TCP4\r\n192.0.2.1", Err(Malformed::Broken)),
            ("proxy TCP4 192.0.2.1 198.51.100.2 1234 443\r\n", Err(Malformed::Absent)),
            ("GET / HTTP/1.1\r\n", Err(Malformed::Absent)),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(V1_BYTES));
        assert_eq!(parse(long.as_bytes()), Err(Malformed::TooLong));
    }

    #[test]
    fn a_header_of_version_2_tells_addresses_only_of_tcp_over_ip() {
        let v4 = addresses("192.0.2.1:1234", "198.51.100.2:443");
        let block = &encode_v2(&v4)[V2_HEAD..];
        let with_tlvs = [block, &[3, 0, 4, 1, 2, 3, 4, 0xee, 0, 1, 9]].concat();
        for (command, family, rest, expected) in [
            (V2_PROXY, TCP_OVER_IPV4, block, Ok(Parsed::Header(Some(v4)))),
            (V2_PROXY, TCP_OVER_IPV4, &with_tlvs, Ok(Parsed::Header(Some(v4)))),
            (V2_PROXY, UDP_OVER_IPV4, block, Ok(Parsed::Header(None))),
            (V2_PROXY, UNSPECIFIED, &[], Ok(Parsed::Header(None))),
            (V2_PROXY, UNSPECIFIED, &[1, 2, 3], Ok(Parsed::Header(None))),
            (V2_PROXY, UNIX_STREAM, &[0; 216], Ok(Parsed::Header(None))),
            (V2_LOCAL, TCP_OVER_IPV4, block, Ok(Parsed::Header(None))),
            (V2_LOCAL, UNSPECIFIED, &[], Ok(Parsed::Header(None))),
            (V2_PROXY, TCP_OVER_IPV4, &block[..11], Err(Malformed::Broken)),
            (V2_PROXY, TCP_OVER_IPV6, block, Err(Malformed::Broken)),
            (V2_PROXY, UNIX_STREAM, block, Err(Malformed::Broken)),
            (V2_PROXY, 0x41, block, Err(Malformed::Broken)),
            (0x22, TCP_OVER_IPV4, block, Err(Malformed::Broken)),
            (0x11, TCP_OVER_IPV4, block, Err(Malformed::Broken)),
            (V2_PROXY, UNSPECIFIED, &[0; V2_BYTES], Err(Malformed::TooLong)),
        ] {
            assert_eq!(parse(&raw_v2(command, family, rest)), expected, "{command:#x} {family:#x} {}", rest.len());
        }
    }

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(|octets| IpAddr::from(Ipv4Addr::from(octets))),
            any::<[u8; 16]>().prop_map(|octets| IpAddr::from(Ipv6Addr::from(octets))),
        ];
        (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(source in any_address(), destination in any_address()) {
            let Parsed::Header(Some(read)) = parse(&encode_v2(&Addresses { source, destination })).unwrap() else {
                panic!("whole and with addresses")
            };
            let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            prop_assert_eq!(canonical(read.source), canonical(source));
            prop_assert_eq!(canonical(read.destination), canonical(destination));
        }

        #[test]
        fn reading_what_is_asked_for_ends_exactly_at_the_headers_end(
            source in any_address(), tlvs in proptest::collection::vec(any::<u8>(), 0..40), first in any::<bool>(),
        ) {
            let header = match (first, source.ip()) {
                (true, IpAddr::V4(ip)) => format!("PROXY TCP4 {ip} {ip} {0} {0}\r\n", source.port()).into_bytes(),
                (true, IpAddr::V6(ip)) => format!("PROXY TCP6 {ip} {ip} {0} {0}\r\n", source.port()).into_bytes(),
                (false, _) => raw_v2(V2_PROXY, UNSPECIFIED, &tlvs),
            };
            let mut read = 0;
            while let Parsed::Incomplete(more) = parse(&header[..read]).unwrap() {
                prop_assert!(more > 0);
                read += more;
                prop_assert!(read <= header.len());
            }
            prop_assert_eq!(read, header.len());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0..250_usize) {
            let _ = parse(&bytes);
            let head = if bytes.len() % 2 == 0 { V1_SIGNATURE } else { V2_SIGNATURE };
            let _ = parse(&[head, &bytes[..cut.min(bytes.len())]].concat());
        }
    }
}
