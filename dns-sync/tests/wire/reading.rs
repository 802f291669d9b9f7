//! What is read from each server: names one by one, told from what a wildcard answers for them, and whole zones.

use crate::stage::{ZONE, a, connect, key, name, patient, server, txt, update};
use nearside_dns_sync::publish::connection::{Bounds, Connection};
use nearside_dns_sync::publish::failure::Failure;
use nearside_dns_sync::publish::marker::{Marker, marker_name};
use nearside_dns_sync::publish::observed::{Observed, ObservedMarker};
use nearside_dns_sync::publish::update::Change;
use nearside_dns_sync::record::RecordType;
use nearside_loadtest::name_servers::Software;
use std::fmt::Write as _;

const LINES: &str = "\
www A 192.0.2.1
www A 192.0.2.2
*.apps A 192.0.2.8
same.apps A 192.0.2.8
other.apps A 192.0.2.9
*.texts TXT \"heritage=external-dns,external-dns/owner=wild\"
noted A 192.0.2.1
a-noted TXT \"heritage=external-dns,external-dns/owner=they,external-dns/resource=crd/ns/name\"
noted2 A 192.0.2.1
noted2 TXT \"heritage=external-dns,external-dns/owner=they\"
odd A 192.0.2.1
odd._nearside TXT \"no marker\"
sub NS ns.elsewhere.test.
";

async fn names_are_read(software: Software) {
    let server = server(software, LINES);
    let mut connection = connect(server.address()).await;
    let set = a(30, &["192.0.2.1"]);
    let marker = Marker::of("prod", 7, &[(RecordType::A, set.clone())].into());
    let at = marker_name(&name("mine.z.test"), &name(ZONE)).unwrap();
    let changes = vec![Change::AddRrset(name("mine.z.test"), set.clone()), Change::AddRrset(at, marker.rrset())];
    connection.update(&update(Vec::new(), changes)).await.unwrap();

    let names: Vec<_> = [
        "www",
        "nothing",
        "mine",
        "x.apps",
        "same.apps",
        "other.apps",
        "*.apps",
        "x.texts",
        "noted",
        "noted2",
        "odd",
        "in.sub",
    ]
    .map(|first| name(&format!("{first}.z.test")))
    .into();
    let observation = connection.observe(&name(ZONE), &names).await.unwrap();
    let seen = |first: &str| observation.names.get(&name(&format!("{first}.z.test"))).cloned();
    let plain =
        |addresses: &[&str]| Observed { sets: [(RecordType::A, a(30, addresses))].into(), ..Observed::default() };
    assert_eq!(seen("www"), Some(plain(&["192.0.2.1", "192.0.2.2"])), "{software}");
    assert_eq!(seen("nothing"), Some(Observed::default()), "{software}");
    assert_eq!(
        seen("mine"),
        Some(Observed { marker: ObservedMarker::Read(marker), ..plain(&["192.0.2.1"]) }),
        "{software}"
    );
    assert_eq!(seen("x.apps"), Some(Observed::default()), "{software}: the wildcard answers for it");
    assert_eq!(
        seen("same.apps"),
        Some(plain(&["192.0.2.8"])),
        "{software}: it is there, though it looks like the wildcard"
    );
    assert_eq!(seen("other.apps"), Some(plain(&["192.0.2.9"])), "{software}");
    assert_eq!(seen("*.apps"), Some(plain(&["192.0.2.8"])), "{software}: the wildcard itself");
    assert_eq!(seen("x.texts"), Some(Observed::default()), "{software}: nobody owns it");
    let they = Some("they".to_owned());
    assert_eq!(seen("noted"), Some(Observed { external_dns: they.clone(), ..plain(&["192.0.2.1"]) }), "{software}");
    assert_eq!(seen("noted2").unwrap().external_dns, they, "{software}");
    let foreign = ObservedMarker::Foreign(vec![vec![b"no marker"[..].into()]]);
    assert_eq!(seen("odd"), Some(Observed { marker: foreign, ..plain(&["192.0.2.1"]) }), "{software}");
    assert_eq!(observation.unreadable, [(name("in.sub.z.test"), Failure::NotAuthoritative)].into(), "{software}");

    let elsewhere = connection.observe(&name("nowhere.test"), &[name("www.nowhere.test")]).await.unwrap_err();
    assert!(matches!(elsewhere, Failure::NotAuthoritative | Failure::Refused), "{software}: {elsewhere}");
}

