//! The same mistakes made towards each server: all refuse, each in its own words, and what is wrong is told apart.

use crate::stage::{ZONE, a, connect, key, name, patient, replace, server};
use nearside_dns_sync::publish::connection::{Bounds, Connection};
use nearside_dns_sync::publish::failure::{Failure, SignatureFault};
use nearside_dns_sync::publish::update::{Change, Update};
use nearside_dns_sync::wire::tsig::{Algorithm, Key};
use nearside_loadtest::name_servers::{NameServer, Software};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

fn other_secret() -> Arc<Key> {
    Arc::new(Key::new(name("the-key"), Algorithm::HmacSha256, &b"another secret"[..]).unwrap())
}

fn unknown_key() -> Arc<Key> {
    Arc::new(Key::new(name("no-key"), Algorithm::HmacSha256, &b"another secret"[..]).unwrap())
}

fn behind() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 1000
}

async fn refused(server: &NameServer, key: Option<Arc<Key>>, bounds: Bounds, update: &Update) -> Failure {
    let mut connection = Connection::open(server.address(), key, bounds).await.unwrap();
    connection.update(update).await.unwrap_err()
}

async fn every_mistake_is_told_apart(software: Software) {
    let server = server(software, "www A 192.0.2.1\n");
    let change = replace("www.z.test", a(30, &["192.0.2.2"]));
    let powerdns = software == Software::PowerDns;
    let bad = |fault| if powerdns { Failure::Refused } else { Failure::Signature(fault) };

    let wrong_secret = refused(&server, Some(other_secret()), patient(), &change).await;
    assert_eq!(wrong_secret, bad(SignatureFault::BadSig), "another secret");
    let unknown = refused(&server, Some(unknown_key()), patient(), &change).await;
    assert_eq!(unknown, bad(SignatureFault::BadKey), "a key that is not known");

    match refused(&server, Some(key()), Bounds { clock: behind, ..patient() }, &change).await {
        Failure::Signature(SignatureFault::BadTime(ahead)) if !powerdns => {
            assert!((900..1100).contains(&ahead), "the server's clock is {ahead} s ahead");
        }
        other => assert_eq!((other, powerdns), (Failure::Refused, true), "another time"),
    }

    let unsigned = refused(&server, None, patient(), &change).await;
    let wanted = if software == Software::Knot { Failure::NotAuthoritative } else { Failure::Refused };
    assert_eq!(unsigned, wanted, "no signature");

    let elsewhere = |zone: &str| Update {
        zone: name(zone),
        prerequisites: Vec::new(),
        changes: vec![Change::AddRrset(name(&format!("www.{zone}")), a(30, &["192.0.2.2"]))],
    };
    let not_served = refused(&server, Some(key()), patient(), &elsewhere("nowhere.test")).await;
    assert_eq!(not_served, Failure::NotAuthoritative, "a zone that is not served");

    let not_allowed = refused(&server, Some(key()), patient(), &elsewhere("others.test")).await;
    let wanted = if software == Software::Knot { Failure::Signature(SignatureFault::BadKey) } else { Failure::Refused };
    assert_eq!(not_allowed, wanted, "a zone of another key");

    let outside = replace("www.elsewhere.test", a(30, &["192.0.2.2"]));
    assert_eq!(
        refused(&server, Some(key()), patient(), &outside).await,
        Failure::NotZone,
        "a name outside of the zone"
    );

    assert_eq!(server.ask("www.z.test", "A").unwrap().records, ["192.0.2.1".to_owned()].into());
    assert_eq!(server.serial(ZONE).unwrap(), 1, "nothing of it was done");
}

#[tokio::test]
async fn bind_tells_every_mistake_apart() {
    every_mistake_is_told_apart(Software::Bind).await;
}

#[tokio::test]
async fn knot_tells_every_mistake_apart() {
    every_mistake_is_told_apart(Software::Knot).await;
}

#[tokio::test]
async fn powerdns_tells_every_mistake_apart() {
    every_mistake_is_told_apart(Software::PowerDns).await;
}

#[tokio::test]
async fn a_server_that_stands_still_costs_the_deadline_and_no_more() {
    let server = server(Software::Knot, "");
    server.pause();
    let bounds = Bounds { exchange: std::time::Duration::from_millis(200), ..Bounds::default() };
    let mut connection = Connection::open(server.address(), Some(key()), bounds).await.unwrap();
    let failure = connection.update(&replace("www.z.test", a(30, &["192.0.2.2"]))).await.unwrap_err();
    assert_eq!(failure, Failure::Timeout(bounds.exchange));
    assert!(!connection.is_usable(), "what comes late is not taken for the reply to something else");
    server.resume();
    connect(server.address()).await.update(&replace("www.z.test", a(30, &["192.0.2.2"]))).await.unwrap();
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_connected() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = Connection::open(unused, Some(key()), patient()).await.unwrap_err();
    assert!(matches!(failure, Failure::Io(_)), "{failure}");
}
