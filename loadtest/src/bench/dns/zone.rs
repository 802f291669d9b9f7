//! The zone that every server of the benchmark holds: a number of hosts comes in; a zone file, DNSEndpoint objects and the queries
//! that are asked, each with what its answer must be, come out. Pure: the same numbers give the same queries.

use anyhow::Result;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RecordType};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// `app-N.apps.example.com` with [`ADDRESSES`] addresses of each family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    hosts: u32,
}

/// A query as it goes over the wire, and what must come back.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) octets: Vec<u8>,
    /// NOERROR with this many answers; NXDOMAIN when none.
    pub(super) answers: u16,
}

impl Zone {
    pub(super) fn new(hosts: u32) -> Self {
        Self { hosts }
    }

    /// In the form of RFC 1035 §5.
    pub(super) fn file(&self) -> String {
        let mut text = format!(
            "$ORIGIN {ORIGIN}.\n$TTL {TTL}\n@ 3600 IN SOA ns.{ORIGIN}. hostmaster.{ORIGIN}. 1 3600 600 86400 5\n\
             @ 3600 IN NS ns.{ORIGIN}.\nns 3600 IN A 127.0.0.1\n"
        );
        for host in 0..self.hosts {
            for (v4, v6) in addresses(host, 0) {
                // Writing to a String cannot fail.
                let _ = write!(text, "app-{host} IN A {v4}\napp-{host} IN AAAA {v6}\n");
            }
        }
        text
    }

    /// One DNSEndpoint for each host.
    pub(super) fn objects(&self) -> impl Iterator<Item = Value> {
        (0..self.hosts).map(|host| endpoint(host, 0))
    }

    /// Half for A, a third for AAAA, the rest for names that do not exist; the hosts in turn, with EDNS as resolvers have it.
    pub(super) fn queries(&self) -> Result<Vec<Prepared>> {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        (0..QUERIES)
            .map(|number| {
                let host = u32::from(number).wrapping_mul(STRIDE) % self.hosts;
                let (name, record_type, answers) = match number % 6 {
                    0..=2 => (host_name(host), RecordType::A, ADDRESSES),
                    3 | 4 => (host_name(host), RecordType::AAAA, ADDRESSES),
                    _ => (format!("missing-{host}.{ORIGIN}"), RecordType::A, 0),
                };
                let mut message = Message::query();
                message.metadata.id = number;
                message.metadata.recursion_desired = false;
                let mut name = Name::from_ascii(name)?;
                name.set_fqdn(true);
                message.add_query(Query::query(name, record_type));
                message.set_edns(edns.clone());
                Ok(Prepared { octets: message.to_vec()?, answers: u16::from(answers) })
            })
            .collect()
    }
}

/// The DNSEndpoint of a host whose nodes are those of `turn`.
pub(super) fn endpoint(host: u32, turn: u32) -> Value {
    let of = |kind: &str, targets: Vec<String>| json!({"dnsName": host_name(host), "recordType": kind, "recordTTL": TTL, "targets": targets});
    let (v4, v6) = addresses(host, turn).map(|(v4, v6)| (v4.to_string(), v6.to_string())).unzip();
    json!({
        "apiVersion": "externaldns.k8s.io/v1alpha1", "kind": "DNSEndpoint",
        "metadata": {"namespace": NAMESPACE, "name": format!("app-{host}")},
        "spec": {"endpoints": [of("A", v4), of("AAAA", v6)]},
    })
}

/// The addresses of a host: other ones in each turn.
pub(super) fn addresses(host: u32, turn: u32) -> impl Iterator<Item = (Ipv4Addr, Ipv6Addr)> {
    (0..u32::from(ADDRESSES)).map(move |number| {
        let node = (host * 7 + turn * u32::from(ADDRESSES) + number) % 60_000 + 1;
        let [_, _, a, b] = node.to_be_bytes();
        (Ipv4Addr::new(198, 18, a, b), Ipv6Addr::new(0xfd00, 0x6e73, 0, 0, 0, 0, 0, u16::from_be_bytes([a, b])))
    })
}

/// The name of a host.
pub(super) fn host_name(host: u32) -> String {
    format!("app-{host}.{ORIGIN}")
}

pub(super) const ORIGIN: &str = "apps.example.com";
pub(super) const NAMESPACE: &str = "nearside";
pub(super) const ADDRESSES: u8 = 4;
const TTL: u32 = 30;
const QUERIES: u16 = 30_000;
/// Odd and large, so that neighbours in the list are no neighbours in the zone.
const STRIDE: u32 = 2_654_435_761;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queries_are_of_the_mix_that_is_told() {
        let queries = Zone::new(100).queries().unwrap();
        let missing = queries.iter().filter(|query| query.answers == 0).count();
        assert_eq!(missing * 6, queries.len());
        let first = Message::from_vec(&queries[0].octets).unwrap();
        assert_eq!(first.queries[0].query_type(), RecordType::A);
        assert!(first.edns.is_some() && !first.metadata.recursion_desired);
    }
}
