//! What each topic needs: real servers with a zone, a connection to one, and short ways to say names, sets and updates.

use nearside_dns_sync::name::Name;
use nearside_dns_sync::publish::connection::{Bounds, Connection};
use nearside_dns_sync::publish::update::{Change, Prerequisite, Update};
use nearside_dns_sync::record::{RecordType, Rrset, RrsetData, Ttl};
use nearside_dns_sync::wire::tsig::{Algorithm, Key};
use nearside_loadtest::name_servers::{NameServer, Setup, Software, TsigKey, Zone, zone_text};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ZONE: &str = "z.test";

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The key that every server of a stage knows and lets update and transfer the zone.
pub(crate) fn key() -> Arc<Key> {
    // What TsigKey::new makes of its words.
    let secret = &b"the-key one of 32 octets or more"[..];
    Arc::new(Key::new(name("the-key"), Algorithm::HmacSha256, secret).unwrap())
}

/// A server of the zone, with more lines in it, and of another zone with another key.
pub(crate) fn server(software: Software, lines: &str) -> NameServer {
    let known = TsigKey::new("the-key", "hmac-sha256", "one");
    let other = TsigKey::new("other-key", "hmac-sha512", "other");
    let zones = vec![
        Zone::primary(ZONE, &zone_text(ZONE, lines), &known),
        Zone::primary("others.test", &zone_text("others.test", ""), &other),
    ];
    NameServer::start(software, &Setup { zones, keys: vec![known, other] }).unwrap()
}

/// Longer than a machine under load takes.
pub(crate) fn patient() -> Bounds {
    Bounds { exchange: Duration::from_secs(30), ..Bounds::default() }
}

pub(crate) async fn connect(server: SocketAddr) -> Connection {
    Connection::open(server, Some(key()), patient()).await.unwrap()
}

pub(crate) fn a(ttl: u32, addresses: &[&str]) -> Rrset {
    let mut data: Vec<std::net::Ipv4Addr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    data.sort();
    Rrset { ttl: Ttl::new(ttl).unwrap(), data: RrsetData::A(data) }
}

pub(crate) fn txt(text: &str) -> Rrset {
    Rrset { ttl: Ttl::new(60).unwrap(), data: RrsetData::Txt(vec![vec![text.as_bytes().into()]]) }
}

pub(crate) fn update(prerequisites: Vec<Prerequisite>, changes: Vec<Change>) -> Update {
    Update { zone: name(ZONE), prerequisites, changes }
}

/// As the publisher replaces a set.
pub(crate) fn replace(owner: &str, set: Rrset) -> Update {
    update(Vec::new(), vec![Change::DeleteRrset(name(owner), RecordType::A), Change::AddRrset(name(owner), set)])
}