#[tokio::test]
async fn names_are_read_from_bind() {
    names_are_read(Software::Bind).await;
}

#[tokio::test]
async fn names_are_read_from_knot() {
    names_are_read(Software::Knot).await;
}

#[tokio::test]
async fn names_are_read_from_powerdns() {
    names_are_read(Software::PowerDns).await;
}

#[tokio::test]
async fn many_names_are_read_through_one_connection() {
    for software in Software::ALL {
        let mut lines = String::new();
        (0..100).for_each(|i| writeln!(lines, "h{i} A 192.0.2.{}", i % 250).unwrap());
        let server = server(software, &lines);
        let names: Vec<_> = (0..150).map(|i| name(&format!("h{i}.z.test"))).collect();
        let observation = connect(server.address()).await.observe(&name(ZONE), &names).await.unwrap();
        assert_eq!(observation.names.len(), 150, "{software}");
        let there = observation.names.values().filter(|observed| !observed.sets.is_empty()).count();
        assert_eq!(there, 100, "{software}");
    }
}

#[tokio::test]
async fn the_order_of_an_answer_makes_no_difference() {
    let addresses: Vec<String> = (1..=20).map(|i| format!("192.0.2.{i}")).collect();
    let mut lines = String::new();
    addresses.iter().for_each(|address| writeln!(lines, "www A {address}").unwrap());
    let wanted = a(30, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    for software in Software::ALL {
        let server = server(software, &lines);
        let mut connection = connect(server.address()).await;
        for _ in 0..10 {
            let observation = connection.observe(&name(ZONE), &[name("www.z.test")]).await.unwrap();
            let seen = &observation.names[&name("www.z.test")].sets;
            assert_eq!(seen, &[(RecordType::A, wanted.clone())].into(), "{software}");
        }
    }
}

#[tokio::test]
async fn a_large_zone_is_transferred_whole() {
    for software in Software::ALL {
        let mut lines = String::from("mail MX 10 www\nwww A 192.0.2.1\n");
        (0..20_000).for_each(|i| writeln!(lines, "h{i} A 192.0.2.{}", i % 250).unwrap());
        let server = server(software, &lines);
        let bounds = Bounds { transfer: std::time::Duration::from_secs(120), ..patient() };
        let mut connection = Connection::open(server.address(), Some(key()), bounds).await.unwrap();
        let content = connection.transfer(&name(ZONE)).await.unwrap();
        assert_eq!(content.soa.serial, 1, "{software}");
        // The apex, ns1, mail and www beside them.
        assert_eq!(content.names.len(), 20_004, "{software}");
        assert_eq!(
            content.names[&name("h19999.z.test")],
            [(RecordType::A, a(30, &["192.0.2.249"]))].into(),
            "{software}"
        );
        assert_eq!(content.other_types, [(name("mail.z.test"), [RecordType::Other(15)].into())].into(), "{software}");
        assert!(connection.is_usable());
        connection.update(&update(Vec::new(), vec![Change::AddRrset(name("t.z.test"), txt("t"))])).await.unwrap();

        let small = Bounds { transfer_names: 1000, ..bounds };
        let mut connection = Connection::open(server.address(), Some(key()), small).await.unwrap();
        let failure = connection.transfer(&name(ZONE)).await.unwrap_err();
        assert_eq!(failure, Failure::Unbelievable("the zone is too large".into()), "{software}");
    }
}

#[tokio::test]
async fn a_transfer_without_the_right_is_refused() {
    for software in Software::ALL {
        let server = server(software, "");
        let mut connection = connect(server.address()).await;
        let failure = connection.transfer(&name("others.test")).await.unwrap_err();
        let known = matches!(failure, Failure::Refused | Failure::NotAuthoritative | Failure::Signature(_));
        assert!(known, "{software}: {failure}");
    }
}
