//! Who is behind a request: the connection and what proxies in front of it say flow in, the client's address, scheme and port
//! flow out. Only proxies that the operator names are believed, each for what the one before it was; a word that is not
//! understood counts for nothing. Pure.

use crate::connection::Connection;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use nearside_routing::Scheme;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The client: the nearest address that is no trusted proxy's.
    pub(crate) client: IpAddr,
    /// Who was connected to the first of our proxies: the client, or the nearest proxy that tells of it.
    pub(crate) peer: IpAddr,
    /// How the client came: over TLS too where a trusted proxy ended it.
    pub(crate) scheme: Scheme,
    /// The port that the client connected to.
    pub(crate) port: u16,
}

impl Origin {
    /// Of a request of which nothing is known.
    pub(crate) const UNKNOWN: Self = Self {
        client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        scheme: Scheme::Http,
        port: 80,
    };

    /// Of a request on a connection, with these proxies trusted.
    pub(super) fn of(connection: &Connection, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = connection.client.ip();
        let direct = Self { client: peer, peer, scheme: connection.scheme, port: connection.local.port() };
        if !is_trusted(peer, trusted) {
            return direct;
        }
        let client = client(peer, headers, trusted);
        let told_https = last(headers, &X_FORWARDED_PROTO).is_some_and(|word| word.eq_ignore_ascii_case(b"https"));
        if connection.scheme == Scheme::Https || !told_https {
            return Self { client, ..direct };
        }
        let port = last(headers, &X_FORWARDED_PORT).and_then(|port| std::str::from_utf8(port).ok()?.parse().ok());
        Self { client, peer, scheme: Scheme::Https, port: port.filter(|port| *port != 0).unwrap_or(HTTPS_PORT) }
    }
}

/// Walks `X-Forwarded-For` from its end: each address was added by the one after it. The walk ends at the first that is not
/// trusted, or where the next one cannot be read.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    let fields = headers.get_all(X_FORWARDED_FOR).iter().rev();
    for written in fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b',')) {
        let Some(address) = address(written) else { break };
        client = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(written: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(written).ok()?.trim_matches([' ', '\t']);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().map(IpAddr::V6).ok();
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip()).ok();
    let address = text.parse().ok().or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|range| range.contains(&address))
}

/// What the nearest proxy says.
fn last<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let field = headers.get_all(name).iter().next_back().map(HeaderValue::as_bytes)?;
    field.rsplit(|byte| *byte == b',').next().map(<[u8]>::trim_ascii)
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Arrival, HeaderWatch, Hold};
    use crate::trailers::TrailerWatch;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    fn connection(peer: &str, scheme: Scheme) -> Connection {
        Connection {
            client: SocketAddr::new(peer.parse().unwrap(), 4711),
            local: "198.18.0.1:80".parse().unwrap(),
            scheme,
            server_name: None,
            arrival: Arrival::now(),
            header: HeaderWatch::default(),
            hold: Hold::default(),
            sealing: Default::default(),
            trailers: TrailerWatch::default(),
            certificate: OnceLock::new(),
            presented: OnceLock::new(),
            lasting: Default::default(),
            parting: tokio::sync::Notify::new(),
            streams: Default::default(),
            _place: None,
        }
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "fd00::/8"].map(|range| range.parse().unwrap()).into()
    }

    #[test]
    fn the_client_is_the_nearest_address_that_is_not_trusted() {
        for (peer, forwarded, expected) in [
            ("10.0.0.1", &["192.0.2.1"][..], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.9", "192.0.2.1,10.0.0.2 "], "192.0.2.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("::ffff:10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("fd00::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["192.0.2.1:5000"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["192.0.2.1, "], "10.0.0.1"),
            ("203.0.113.5", &["192.0.2.1"], "203.0.113.5"),
        ] {
            let fields: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
            let origin = Origin::of(&connection(peer, Scheme::Http), &headers(&fields), &trusted());
            assert_eq!(origin.client, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_trusted_proxy_that_ended_tls_is_believed_and_nothing_makes_tls_plain() {
        for (peer, scheme, proto, port, expected) in [
            ("10.0.0.1", Scheme::Http, "https", "8443", (Scheme::Https, 8443)),
            ("10.0.0.1", Scheme::Http, "HTTPS", "", (Scheme::Https, 443)),
            ("10.0.0.1", Scheme::Http, "http, https", "99999", (Scheme::Https, 443)),
            ("10.0.0.1", Scheme::Http, "https, http", "443", (Scheme::Http, 80)),
            ("10.0.0.1", Scheme::Http, "httpsx", "443", (Scheme::Http, 80)),
            ("10.0.0.1", Scheme::Https, "http", "8080", (Scheme::Https, 80)),
            ("203.0.113.5", Scheme::Http, "https", "443", (Scheme::Http, 80)),
        ] {
            let fields = [("x-forwarded-proto", proto), ("x-forwarded-port", port)];
            let origin = Origin::of(&connection(peer, scheme), &headers(&fields), &trusted());
            assert_eq!((origin.scheme, origin.port), expected, "{peer} {proto} {port}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_claimed_the_client_was_vouched_for_by_a_trusted_proxy(
            claimed in "([0-9a-f:.,\\[\\] ]|10\\.0\\.0\\.[1-9],|192\\.0\\.2\\.[1-9]){0,20}",
        ) {
            let fields = headers(&[("x-forwarded-for", &claimed)]);
            let client = Origin::of(&connection("10.0.0.1", Scheme::Http), &fields, &trusted()).client;
            let told = claimed.split(',').filter_map(|written| address(written.as_bytes()));
            let untrusted: Vec<IpAddr> = told.filter(|address| !is_trusted(*address, &trusted())).collect();
            prop_assert!(is_trusted(client, &trusted()) || untrusted.last() == Some(&client));
        }
    }
}
